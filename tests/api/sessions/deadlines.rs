//! No request of a client waits longer than it may, whatever OpenAI does.

use std::time::{Duration, Instant};

use super::fixture::{House, seen, user};
use crate::support::upstream::{Reply, ScriptedUpstream};

const TIMEOUT: Duration = Duration::from_millis(250);

async fn hurried(script: impl IntoIterator<Item = Reply>) -> House {
    let mut house = House::new(script).await;
    house.sessions.timeout = TIMEOUT;
    house
}

fn session(id: &str) -> Reply {
    Reply::session(id, &format!("ek_of_{id}"))
}

fn assert_in_time(started: Instant) {
    let took = started.elapsed();
    assert!(took < TIMEOUT + Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_does_not_end_is_a_timeout() {
    let silent = session("cksess_1").after(Duration::from_secs(30));
    let dripping = session("cksess_1").dripping(Duration::from_millis(40));
    for reply in [silent, dripping] {
        let house = hurried([reply]).await;
        let started = Instant::now();
        let seen = seen(house.mint().await).await;
        assert_eq!((seen.status, seen.code.as_str()), (504, "upstream_timeout"));
        assert_eq!(seen.retry_after, None);
        assert_in_time(started);
        assert_eq!(house.upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_unavailable_before_the_time_is_over() {
    // It accepts, and then waits for the end of a head that TLS never sends.
    let upstream = ScriptedUpstream::start([]).await;
    let base = upstream.base().replace("http://", "https://");
    let extra = [
        ("CHATKIT_API_BASE", base.as_str()),
        ("UPSTREAM_RETRIES", "0"),
        ("UPSTREAM_TIMEOUT_SECONDS", "1"),
    ];
    let house = House::at(upstream, &extra);
    let seen = seen(house.mint().await).await;
    assert_eq!((seen.status, seen.code.as_str()), (503, "upstream_unavailable"), "{seen:?}");
}

#[tokio::test]
async fn the_tries_share_one_deadline() {
    let slow = Reply::text(503, "").after(Duration::from_millis(200)).header("retry-after-ms", "1");
    let silent = session("cksess_1").after(Duration::from_secs(30));
    let mut house = House::new([slow, silent]).await;
    house.sessions.timeout = Duration::from_millis(400);
    let started = Instant::now();
    assert_eq!(seen(house.mint().await).await.code, "upstream_timeout");
    let took = started.elapsed();
    assert!(
        took < Duration::from_millis(600),
        "a deadline of its own for the second try: {took:?}"
    );
    assert_eq!(house.upstream.requests().len(), 2);
}

#[tokio::test]
async fn an_error_whose_body_does_not_end_still_has_its_status() {
    let house =
        hurried([Reply::error(401, "t", "c", "words").dripping(Duration::from_millis(40))]).await;
    let started = Instant::now();
    assert_eq!(seen(house.mint().await).await.code, "upstream_auth_failed");
    assert_in_time(started);
}

#[tokio::test]
async fn all_cancels_of_a_revocation_share_one_deadline() {
    let mut house = House::new((0..20).map(|n| session(&format!("cksess_{n}")))).await;
    for _ in 0..20 {
        house.mint().await.unwrap();
    }
    for n in 0..20 {
        let delay = if n < 8 { Duration::ZERO } else { Duration::from_secs(30) };
        house.upstream.then(session("cksess_x").after(delay));
    }
    house.sessions.timeout = TIMEOUT;
    let started = Instant::now();
    assert_eq!(seen(house.revoke(&user("ada")).await).await.code, "upstream_timeout");
    assert_in_time(started);
    assert_eq!(house.ids().await.len(), 12, "the confirmed ones are forgotten, the others stay");
    assert_eq!(house.upstream.requests().len(), 20 + 16, "nothing is sent when the time is over");
}
