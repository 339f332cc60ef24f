//! How does a stream come over the wire? At once, unbuffered, with a sign of life, and for as long
//! as its answer takes.

use std::time::{Duration, Instant};

use reqwest::Response;
use serde_json::{Value, json};

use super::client::{add, create, thread_of};
use super::model::answer;
use super::setting::{Model, server, user};
use crate::support::server::TestServer;
use crate::support::tokens;
use crate::support::upstream::ScriptedUpstream;

const ORIGIN: &str = "https://shop.example";

async fn secret(server: &TestServer) -> String {
    let response = server.mint_as("ada").send().await.expect("an answer");
    let body: Value = response.json().await.expect("JSON");
    body["client_secret"].as_str().expect("a secret").to_owned()
}

async fn ask(server: &TestServer, secret: &str, body: &Value) -> Response {
    server.post("/api/chatkit").bearer_auth(secret).json(body).send().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_byte_comes_before_the_model_answers_and_nothing_on_the_way_holds_it_up() {
    let slow = answer("late").after(Duration::from_secs(3));
    let upstream = ScriptedUpstream::start([slow]).await;
    let server = server(&format!("{}/v1", upstream.base()), &[("CORS_ALLOWED_ORIGINS", ORIGIN)]);
    let began = Instant::now();
    let request =
        server.post("/api/chatkit").bearer_auth(tokens::hs256("ada")).json(&create("hello"));
    let request = request
        .header("origin", ORIGIN)
        .header("accept-encoding", "gzip, br")
        .header("x-request-id", "mine");
    let mut response = request.send().await.expect("an answer");
    let mut heard = String::new();
    while !heard.contains("stream_options") {
        let piece = response.chunk().await.expect("it does not break").expect("it goes on");
        heard.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "it does not wait for the model: {:?}",
        began.elapsed()
    );
    let header = |name: &str| {
        response.headers().get(name).map(|value| value.to_str().expect("text").to_owned())
    };
    for (name, expected) in [
        ("content-type", Some("text/event-stream")),
        ("cache-control", Some("no-store, no-transform")),
        ("x-accel-buffering", Some("no")),
        ("content-encoding", None),
        ("content-length", None),
        ("x-request-id", Some("mine")),
        ("access-control-allow-origin", Some(ORIGIN)),
    ] {
        assert_eq!(header(name).as_deref(), expected, "{name}");
    }
    assert!(
        header("access-control-expose-headers").is_some_and(|names| names.contains("x-request-id"))
    );
    assert!(header("vary").is_some_and(|vary| vary.to_lowercase().contains("origin")));
    let rest = response.text().await.expect("it comes to its end");
    assert!(rest.contains("thread.item.done") && rest.ends_with("\n\n"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_comes_when_nothing_was_said_for_a_while() {
    let slow = answer("late").after(Duration::from_secs(17));
    let upstream = ScriptedUpstream::start([slow]).await;
    let server = server(&format!("{}/v1", upstream.base()), &[]);
    let mut response = user(&server, "ada").post(&create("hello"), &[]).await;
    let (mut heard, mut last) = (String::new(), Instant::now());
    let mut pauses = Vec::new();
    while let Some(piece) = response.chunk().await.expect("it does not break") {
        heard.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
        pauses.push(last.elapsed());
        last = Instant::now();
    }
    assert!(pauses.iter().all(|pause| *pause < Duration::from_secs(16)), "{pauses:?}");
    let is_comment = |frame: &&str| frame.starts_with(':');
    assert_eq!(
        heard.split("\n\n").filter(is_comment).count(),
        2,
        "one at the beginning, one after 15 s: {heard}"
    );
    assert!(heard.contains("\"late\""), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_its_secret_was_revoked_and_the_next_one_is_refused() {
    let model = Model::start();
    let server = server(&model.base(), &[]);
    let held = secret(&server).await;
    let mut response = ask(&server, &held, &create("delay 20 deltas 60")).await;
    assert_eq!(response.status(), 200);
    let mut heard = Vec::new();
    heard.extend(response.chunk().await.expect("it does not break").expect("it goes on"));
    let revoked =
        server.delete("/api/chatkit/session").bearer_auth(tokens::hs256("ada")).send().await;
    assert_eq!(revoked.expect("an answer").status(), 204);
    let refused = ask(&server, &held, &json!({"type": "threads.list", "params": {}})).await;
    assert_eq!(refused.status(), 401);
    assert!(refused.headers().contains_key("www-authenticate"));
    let error: Value = refused.json().await.expect("JSON");
    assert_eq!(
        (&error["error"]["code"], error["message"].is_string()),
        (&json!("invalid_token"), true)
    );
    while let Some(piece) = response.chunk().await.expect("it does not break") {
        heard.extend(piece);
    }
    let heard = String::from_utf8(heard).expect("UTF-8");
    let last = heard.trim_end().rsplit("\n\n").next().expect("an event");
    assert!(last.starts_with("data: {\"type\":\"thread.item.done\""), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_and_the_users_own_token_are_the_same_user() {
    let model = Model::start();
    let server = server(&model.base(), &[]);
    let held = secret(&server).await;
    let ada = user(&server, "ada");
    let thread = thread_of(&ada.events(&create("hello")).await);
    let response = ask(&server, &held, &add(&thread, "and with the secret")).await;
    assert_eq!(response.status(), 200);
    assert!(response.text().await.expect("it comes to its end").contains("and with the secret"));
    assert_eq!(ada.items(&thread).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_one_log_line_at_its_end_with_the_models_id_of_the_request() {
    let model = Model::start();
    let server = server(&model.base(), &[]);
    let ada = user(&server, "ada");
    let said = ada.stream_with(&create("deltas 5 delay 100"), &[("x-request-id", "whole")]).await;
    said.rest().await;
    let of = |id: &'static str| move |line: &Value| line["request_id"] == id;
    let line = server.log_line(of("whole"));
    assert_eq!(
        (&line["message"], &line["level"], &line["status"], &line["path"], &line["error"]),
        (&json!("request"), &json!("INFO"), &json!(200), &json!("/api/chatkit"), &Value::Null)
    );
    assert!(
        line["upstream_request_id"].as_str().is_some_and(|id| id.starts_with("req_")),
        "{line}"
    );
    assert!(line["user"].is_string(), "{line}");
    assert!(
        line["duration_ms"].as_f64().is_some_and(|took| took > 400.0),
        "it is the whole stream's: {line}"
    );

    let mut left = ada.stream_with(&create("long story"), &[("x-request-id", "left")]).await;
    left.next().await;
    drop(left);
    let line = server.log_line(of("left"));
    assert_eq!(
        (&line["level"], &line["error"]),
        (&json!("INFO"), &json!("the client left before the end of the answer"))
    );
    let lines = server.logs().lines().filter(|line| line.contains("\"whole\"")).count();
    assert_eq!(lines, 1);
}
