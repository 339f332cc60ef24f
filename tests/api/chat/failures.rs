//! A model that fails in every way it can: the stream is 200 and has its last event, which says
//! truthfully whether to try again and nothing of what the model's server said; the log says that;
//! and the next try is answered.

use serde_json::{Value, json};

use super::client::{Client, create};
use super::model::{answer, delta, frames, opening, stream};
use super::setting::{answer_of, begun, retry, server, user};
use crate::support::server::{API_KEY, PATIENCE, TestServer};
use crate::support::upstream::{Reply, ScriptedUpstream};

/// In everything that the model's server says.
const CANARY: &str = "canary-words-of-the-upstream";

/// How a model fails, whether to try again, and what the log says.
struct Failure {
    name: &'static str,
    reply: Reply,
    allow_retry: bool,
    log: &'static str,
}

fn refused(
    name: &'static str,
    status: u16,
    code: &str,
    allow_retry: bool,
    log: &'static str,
) -> Failure {
    let message = format!("{CANARY}: bad key {API_KEY}");
    let reply = Reply::error(status, "invalid_request_error", code, &message);
    Failure { name, reply, allow_retry, log }
}

/// What a stream says after its first word.
fn then(name: &'static str, event: &Value, allow_retry: bool, log: &'static str) -> Failure {
    let events = [opening(), vec![delta("Half an"), event.clone()]].concat();
    Failure { name, reply: stream(&events), allow_retry, log }
}

fn refusals() -> Vec<Failure> {
    let html = format!("<html><body>{CANARY} {API_KEY}</body></html>");
    let said = format!("{CANARY} {API_KEY}");
    vec![
        refused("bad-request", 400, "unsupported_parameter", false, "400"),
        refused("too-long", 400, "context_length_exceeded", false, "too long"),
        refused("unauthorized", 401, "invalid_api_key", false, "401"),
        refused("forbidden", 403, "forbidden", false, "403"),
        refused("missing", 404, "model_not_found", false, "404"),
        refused("timeout", 408, "timeout", true, "408"),
        refused("conflict", 409, "conflict", true, "409"),
        refused("unprocessable", 422, "unprocessable", false, "422"),
        refused("limited", 429, "rate_limit_exceeded", true, "429"),
        refused("quota", 429, "insufficient_quota", false, "429"),
        refused("broken", 500, "server_error", true, "500"),
        refused("overloaded", 503, "server_is_overloaded", true, "503"),
        Failure {
            name: "html",
            reply: Reply::text(502, &html).header("content-type", "text/html"),
            allow_retry: true,
            log: "502",
        },
        Failure {
            name: "redirect",
            reply: Reply::text(307, &said).header("location", "http://127.0.0.1:9/elsewhere"),
            allow_retry: false,
            log: "redirect",
        },
        Failure {
            name: "page",
            reply: Reply::text(200, &html).header("content-type", "text/html"),
            allow_retry: true,
            log: "no event stream",
        },
        Failure {
            name: "error-in-success",
            reply: Reply::json(
                200,
                &json!({"error": {"message": said, "type": "server_error", "code": null}}),
            ),
            allow_retry: true,
            log: "server_error",
        },
        Failure { name: "hang-up", reply: Reply::hang_up(), allow_retry: true, log: "model" },
    ]
}

fn broken_streams() -> Vec<Failure> {
    let said = format!("{CANARY} {API_KEY}");
    let failed = json!({"type": "response.failed", "response": {"status": "failed",
                        "error": {"code": "server_error", "message": said}}});
    let incomplete = json!({"type": "response.incomplete", "response": {"status": "incomplete",
                            "incomplete_details": {"reason": "max_output_tokens"}}});
    let call = json!({"type": "response.output_item.done", "output_index": 1, "item": {"type": "function_call", "id": "fc_1",
                      "call_id": "call_1", "name": CANARY, "arguments": "{}", "status": "completed"}});
    let half = frames(&[opening(), vec![delta("Half an")]].concat());
    let cut = Reply::text(200, &half).header("content-type", "text/event-stream");
    let garbage = format!("{half}event: response.output_text.delta\ndata: {{\"{said}\n\n");
    vec![
        then(
            "flat-error",
            &json!({"type": "error", "code": "server_error", "message": said}),
            true,
            "server_error",
        ),
        then(
            "nested-error",
            &json!({"type": "error", "error": {"type": "server_error", "code": "x", "message": said}}),
            true,
            "server_error",
        ),
        then(
            "bare-error",
            &json!({"error": {"code": 503, "message": said, "type": "unavailable_error"}}),
            true,
            "503",
        ),
        then(
            "quota-on-the-way",
            &json!({"type": "error", "code": "insufficient_quota", "message": said}),
            false,
            "quota",
        ),
        then("response-failed", &failed, true, "server_error"),
        then("incomplete", &incomplete, true, "max_output_tokens"),
        then("unknown-function", &call, true, "function"),
        Failure {
            name: "no-end",
            reply: stream(&[opening(), vec![delta("Half an")]].concat()),
            allow_retry: true,
            log: "ended",
        },
        Failure {
            name: "cut",
            reply: cut.cut_after(half.len() - 20),
            allow_retry: true,
            log: "broke",
        },
        Failure {
            name: "garbage",
            reply: Reply::text(200, &garbage).header("content-type", "text/event-stream"),
            allow_retry: true,
            log: "can't be read",
        },
        Failure { name: "silence", reply: stream(&[]), allow_retry: true, log: "ended" },
    ]
}

async fn fails(upstream: &ScriptedUpstream, server: &TestServer, ada: &Client, failure: Failure) {
    let Failure { name, reply, allow_retry, log } = failure;
    upstream.then(reply);
    let response = ada.stream_with(&create("hello"), &[("x-request-id", name)]).await;
    let events = response.rest().await;
    let (thread, message) = begun(&events);
    let last = events.last().expect("a last event");
    assert_eq!(
        (&last["type"], &last["allow_retry"]),
        (&json!("error"), &json!(allow_retry)),
        "{name}: {last}"
    );
    let all = json!(events).to_string();
    assert!(!all.contains(CANARY) && !all.contains(API_KEY), "{name}: {all}");
    let line = server.log_line(|line| line["request_id"] == name);
    assert_eq!(
        (&line["message"], &line["level"]),
        (&json!("request"), &json!("WARN")),
        "{name}: {line}"
    );
    let cause = line["error"].as_str().expect("the log says why");
    assert!(cause.contains(log), "{name}: {cause}");
    let items = ada.items(&thread).await;
    assert_eq!(items, std::slice::from_ref(&message), "{name}: no half answer stays");

    upstream.then(answer("Now it works."));
    let events = ada.events(&retry(&thread, &message)).await;
    assert_eq!(answer_of(&events), "Now it works.", "{name}");
}

async fn all_fail(failures: Vec<Failure>) {
    let upstream = ScriptedUpstream::start([]).await;
    let server = server(&format!("{}/v1", upstream.base()), &[]);
    let ada = user(&server, "ada");
    let count = failures.len();
    for failure in failures {
        fails(&upstream, &server, &ada, failure).await;
    }
    assert_eq!(
        upstream.lines(),
        vec!["POST /v1/responses"; 2 * count],
        "each failure was one request, and each retry"
    );
    let logs = server.logs();
    assert!(!logs.contains(API_KEY), "no key in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_refuses_ends_the_stream_with_an_error_and_the_retry_is_answered() {
    all_fail(refusals()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_on_the_way_ends_the_stream_with_an_error_and_the_retry_is_answered() {
    all_fail(broken_streams()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_behind_an_image_leaves_the_image_and_no_list_of_what_it_thought() {
    const DOT: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let added = |item: Value| json!({"type": "response.output_item.added", "output_index": 0, "item": item});
    let image = |more: Value| {
        let mut image =
            json!({"type": "image_generation_call", "id": "ig_1", "status": "completed"});
        image
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        image
    };
    let events = [
        added(json!({"type": "reasoning", "id": "rs_1", "summary": []})),
        json!({"type": "response.reasoning_summary_text.done", "item_id": "rs_1", "output_index": 0, "summary_index": 0, "text": "Draw"}),
        added(image(json!({}))),
        json!({"type": "response.output_item.done", "output_index": 1, "item": image(json!({"result": DOT, "output_format": "png"}))}),
        json!({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "no"}}}),
    ];
    let upstream = ScriptedUpstream::start([stream(&events)]).await;
    let server = server(&format!("{}/v1", upstream.base()), &[]);
    let ada = user(&server, "ada");
    let events = ada.events(&create("draw")).await;
    assert_eq!(events.last().expect("a last event")["type"], "error");
    let (thread, _) = begun(&events);
    let items = ada.items(&thread).await;
    let mut kinds: Vec<_> =
        items.iter().map(|item| item["type"].as_str().unwrap_or_default()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["generated_image", "user_message"], "{items:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_never_answers_is_given_up_when_its_time_is_over() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let server = server(&base, &[("UPSTREAM_TIMEOUT_SECONDS", "1")]);
    let ada = user(&server, "ada");
    let events = tokio::time::timeout(PATIENCE, ada.events(&create("hello"))).await;
    let error = json!({"type": "error", "code": "stream.error", "allow_retry": true});
    assert_eq!(events.expect("it does not wait for a minute").last(), Some(&error));
    let speech = json!({"audio_base64": "AA==", "mime_type": "audio/webm"});
    let answer = tokio::time::timeout(PATIENCE, ada.ask("input.transcribe", speech)).await;
    let (status, body) = answer.expect("nor does dictation");
    assert_eq!((status, &body["error"]["code"]), (504, &json!("upstream_timeout")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_there_ends_the_stream_with_an_error() {
    let server = server("http://127.0.0.1:9/v1", &[]);
    let events = user(&server, "ada").events(&create("hello")).await;
    let error = json!({"type": "error", "code": "stream.error", "allow_retry": true});
    assert_eq!(events.last(), Some(&error));
    begun(&events);
    server.log_line(|line| line["message"] == "request" && line["error"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_the_agent_does_not_handle_is_told_and_is_no_fault() {
    let upstream = ScriptedUpstream::start([answer("Hello.")]).await;
    let server = server(&format!("{}/v1", upstream.base()), &[]);
    let ada = user(&server, "ada");
    let (thread, _) = begun(&ada.events(&create("hello")).await);
    let params = json!({"thread_id": thread, "action": {"type": "buy"}});
    let action = json!({"type": "threads.custom_action", "params": params});
    let events = ada.stream_with(&action, &[("x-request-id", "act-1")]).await.rest().await;
    let last = events.last().expect("a last event");
    assert_eq!((&last["code"], &last["allow_retry"]), (&json!("custom"), &json!(false)));
    let line =
        server.log_line(|line| line["request_id"] == "act-1" && line["message"] == "request");
    assert_eq!(line["level"], "INFO", "{line}");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("actions")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_too_long_says_so() {
    let long = Reply::error(400, "invalid_request_error", "context_length_exceeded", CANARY);
    let upstream = ScriptedUpstream::start([long]).await;
    let server = server(&format!("{}/v1", upstream.base()), &[]);
    let events = user(&server, "ada").events(&create("hello")).await;
    let last = events.last().expect("a last event");
    assert_eq!((&last["code"], &last["allow_retry"]), (&json!("custom"), &json!(false)));
    assert!(last["message"].as_str().is_some_and(|text| text.contains("too long")), "{last}");
}
