//! The end of the service: readiness turns, new requests are refused, open ones finish, a second
//! signal ends it now.

use std::time::{Duration, Instant};

use chatkit_server::lifecycle::Lifecycle;
use chatkit_server::server::{Server, answer_with};
use serde_json::Value;

use crate::support::server::{PATIENCE, TestServer, send_meanwhile};
use crate::support::tokens;
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
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "neither the upstream nor the grace is waited for"
    );
}

#[tokio::test]
async fn a_head_that_never_ends_does_not_hold_an_idle_shutdown() {
    use std::io::Write;
    let mut server = TestServer::hosted("http://127.0.0.1:9", &[]);
    let mut half = std::net::TcpStream::connect(server.addr()).expect("it accepts");
    half.write_all(b"GET /heal").expect("it reads");
    assert_eq!(server.get("/healthz").send().await.expect("an answer").status(), 200);
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "at once, not at the end of the grace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_leaves_is_logged_and_its_session_can_be_revoked() {
    let upstream = ScriptedUpstream::start([
        slow(Duration::from_millis(700)),
        Reply::session("cksess_1", "ek_1"),
    ])
    .await;
    let server = TestServer::hosted(&upstream.base(), &[("RATE_LIMIT_USER_PER_MINUTE", "0")]);
    let left = send_meanwhile(server.mint_as("ada").header("x-request-id", "left-early"));
    upstream.wait_for(1).await;
    left.abort();
    let line = server.log_line(|line| line["request_id"] == "left-early");
    assert_eq!(
        (&line["status"], &line["path"]),
        (&499.into(), &"/api/chatkit/session".into()),
        "{line}"
    );

    let deadline = Instant::now() + PATIENCE;
    while upstream.requests().len() < 2 {
        assert!(Instant::now() < deadline, "the session that nobody got is cancelled");
        let revoked = server.delete("/api/chatkit/session").bearer_auth(tokens::hs256("ada"));
        let status = revoked.send().await.expect("an answer").status().as_u16();
        assert_eq!(status, 204);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(upstream.lines()[1], "POST /v1/chatkit/sessions/cksess_1/cancel");
}

#[tokio::test]
async fn past_the_most_connections_a_new_one_waits_until_another_ends() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let lifecycle = Lifecycle::default();
    let server = Server::bind("127.0.0.1", 0).await.expect("a free port");
    let addr = server.local_addr();
    let router = axum::Router::new().route("/", axum::routing::get(async || "fine"));
    lifecycle.tasks().spawn(server.serve(answer_with(router), 1, lifecycle.clone()));
    let mut answer = [0; 12];

    let mut first = tokio::net::TcpStream::connect(addr).await.expect("it accepts");
    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
    first.read_exact(&mut answer).await.expect("it answers");
    let mut second = tokio::net::TcpStream::connect(addr).await.expect("the system accepts");
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it is written");
    let waited =
        tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await;
    assert!(waited.is_err(), "the one place is taken");
    drop(first);
    let served = tokio::time::timeout(PATIENCE, second.read_exact(&mut answer)).await;
    assert_eq!((served.is_ok(), &answer), (true, b"HTTP/1.1 200"));
    lifecycle.stopping().cancel();
}
