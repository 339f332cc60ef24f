//! Limits and sessions over several replicas: against a real Redis, which is also killed, frozen
//! and started again.

use std::net::TcpListener;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::Commands;
use chatkit_server::clock::{Clock, SystemClock, TestClock};
use chatkit_server::config::env::Secret;
use chatkit_server::config::limits::{ForwardedHeader, LimitsConfig, Rate};
use chatkit_server::limits::Limits;
use chatkit_server::limits::user::{LocalUserLimiter, SharedUserLimiter, UserLimiter};
use chatkit_server::redis_link::RedisLink;
use chatkit_server::sessions::registry::{LocalRegistry, Registry, Session};
use chatkit_server::sessions::registry_redis::RedisRegistry;
use chatkit_server::telemetry::metrics::{Metrics, render};
use chatkit_server::telemetry::request::RequestContext;
use chatkit_server::user::{Fingerprint, UserId};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::redis::RedisServer;

/// What one replica has of its own: a link to Redis, kept until it is dropped.
struct Replica {
    link: Arc<RedisLink>,
    metrics: Metrics,
    metered: prometheus_client::registry::Registry,
    shutdown: CancellationToken,
}

impl Replica {
    fn start(url: &str) -> Self {
        let (metrics, metered) = Metrics::new(true);
        let link = Arc::new(RedisLink::new(&Secret::new(url), &metrics).unwrap());
        let shutdown = CancellationToken::new();
        link.keep(&TaskTracker::new(), shutdown.clone());
        Self { link, metrics, metered, shutdown }
    }

    /// A limiter of ten at once and one a minute.
    fn limiter(&self) -> Arc<SharedUserLimiter> {
        let rate = Rate { per_minute: NonZeroU32::MIN, burst: NonZeroU32::new(10).unwrap() };
        Arc::new(SharedUserLimiter::new(
            Arc::clone(&self.link),
            "chatkit:limit:",
            rate,
            LocalUserLimiter::new(rate),
        ))
    }

    fn registry(&self, clock: Arc<dyn Clock>) -> RedisRegistry {
        let local = LocalRegistry::new(100, Arc::clone(&clock), &self.metrics);
        RedisRegistry::new(Arc::clone(&self.link), local, clock)
    }

    /// Waits until the metric says that Redis is up (or away).
    async fn wait_until_up(&self, up: bool) {
        let line = format!("chatkit_redis_up {}\n", u8::from(up));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !render(&self.metered).contains(&line) {
            assert!(Instant::now() < deadline, "waited 20 s for {line}");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// How many of 50 calls at once, spread over the replicas, pass.
async fn passing(limiters: &[Arc<SharedUserLimiter>], name: &str) -> usize {
    let tasks = TaskTracker::new();
    let calls: Vec<_> = (0..50)
        .map(|call| {
            let (limiter, user) = (Arc::clone(&limiters[call % limiters.len()]), user(name));
            tasks.spawn(async move { limiter.count(&user).await })
        })
        .collect();
    let mut passed = 0;
    for call in calls {
        passed += usize::from(call.await.unwrap().retry_after.is_none());
    }
    passed
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_one_limit_exactly() {
    let server = RedisServer::start();
    let (one, two) = (Replica::start(&server.url()), Replica::start(&server.url()));
    let limiters = [one.limiter(), two.limiter()];
    one.wait_until_up(true).await;
    two.wait_until_up(true).await;
    assert_eq!(passing(&limiters, "ada").await, 10);
    assert_eq!(passing(&limiters, "bob").await, 10, "each user has a limit of their own");
    assert_eq!(passing(&limiters, "ada").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_limit_says_the_same_as_a_local_one() {
    let server = RedisServer::start();
    let replica = Replica::start(&server.url());
    let rate =
        Rate { per_minute: NonZeroU32::new(20).unwrap(), burst: NonZeroU32::new(3).unwrap() };
    let local = LocalUserLimiter::new(rate);
    let shared = SharedUserLimiter::new(
        Arc::clone(&replica.link),
        "chatkit:limit:",
        rate,
        LocalUserLimiter::new(rate),
    );
    for _ in 0..5 {
        let (here, there) = (local.count(&user("ada")).await, shared.count(&user("ada")).await);
        assert_eq!(here.rate, there.rate);
        assert_eq!(
            here.retry_after.map(|wait| wait.as_secs()),
            there.retry_after.map(|wait| wait.as_secs())
        );
    }
    assert_eq!(shared.keys(), 0, "Redis counted, not this process");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_what_costs_are_shared_each_under_a_key_of_its_own() {
    let server = RedisServer::start();
    let replicas = [Replica::start(&server.url()), Replica::start(&server.url())];
    let rate = |burst| Some(Rate { per_minute: NonZeroU32::MIN, burst: NonZeroU32::new(burst)? });
    let config = LimitsConfig {
        trusted_proxies: vec![],
        forwarded_header: ForwardedHeader::XForwardedFor,
        address: None,
        user: rate(2),
        reads: rate(3),
        connections_per_address: None,
        redis_url: None,
        max_concurrent_requests: 1,
    };
    for replica in &replicas {
        replica.wait_until_up(true).await;
    }
    let limits = replicas.each_ref().map(|one| Limits::new(&config, Some(&one.link), &one.metrics));
    let (ada, context) = (user("ada"), RequestContext::default());
    for place in [0, 1, 0] {
        limits[place].count_read(&ada, &context).await.unwrap();
    }
    assert!(limits[1].count_read(&ada, &context).await.is_err(), "three reads of both");
    for place in [0, 1] {
        limits[place].count_user(&ada, &context).await.unwrap();
    }
    assert!(limits[0].count_user(&ada, &context).await.is_err(), "two that cost, of both");
    for replica in &replicas {
        assert!(
            !render(&replica.metered).contains("chatkit_limiter_keys{"),
            "nothing is kept here"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_redis_dies_each_replica_counts_alone_and_when_it_is_back_they_share_again() {
    let mut server = RedisServer::start();
    let (one, two) = (Replica::start(&server.url()), Replica::start(&server.url()));
    let limiters = [one.limiter(), two.limiter()];
    one.wait_until_up(true).await;
    two.wait_until_up(true).await;
    assert_eq!(passing(&limiters, "ada").await, 10);

    server.kill();
    assert_eq!(passing(&limiters, "ada").await, 20, "ten on each");
    one.wait_until_up(false).await;
    two.wait_until_up(false).await;

    server.restart();
    one.wait_until_up(true).await;
    two.wait_until_up(true).await;
    assert_eq!(passing(&limiters, "ada").await, 10, "a fresh server, and one limit for both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_holds_nobody_up_for_long() {
    let server = RedisServer::start();
    let replica = Replica::start(&server.url());
    let limiter = replica.limiter();
    limiter.count(&user("ada")).await;

    server.freeze();
    let start = Instant::now();
    for _ in 0..100 {
        limiter.count(&user("ada")).await;
    }
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "one deadline, not a hundred: {:?}",
        start.elapsed()
    );
    server.thaw();
    replica.wait_until_up(true).await;
    assert_eq!(passing(&[limiter], "bob").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_before_redis_finds_it_later() {
    let mut server = RedisServer::start();
    server.kill();
    let (one, two) = (Replica::start(&server.url()), Replica::start(&server.url()));
    let limiters = [one.limiter(), two.limiter()];
    assert_eq!(passing(&limiters, "ada").await, 20);
    server.restart();
    one.wait_until_up(true).await;
    two.wait_until_up(true).await;
    assert_eq!(passing(&limiters, "ada").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_minted_by_one_replica_is_known_to_the_other_until_it_is_forgotten_or_ends() {
    let server = RedisServer::start();
    let (one, two) = (Replica::start(&server.url()), Replica::start(&server.url()));
    let clock = Arc::new(TestClock::at(1_800_000_000));
    let registries = [
        one.registry(Arc::<TestClock>::clone(&clock)),
        two.registry(Arc::<TestClock>::clone(&clock)),
    ];
    let (ada, bob) = (user("ada").fingerprint(), user("bob").fingerprint());
    let session =
        |user, id: &str, life: u64| Session { user, id: id.into(), ends_at: 1_800_000_000 + life };
    let (first, second, third) =
        (Fingerprint::of(b"ek_1"), Fingerprint::of(b"ek_2"), Fingerprint::of(b"ek_3"));
    registries[0].remember(first, session(ada, "cksess_1", 600)).await;
    registries[1].remember(second, session(ada, "cksess_2", 5)).await;
    registries[0].remember(third, session(bob, "cksess_3", 600)).await;

    assert_eq!(registries[1].find(first).await, Some(session(ada, "cksess_1", 600)));
    let mut of_ada = registries[0].of_user(ada).await;
    of_ada.sort();
    let mut expected = vec![(first, Box::from("cksess_1")), (second, Box::from("cksess_2"))];
    expected.sort();
    assert_eq!(of_ada, expected);

    clock.advance(Duration::from_secs(5));
    assert_eq!(registries[0].find(second).await, None, "it has ended");
    assert_eq!(registries[0].of_user(ada).await, [(first, "cksess_1".into())]);

    registries[1].forget(first).await;
    assert_eq!(registries[0].find(first).await, None);
    assert_eq!(registries[0].of_user(ada).await, []);
    assert_eq!(registries[0].of_user(bob).await, [(third, "cksess_3".into())]);
    assert_eq!(
        registries[0].live() + registries[1].live(),
        1,
        "what is left is in the memory of its replica too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_minted_while_redis_is_away_is_remembered_here_and_found_afterwards() {
    let mut server = RedisServer::start();
    let replica = Replica::start(&server.url());
    let registry = replica.registry(Arc::new(SystemClock));
    let (ada, secret) = (user("ada").fingerprint(), Fingerprint::of(b"ek_meanwhile"));
    let session =
        Session { user: ada, id: "cksess_1".into(), ends_at: SystemClock.unix_seconds() + 600 };
    replica.wait_until_up(true).await;

    server.kill();
    registry.remember(secret, session.clone()).await;
    assert_eq!(registry.find(secret).await, Some(session.clone()));

    replica.wait_until_up(false).await;
    server.restart();
    replica.wait_until_up(true).await;
    let shared = Fingerprint::of(b"ek_shared");
    registry.remember(shared, session.clone()).await;
    assert_eq!(registry.find(secret).await, Some(session.clone()));
    assert_eq!(registry.of_user(ada).await, [(shared, session.id.clone()), (secret, session.id)]);
    registry.forget(secret).await;
    assert_eq!(registry.find(secret).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_replica_ended_is_not_remembered_once_redis_has_said_so() {
    let mut server = RedisServer::start();
    let (one, two) = (Replica::start(&server.url()), Replica::start(&server.url()));
    let (here, there) = (one.registry(Arc::new(SystemClock)), two.registry(Arc::new(SystemClock)));
    let ada = user("ada").fingerprint();
    let session =
        Session { user: ada, id: "cksess_1".into(), ends_at: SystemClock.unix_seconds() + 600 };
    let (ended, live) = (Fingerprint::of(b"ek_ended"), Fingerprint::of(b"ek_live"));
    here.remember(ended, session.clone()).await;
    here.remember(live, session.clone()).await;
    there.forget(ended).await;
    assert_eq!(here.of_user(ada).await, [(live, session.id.clone())]);

    server.kill();
    assert_eq!(here.of_user(ada).await, [(live, session.id.clone())]);
    assert_eq!(here.find(ended).await, None, "that was learnt while Redis was there");
    assert_eq!(here.find(live).await, Some(session));
    assert_eq!(there.find(live).await, None, "only Redis could have told");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_holds_only_hashes_and_every_key_has_an_end_of_life() {
    let server = RedisServer::start();
    let replica = Replica::start(&server.url());
    let registry = replica.registry(Arc::new(SystemClock));
    let (name, now) = ("ada@example.com", SystemClock.unix_seconds());
    for (secret, life) in [("ek_long_secret", 600), ("ek_short_secret", 5)] {
        let session =
            Session { user: user(name).fingerprint(), id: "cksess_1".into(), ends_at: now + life };
        registry.remember(Fingerprint::of(secret.as_bytes()), session).await;
    }
    replica.limiter().count(&user(name)).await;

    let mut redis = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis.keys("*").unwrap();
    let of = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count();
    assert_eq!(
        (of("chatkit:session:"), of("chatkit:sessions-of:"), of("chatkit:limit:")),
        (2, 1, 1),
        "{keys:?}"
    );
    for key in &keys {
        assert!(key.starts_with("chatkit:"), "{key}");
        let left: i64 = redis.pttl(key).unwrap();
        assert!(left > 0 || left == -2, "{key} has no end of life: {left}");
        if key.starts_with("chatkit:sessions-of:") {
            assert!(left > 500_000, "the index lives as long as its longest session: {left} ms");
        }
        let kind: String = redis::cmd("TYPE").arg(key).query(&mut redis).unwrap();
        let values: Vec<String> = match kind.as_str() {
            "zset" => redis.zrange(key, 0, -1).unwrap(),
            "string" => vec![redis.get(key).unwrap()],
            "none" => vec![],
            other => panic!("{key} is a {other}"),
        };
        for text in values.iter().chain([key]) {
            assert!(!text.contains("ada") && !text.contains("ek_"), "{key}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_is_wrong_with_redis_and_never_shows_the_password() {
    let check = async |url: &str| {
        let (metrics, _) = Metrics::new(true);
        RedisLink::new(&Secret::new(url), &metrics)
            .unwrap()
            .ping()
            .await
            .map_err(|why| why.to_string())
    };
    let mut server = RedisServer::start_with(Some("s3same"));
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    assert_eq!(check(&format!("redis://:s3same@127.0.0.1:{port}")).await, Ok(()));
    for url in [format!("redis://:hunter2@127.0.0.1:{port}"), server.url()] {
        assert_eq!(check(&url).await, Err("it refused the user name or password".to_owned()));
    }
    server.kill();
    assert_eq!(check(&server.url()).await, Err("nothing listens at its address".to_owned()));

    // Accepts and says nothing: no TLS greeting, no Redis.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for scheme in ["rediss", "redis"] {
        let why = check(&format!("{scheme}://:hunter2@127.0.0.1:{port}")).await.unwrap_err();
        assert!(
            why.starts_with("no answer within") || why.starts_with("it took too long"),
            "{why}"
        );
    }
}

#[test]
fn a_link_can_be_made_where_no_runtime_is() {
    let (metrics, _) = Metrics::new(true);
    for url in ["redis://127.0.0.1:1", "rediss://:hunter2@cache.example", "unix:///nowhere.sock"] {
        let link = RedisLink::new(&Secret::new(url), &metrics).unwrap();
        assert!(!format!("{link:?}").contains("hunter2"));
    }
    let refused = RedisLink::new(&Secret::new("redis://:hunter2@cache/x"), &metrics).unwrap_err();
    assert!(!refused.to_string().contains("hunter2"));
}
