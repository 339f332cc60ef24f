//! The end of the service: readiness turns, new requests are refused, open ones finish, a second signal ends it now.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::server::{PATIENCE, TestServer, send_meanwhile};
use crate::support::upstream::{Reply, ScriptedUpstream};

/// Waits until the server says that it is shutting down.
async fn draining(server: &TestServer) {
    let deadline = Instant::now() + PATIENCE;
    while server.get("/readyz").send().await.expect("an answer").status() != 503 {
        assert!(Instant::now() < deadline, "readiness turns");
    }
}

fn slow(delay: Duration) -> Reply {
    Reply::session("cksess_1", "ek_1").after(delay)
}

#[tokio::test]
async fn an_open_request_finishes_and_a_new_one_is_refused_and_then_it_exits_with_0() {
    let upstream = ScriptedUpstream::start([slow(Duration::from_millis(1500))]).await;
    let mut server = TestServer::hosted(&upstream.base(), &[]);
    let open = send_meanwhile(server.mint_as("ada"));
    upstream.wait_for(1).await;
    server.signal("TERM");
    draining(&server).await;

    let refused = server.mint_as("bob").send().await.expect("an answer");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let refused: Value = refused.json().await.expect("JSON");
    assert_eq!(refused["error"]["code"], "shutting_down");
    let health = server.get("/healthz").send().await.expect("an answer");
    assert_eq!(health.status(), 200, "the process runs");

    let finished = open.await.expect("no panic").expect("an answer");
    assert_eq!(finished.status(), 200, "the open request is answered");
    assert_eq!(server.ended().code(), Some(0));
}

#[tokio::test]
async fn the_grace_ends_it_in_any_case_with_0() {
    let upstream = ScriptedUpstream::start([slow(Duration::from_secs(9))]).await;
    let mut server = TestServer::hosted(&upstream.base(), &[("SHUTDOWN_GRACE_SECONDS", "1")]);
    let _open = send_meanwhile(server.mint_as("ada"));
    upstream.wait_for(1).await;
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "after the grace of a second, not after the upstream's nine"
    );
}

#[tokio::test]
async fn a_second_signal_ends_it_now() {
    let upstream = ScriptedUpstream::start([slow(Duration::from_secs(9))]).await;
    let mut server = TestServer::hosted(&upstream.base(), &[]);
    let _open = send_meanwhile(server.mint_as("ada"));
    upstream.wait_for(1).await;
    server.signal("TERM");
    draining(&server).await;
    let began = Instant::now();
    server.signal("INT");
    server.ended();
    assert!(began.elapsed() < Duration::from_secs(4), "neither the upstream nor the grace is waited for");
}
