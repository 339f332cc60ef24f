//! When a call is made again, and how often.

use std::time::{Duration, Instant};

use super::fixture::{House, seen};
use crate::support::upstream::Reply;

fn at_once(status: u16) -> Reply {
    Reply::error(status, "server_error", "x", "words").header("retry-after-ms", "1")
}

fn session() -> Reply {
    Reply::session("cksess_1", "ek_1")
}

fn retries(house: &House) -> Option<String> {
    house.metric(r#"chatkit_upstream_retries_total{operation="create_session"}"#)
}

#[tokio::test]
async fn a_passing_failure_is_tried_twice_more_with_the_same_request() {
    for status in [408, 409, 429, 500, 502, 503, 504] {
        let house = House::new([at_once(status), at_once(status), session()]).await;
        assert_eq!(house.mint().await.unwrap().expose(), "ek_1", "{status}");
        let requests = house.upstream.requests();
        assert_eq!(requests.len(), 3, "{status}");
        assert!(requests.iter().all(|request| *request == requests[0]), "{status}");
        assert_eq!(retries(&house).as_deref(), Some("2"), "{status}");
    }
}

#[tokio::test]
async fn after_the_last_try_the_last_failure_counts() {
    let house = House::new([at_once(429), at_once(429), at_once(503)]).await;
    assert_eq!(seen(house.mint().await).await.code, "upstream_unavailable");
    assert_eq!(house.upstream.requests().len(), 3);
}

#[tokio::test]
async fn the_number_of_tries_can_be_set() {
    for (retries, expected) in [("0", 1), ("1", 2), ("4", 5)] {
        let house =
            House::with((0..9).map(|_| at_once(500)), &[("UPSTREAM_RETRIES", retries)]).await;
        assert_eq!(seen(house.mint().await).await.code, "upstream_unavailable");
        assert_eq!(house.upstream.requests().len(), expected);
    }
}

#[tokio::test]
async fn a_refusal_is_not_tried_again() {
    for status in [400, 401, 403, 404, 410, 422] {
        let house = House::new([at_once(status), session()]).await;
        seen(house.mint().await).await;
        assert_eq!(house.upstream.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn x_should_retry_decides_both_ways() {
    let house = House::new([at_once(503).header("x-should-retry", "false"), session()]).await;
    assert_eq!(seen(house.mint().await).await.code, "upstream_unavailable");
    assert_eq!(house.upstream.requests().len(), 1);

    let house = House::new([at_once(400).header("x-should-retry", "true"), session()]).await;
    assert_eq!(house.mint().await.unwrap().expose(), "ek_1");
    assert_eq!(house.upstream.requests().len(), 2);
}

#[tokio::test]
async fn an_exhausted_quota_is_never_tried_again() {
    let quota =
        Reply::error(429, "insufficient_quota", "insufficient_quota", "You exceeded your quota.");
    let quota = quota.header("retry-after-ms", "1").header("x-should-retry", "true");
    let house = House::new([quota, session()]).await;
    assert_eq!(seen(house.mint().await).await.code, "upstream_quota_exhausted");
    assert_eq!(house.upstream.requests().len(), 1);
}

async fn time_to_mint_after(first: Reply) -> Duration {
    let house = House::new([first, session()]).await;
    let started = Instant::now();
    house.mint().await.unwrap();
    started.elapsed()
}

#[tokio::test]
async fn a_wait_that_was_asked_for_is_kept() {
    // Longer than our own first wait, which is half a second at most.
    let asked =
        |name: &str, value: &str| time_to_mint_after(Reply::text(503, "").header(name, value));
    let (millis, seconds) =
        tokio::join!(asked("retry-after-ms", "600"), asked("retry-after", "0.6"));
    assert!(millis.as_millis() >= 600, "{millis:?}");
    assert!(seconds.as_millis() >= 600, "{seconds:?}");
}

#[tokio::test]
async fn our_own_wait_is_three_eighths_of_a_second_at_least() {
    let took = time_to_mint_after(Reply::text(503, "")).await;
    assert!(took.as_millis() >= 375, "{took:?}");
}

#[tokio::test]
async fn a_wait_that_does_not_fit_is_answered_at_once() {
    // The second is a date a minute after the clock of the test.
    for (asked, told) in [("11", "11"), ("Fri, 15 Jan 2027 08:01:00 GMT", "60")] {
        let reply = Reply::error(429, "requests", "rate_limit_exceeded", "words")
            .header("retry-after", asked);
        let house = House::new([reply, session()]).await;
        let started = Instant::now();
        let seen = seen(house.mint().await).await;
        assert_eq!(
            (seen.code.as_str(), seen.retry_after.as_deref()),
            ("upstream_rate_limited", Some(told))
        );
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(house.upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    for broken in [Reply::hang_up(), session().cut_after(20)] {
        let house = House::new([broken, session()]).await;
        assert_eq!(house.mint().await.unwrap().expose(), "ek_1");
        assert_eq!(house.upstream.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_keeps_breaking_is_unavailable() {
    let script = [Reply::hang_up(), Reply::hang_up()];
    let house = House::with(script, &[("UPSTREAM_RETRIES", "1")]).await;
    let seen = seen(house.mint().await).await;
    assert_eq!((seen.status, seen.code.as_str()), (503, "upstream_unavailable"));
    assert_eq!(house.upstream.requests().len(), 2);
}
