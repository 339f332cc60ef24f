//! What strangers and users can make the service remember, measured in resident memory. One test,
//! so that nothing else grows meanwhile.
#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use chatkit_server::clock::TestClock;
use chatkit_server::config::limits::Rate;
use chatkit_server::limits::address::AddressLimit;
use chatkit_server::limits::client_ip::Client;
use chatkit_server::sessions::registry::{CAPACITY, LocalRegistry, Registry, Session};
use chatkit_server::telemetry::metrics::Metrics;
use chatkit_server::user::Fingerprint;
use tower::ServiceExt;

/// Resident memory of this process in bytes (proc(5): the second number of statm, in pages).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn memory_stays_bounded_whoever_comes() {
    a_hundred_thousand_addresses_fit_ten_megabytes_and_are_forgotten().await;
    a_million_mints_by_fifty_thousand_users_stay_within_the_bound().await;
}

async fn a_hundred_thousand_addresses_fit_ten_megabytes_and_are_forgotten() {
    let (metrics, _) = Metrics::new(false);
    let ask_from_everywhere = async |per_minute: u32, addresses: u32| {
        let rate = Rate {
            per_minute: NonZeroU32::new(per_minute).unwrap(),
            burst: NonZeroU32::new(30).unwrap(),
        };
        let limit = AddressLimit::new(Some(rate), &metrics);
        let app: Router = Router::new().route("/", get(async || "ok")).layer(limit.layer());
        for number in 0..addresses {
            let address = if number % 2 == 0 {
                IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))
            } else {
                IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (u128::from(number) << 64)))
            };
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(Client { address, https: false });
            let answer = app.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        limit
    };
    // What the runtime and the allocator take for themselves is not measured.
    drop(ask_from_everywhere(1, 1000).await);
    let before = resident();
    let slow = ask_from_everywhere(1, 100_000).await;
    slow.sweep();
    let grown = resident().saturating_sub(before);
    assert_eq!(slow.keys(), 100_000, "nobody's minute is over: all are still counted");
    assert!(grown < 10_000_000, "{grown} bytes for 100,000 addresses");

    let fast = ask_from_everywhere(1_000_000, 100_000).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while fast.keys() > 0 {
        assert!(
            Instant::now() < deadline,
            "{} are kept although their burst is whole again",
            fast.keys()
        );
        fast.sweep();
    }
}

async fn a_million_mints_by_fifty_thousand_users_stay_within_the_bound() {
    let (metrics, _) = Metrics::new(false);
    let clock = Arc::new(TestClock::at(1_800_000_000));
    let registry = LocalRegistry::new(CAPACITY, clock, &metrics);
    let users: Vec<_> = (0..50_000).map(|user: u32| Fingerprint::of(&user.to_le_bytes())).collect();
    let mint = async |number: usize| {
        let secret = Fingerprint::of(&number.to_le_bytes());
        // As long as OpenAI's own ids.
        let id = format!("cksess_{number:050x}").into();
        registry
            .remember(
                secret,
                Session { user: users[number % users.len()], id, ends_at: 1_800_000_600 },
            )
            .await;
        secret
    };
    let before = resident();
    for number in 0..CAPACITY {
        mint(number).await;
    }
    let each = resident().saturating_sub(before) / CAPACITY;
    assert!((60..130).contains(&each), "{each} bytes a session, its id of 57 included");
    assert_eq!(registry.live(), CAPACITY);

    let full = resident();
    let mut last = None;
    for number in CAPACITY..1_000_000 {
        last = Some(mint(number).await);
    }
    assert_eq!(registry.live(), CAPACITY, "the oldest made room");
    let grown = resident().saturating_sub(full);
    assert!(grown < 10_000_000, "a full registry grew by {grown} bytes");
    assert!(registry.find(last.unwrap()).await.is_some());
    assert_eq!(registry.of_user(users[0]).await.len(), 10, "the newest ten of twenty");
}
