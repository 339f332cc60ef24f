//! Where do the tests of the chat take place? In a server with a database and a model of their own.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, Stream, add, text, thread_of};
use crate::postgres::PostgresServer;
use crate::process::TempFolder;
use crate::support::server::{PATIENCE, TestServer, over};

/// The sandbox, as the model.
pub(crate) struct Model(TestServer);

impl Model {
    pub(crate) fn start() -> Self {
        Self(TestServer::start(&["sandbox", "--port", "0"], &[]))
    }

    pub(crate) fn base(&self) -> String {
        self.0.url("/v1")
    }

    /// How many answers are under way, and how many were asked for.
    pub(crate) async fn stats(&self) -> (u64, u64) {
        let stats = self.json("/sandbox/stats").await;
        let number = |name: &str| stats[name].as_u64().expect("a number");
        (number("open"), number("responses"))
    }

    /// What the last request to the model was about.
    pub(crate) async fn last_input(&self) -> Vec<Value> {
        let last = self.json("/sandbox/last").await;
        last["responses"]["input"].as_array().expect("it was asked").clone()
    }

    /// What was asked of an endpoint last.
    pub(crate) async fn last(&self, endpoint: &str) -> Value {
        self.json("/sandbox/last").await[endpoint].clone()
    }

    async fn json(&self, path: &str) -> Value {
        self.0.get(path).send().await.expect("the sandbox answers").json().await.expect("JSON")
    }
}

/// A self-hosted server without limits and titles, with a model at this address, and these
/// variables.
pub(crate) fn server(base: &str, vars: &[(&str, &str)]) -> TestServer {
    TestServer::self_hosted(&with_model(base, vars))
}

/// Its variables.
pub(crate) fn with_model<'a>(
    base: &'a str,
    vars: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let least = [
        ("OPENAI_BASE_URL", base),
        ("UPSTREAM_RETRIES", "0"),
        ("CHATKIT_THREAD_TITLES", "off"),
        ("RATE_LIMIT_IP_PER_MINUTE", "0"),
        ("RATE_LIMIT_USER_PER_MINUTE", "0"),
        ("RATE_LIMIT_READS_PER_MINUTE", "0"),
        ("CHATKIT_MAX_TURNS_PER_USER", "0"),
    ];
    over(&least, vars)
}

/// A user of a server.
pub(crate) fn user(server: &TestServer, name: &str) -> Client {
    Client::new(&server.url(""), name)
}

/// `threads.retry_after_item`.
pub(crate) fn retry(thread: &str, item: &Value) -> Value {
    json!({"type": "threads.retry_after_item", "params": {"thread_id": thread, "item_id": item["id"]}})
}

/// What was said last in a stream that has its end: fails with the stream if that is no whole
/// answer.
pub(crate) fn answer_of(events: &[Value]) -> String {
    let done = events.iter().rfind(|event| event["type"] == "thread.item.done");
    let item = &done.unwrap_or_else(|| panic!("no item: {events:#?}"))["item"];
    assert_eq!(item["type"], "assistant_message", "{events:#?}");
    text(item).to_owned()
}

/// The thread answers the next message, at once.
pub(crate) async fn goes_on(user: &Client, thread: &str) {
    let events = tokio::time::timeout(PATIENCE, user.events(&add(thread, "and now"))).await;
    let answer = answer_of(&events.expect("the answer comes in time"));
    assert!(answer.contains("You said: \"and now\"."), "{answer}");
}

/// Reads a stream until it has said so many pieces of text.
pub(crate) async fn read_deltas(stream: &mut Stream, count: usize) -> Vec<Value> {
    let (mut events, mut deltas) = (Vec::new(), 0);
    while deltas < count {
        let event = stream.next().await.unwrap_or_else(|| panic!("it goes on after {events:#?}"));
        deltas += usize::from(event["update"]["delta"].is_string());
        events.push(event);
    }
    events
}

/// The pieces of text among events, as one.
pub(crate) fn said(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["update"]["delta"].as_str()).collect()
}

/// The thread of a stream, and the user's message in it.
pub(crate) fn begun(events: &[Value]) -> (String, Value) {
    let message = events[1]["item"].clone();
    assert_eq!(message["type"], "user_message", "{events:#?}");
    (thread_of(events), message)
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    until_within(PATIENCE, what, holds).await;
}

/// Waits so long until something holds.
pub(crate) async fn until_within(patience: Duration, what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < deadline, "in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The address of an empty database in this folder.
pub(crate) fn sqlite(folder: &TempFolder) -> String {
    format!("sqlite://{}", folder.write("chat.db", ""))
}

/// The address of an empty PostgreSQL database.
pub(crate) async fn postgres() -> String {
    let server = tokio::task::spawn_blocking(PostgresServer::shared).await.expect("it starts");
    server.new_database().await
}

/// The most memory that a server has taken, in bytes (proc(5): `VmHWM`, in kB).
pub(crate) fn most_resident(server: &TestServer) -> usize {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}
