//! What is refused before a stream begins, and how: once, with a 4xx that browsers don't repeat, in
//! the one shape of errors.

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use super::client::create;
use super::setting::{Model, most_resident, server};
use crate::support::server::{HOSTED, TestServer};
use crate::support::tokens;

const ORIGIN: &str = "https://shop.example";
const MEBIBYTE: usize = 1024 * 1024;

fn ada(server: &TestServer) -> RequestBuilder {
    server.post("/api/chatkit").bearer_auth(tokens::hs256("ada")).header("origin", ORIGIN)
}

/// The refusal's body, which is what browsers show, with an id, and readable for the page.
async fn refused(request: RequestBuilder, status: u16, code: &str) -> Value {
    let response = request.send().await.expect("an answer");
    let headers = response.headers().clone();
    assert_eq!(response.status(), status, "{code}");
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["error"]["code"], code, "{body}");
    assert_eq!(body["message"], body["error"]["message"]);
    assert_eq!(body["error"]["request_id"], headers["x-request-id"].to_str().expect("text"));
    assert_eq!(headers["access-control-allow-origin"], ORIGIN, "{code}");
    body
}

fn json_of(request: RequestBuilder, body: String) -> RequestBuilder {
    request.header("content-type", "application/json").body(body)
}

/// Nothing listens there: whatever is refused never reaches a model.
fn quiet(vars: &[(&str, &str)]) -> TestServer {
    server("http://127.0.0.1:9/v1", &[&[("CORS_ALLOWED_ORIGINS", ORIGIN)], vars].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn hosted_mode_has_no_chat() {
    let vars = [HOSTED, &[("CORS_ALLOWED_ORIGINS", ORIGIN)]].concat();
    let hosted = TestServer::start(&["serve"], &vars);
    refused(ada(&hosted).json(&create("hello")), 404, "not_found").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_credential_or_the_wrong_kind_is_refused() {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"cks_shop");
    let entry = format!("shop:{}", data_encoding::HEXLOWER.encode(digest.as_ref()));
    let server = quiet(&[("SERVICE_TOKENS", &entry)]);
    let bare = || server.post("/api/chatkit").header("origin", ORIGIN).json(&create("hello"));
    refused(bare(), 401, "missing_token").await;
    refused(bare().bearer_auth("a.b.c"), 401, "invalid_token").await;
    let past = json!({"sub": "ada", "exp": tokens::now() - 3600});
    refused(bare().bearer_auth(tokens::signed(&past)), 401, "expired_token").await;
    refused(bare().bearer_auth("cks_shop"), 403, "insufficient_scope").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_of_the_protocol_is_refused() {
    let server = quiet(&[]);
    let body = refused(json_of(ada(&server), "{".to_owned()), 400, "invalid_json").await;
    assert!(!body.to_string().contains("line"), "{body}");
    for kind in ["threads.stop", "attachments.get_preview"] {
        let body = refused(
            ada(&server).json(&json!({"type": kind, "params": {}})),
            400,
            "invalid_request",
        )
        .await;
        assert!(body["message"].as_str().is_some_and(|text| text.contains(kind)), "{body}");
    }
    for (request, field) in [
        (json!({}), "type"),
        (json!({"type": 7}), "type"),
        (json!({"type": "threads.create"}), "params"),
        (json!({"type": "threads.create", "params": {"input": {"content": 1}}}), "content"),
        (json!({"type": "threads.get_by_id", "params": {}}), "thread_id"),
    ] {
        let body = refused(ada(&server).json(&request), 400, "invalid_request").await;
        assert!(
            body["message"].as_str().is_some_and(|text| text.contains(field)),
            "{field}: {body}"
        );
    }
    refused(json_of(ada(&server), "[]".to_owned()), 400, "invalid_request").await;
    let text = ada(&server).header("content-type", "text/plain").body(create("hello").to_string());
    refused(text, 415, "unsupported_media_type").await;
    let get = server.get("/api/chatkit").header("origin", ORIGIN);
    refused(get, 405, "method_not_allowed").await;
    let allow: Response = server.get("/api/chatkit").send().await.expect("an answer");
    assert_eq!(allow.headers()["allow"], "POST");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_refused_before_a_stream_begins() {
    let server = quiet(&[]);
    let input = create("hello")["params"]["input"].clone();
    for (kind, params) in [
        ("threads.add_user_message", json!({"thread_id": "thr_none", "input": input})),
        ("threads.add_client_tool_output", json!({"thread_id": "thr_none", "result": 1})),
        (
            "threads.add_structured_input",
            json!({"thread_id": "thr_none", "item_id": "msg_1", "input": {}}),
        ),
        ("threads.retry_after_item", json!({"thread_id": "thr_none", "item_id": "msg_1"})),
        ("threads.custom_action", json!({"thread_id": "thr_none", "action": {"type": "a"}})),
        ("threads.get_by_id", json!({"thread_id": "thr_none"})),
    ] {
        refused(ada(&server).json(&json!({"type": kind, "params": params})), 404, "not_found")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_limit_and_speech_has_a_larger_one() {
    let model = Model::start();
    let server = server(&model.base(), &[("CORS_ALLOWED_ORIGINS", ORIGIN)]);
    // What is done in a widget has no smaller limit of its own.
    let long = |bytes: usize| {
        let action = json!({"type": "a", "payload": "x".repeat(bytes)});
        let params = json!({"thread_id": "thr_none", "action": action});
        json!({"type": "threads.custom_action", "params": params}).to_string()
    };
    refused(json_of(ada(&server), long(MEBIBYTE + 1)), 413, "body_too_large").await;
    let fits = json_of(ada(&server), long(MEBIBYTE - 1024)).send().await.expect("an answer");
    assert_eq!(fits.status(), 404, "just under the limit");
    drop(fits);
    let speech = |bytes: usize| {
        let params = json!({"audio_base64": "A".repeat(bytes), "mime_type": "audio/webm"});
        json!({"type": "input.transcribe", "params": params}).to_string()
    };
    refused(json_of(ada(&server), speech(36 * MEBIBYTE)), 413, "body_too_large").await;
    let fits = json_of(ada(&server), speech(2 * MEBIBYTE)).send().await.expect("an answer");
    assert_ne!(fits.status(), 413, "speech may be larger than words");
    // Words don't become speech by saying so.
    let disguised = long(MEBIBYTE + 1)
        .replace("threads.custom_action", "threads.custom_action\",\"x\":\"input.transcribe");
    refused(json_of(ada(&server), disguised), 413, "body_too_large").await;
    let fits =
        json_of(ada(&server), speech_named_last(2 * MEBIBYTE)).send().await.expect("an answer");
    assert_ne!(fits.status(), 413, "an object's fields have no order");
}

/// A request with speech whose type comes after what it carries.
fn speech_named_last(bytes: usize) -> String {
    let audio = "A".repeat(bytes);
    format!(
        r#"{{"params":{{"mime_type":"audio/webm","audio_base64":"{audio}"}},"type":"input.transcribe"}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_its_type_costs_no_more_than_its_bytes() {
    let server = quiet(&[]);
    let many = vec!["{}"; 11 * MEBIBYTE].join(",");
    let kind = "threads.add_client_tool_output";
    let before = most_resident(&server);
    for body in [
        format!(
            r#"{{"type":"{kind}","params":{{"audio_base64":"","thread_id":"thr_1","result":[{many}]}}}}"#
        ),
        format!(
            r#"{{"params":{{"audio_base64":"","thread_id":"thr_1","result":[{many}]}},"type":"{kind}"}}"#
        ),
        format!(r#"{{"params":{{"audio_base64":""}},"type":[{many}]}}"#),
        format!(
            r#"{{"params":{{"audio_base64":"","result":[{many}]}},"type":"input.transcribe","type":"{kind}"}}"#
        ),
    ] {
        refused(json_of(ada(&server), body), 413, "body_too_large").await;
    }
    let grown = most_resident(&server) - before;
    assert!(grown < 100 * MEBIBYTE, "{grown} bytes for bodies of {} bytes", many.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_limit_a_user_waits() {
    let server = quiet(&[("RATE_LIMIT_READS_PER_MINUTE", "1"), ("RATE_LIMIT_READS_BURST", "2")]);
    let list = || ada(&server).json(&json!({"type": "threads.list", "params": {}}));
    for _ in 0..2 {
        assert_eq!(list().send().await.expect("an answer").status(), 200);
    }
    refused(list(), 429, "rate_limited").await;
    let response = list().send().await.expect("an answer");
    let wait: u64 =
        response.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    let bob = server.post("/api/chatkit").bearer_auth(tokens::hs256("bob"));
    let bob = bob.json(&json!({"type": "threads.list", "params": {}}));
    assert_eq!(bob.send().await.expect("an answer").status(), 200, "another user does not");
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_who_never_bring_their_cookie_share_the_limit_of_their_address() {
    let server = quiet(&[
        ("AUTH_ANONYMOUS", "on"),
        ("CHATKIT_COOKIE_KEY", "0123456789abcdef0123456789abcdef"),
        ("RATE_LIMIT_IP_PER_MINUTE", "1"),
        ("RATE_LIMIT_IP_BURST", "2"),
    ]);
    let preflight = server
        .request("OPTIONS", "/api/chatkit")
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST");
    for _ in 0..3 {
        let answer =
            preflight.try_clone().expect("it has no body").send().await.expect("an answer");
        assert!(answer.status().is_success(), "a preflight is not counted");
    }
    let list = json!({"type": "threads.list", "params": {}});
    let visit = || server.post("/api/chatkit").header("origin", ORIGIN).json(&list);
    for left in ["1", "0"] {
        let answer = visit().send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("set-cookie"), "each is a new visitor");
        assert_eq!(answer.headers()["ratelimit-remaining"], left);
    }
    refused(visit(), 429, "rate_limited").await;
    let file = server.get("/api/chatkit/attachments/atc_0").header("origin", ORIGIN);
    refused(file, 429, "rate_limited").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_is_served_without_leave_and_a_preflight_says_what_is_allowed() {
    let server = quiet(&[]);
    let preflight = |origin: &str| {
        server
            .request("OPTIONS", "/api/chatkit")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type,chatkit-frame-instance-id",
            )
    };
    let allowed = preflight(ORIGIN).send().await.expect("an answer");
    assert!(allowed.status().is_success());
    assert_eq!(allowed.headers()["access-control-allow-origin"], ORIGIN);
    let names =
        allowed.headers()["access-control-allow-headers"].to_str().expect("text").to_lowercase();
    assert!(
        names.contains("chatkit-frame-instance-id") && names.contains("authorization"),
        "{names}"
    );
    let other = preflight("https://evil.example").send().await.expect("an answer");
    assert!(!other.headers().contains_key("access-control-allow-origin"));
}
