//! Models that never end an answer: each is given up, and ten at once stay within a bound of
//! memory.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::json;
use tokio::task::JoinSet;

use super::client::create;
use super::model::{delta, frames};
use super::setting::{server, user};

/// What ten answers may take at most, in bytes: each is held some seven times at its end, whole and
/// in pieces.
const MOST: usize = 600 * 1024 * 1024;

/// A model that says the same words for ever.
async fn endless() -> (String, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let frame = Bytes::from(frames(&[delta(&"word ".repeat(12_000))]));
    let app = Router::new().fallback(move || {
        let body =
            stream::iter(std::iter::repeat(Ok::<_, std::convert::Infallible>(frame.clone())));
        let answer = Response::builder().header("content-type", "text/event-stream");
        std::future::ready(answer.body(Body::from_stream(body)).expect("a response"))
    });
    let mut running = JoinSet::new();
    running.spawn(async { axum::serve(listener, app).await.expect("it serves") });
    (base, running)
}

/// The most memory that a process has had, in bytes (proc(5)).
fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has a peak");
    let number = line.trim().trim_end_matches(" kB");
    number.parse::<usize>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_answers_without_an_end_are_given_up_within_a_bound_of_memory() {
    let (base, _running) = endless().await;
    let server = server(&base, &[]);
    let all = (0..10).map(|number| {
        let client = user(&server, &format!("ada-{number}"));
        async move { client.events(&create("hello")).await }
    });
    for events in join_all(all).await {
        let error = json!({"type": "error", "code": "stream.error", "allow_retry": true});
        assert_eq!(events.last(), Some(&error));
    }
    let cause = "the model said more than 8388608 bytes in one answer";
    server.log_line(|line| line["error"].as_str().is_some_and(|error| error.contains(cause)));
    let peak = peak(server.pid());
    assert!(peak < MOST, "{peak} bytes");
    let (status, _) = user(&server, "ada-1").ask("threads.list", json!({})).await;
    assert_eq!(status, 200, "it goes on");
}
