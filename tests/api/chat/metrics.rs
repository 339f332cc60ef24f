//! What Prometheus sees of the chat.

use super::client::create;
use super::setting::{Model, begun, read_deltas, retry, server, until, user};
use crate::metrics::{free_port, scrape, value};

#[tokio::test(flavor = "multi_thread")]
async fn turns_streams_and_repeated_requests_are_counted() {
    let (model, addr) = (Model::start(), format!("127.0.0.1:{}", free_port()));
    let server = server(&model.base(), &[("METRICS_ADDR", &addr), ("SHUTDOWN_GRACE_SECONDS", "3")]);
    let ada = user(&server, "ada");
    let measured = async |metric: &str| value(&scrape(&addr).await, metric);
    let turns = async |outcome: &str| {
        measured(&format!("chatkit_turns_total{{outcome=\"{outcome}\"}}")).await
    };

    let (thread, message) = begun(&ada.events(&create("hello")).await);
    ada.events(&retry(&thread, &message)).await;
    ada.events(&create("error 500")).await;
    let request = create("delay 20 deltas 2000");
    let mut stream = ada.stream(&request).await;
    read_deltas(&mut stream, 1).await;
    let repeated = ada.stream(&request).await;
    for (metric, expected) in [
        ("chatkit_turns_running", 1.0),
        ("chatkit_streams_open", 2.0),
        ("chatkit_repeated_requests_total", 1.0),
        ("chatkit_turn_first_event_seconds_count", 3.0),
        ("chatkit_store_failures_total", 0.0),
    ] {
        assert_eq!(measured(metric).await, Some(expected), "{metric}");
    }
    drop((stream, repeated));
    until("the turn is cancelled", async || turns("cancelled").await == Some(1.0)).await;
    assert_eq!((turns("done").await, turns("failed").await), (Some(2.0), Some(1.0)));
    for metric in ["chatkit_turns_running", "chatkit_streams_open"] {
        assert_eq!(measured(metric).await, Some(0.0), "{metric}");
    }

    let mut stream = ada.stream(&create("delay 20 deltas 2000")).await;
    read_deltas(&mut stream, 1).await;
    server.signal("TERM");
    let rest = stream.rest().await;
    assert_eq!(rest.last().expect("a last event")["type"], "error");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_database_that_fails_are_counted() {
    let (model, addr) = (Model::start(), format!("127.0.0.1:{}", free_port()));
    let mut postgres = tokio::task::spawn_blocking(crate::postgres::PostgresServer::start)
        .await
        .expect("it starts");
    let url = postgres.new_database().await;
    let server = server(&model.base(), &[("METRICS_ADDR", &addr), ("DATABASE_URL", &url)]);
    let ada = user(&server, "ada");
    assert_eq!(ada.ask("threads.list", serde_json::json!({})).await.0, 200);
    tokio::task::block_in_place(|| postgres.stop());
    let (status, body) = ada.ask("threads.list", serde_json::json!({})).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &serde_json::json!("not_ready")),
        "it may come back"
    );
    let failures = value(&scrape(&addr).await, "chatkit_store_failures_total");
    assert_eq!(failures, Some(1.0));
    let error = serde_json::json!({"type": "error", "code": "stream.error", "allow_retry": true});
    assert_eq!(ada.events(&create("hello")).await.last(), Some(&error));
    tokio::task::block_in_place(|| postgres.launch());
    begun(&ada.events(&create("hello again")).await);
}
