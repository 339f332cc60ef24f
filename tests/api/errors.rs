//! Each row of the error table, as a client meets it: status, type, code, headers, and the one
//! shape.

use std::time::Duration;

use axum::response::IntoResponse;
use chatkit_server::layers::{self, observe::Observed};
use chatkit_server::lifecycle::Lifecycle;
use chatkit_server::server::Server;
use chatkit_server::telemetry::metrics::Metrics;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::server::{PATIENCE, TestServer, send_meanwhile};
use crate::support::tokens;
use crate::support::upstream::{Reply, ScriptedUpstream};

const SESSION: &str = "/api/chatkit/session";
const NOWHERE: &str = "http://127.0.0.1:9";

/// Sends the request and checks everything that all errors have in common.
async fn refused(request: RequestBuilder, status: u16, r#type: &str, code: &str) -> Response {
    let answer = request.header("x-request-id", "test-1").send().await.expect("an answer");
    assert_eq!(answer.headers()["x-request-id"], "test-1", "the caller's id comes back");
    assert_eq!(answer.headers()["content-type"], "application/json");
    let headers = answer.headers().clone();
    let got = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    let message = body["error"]["message"].as_str().unwrap_or_default();
    let expected = json!({
        "error": {"type": r#type, "code": code, "message": message, "request_id": "test-1"},
        "message": message,
    });
    assert_eq!((got, &body), (status, &expected));
    assert!(message.len() > 10, "the message says what to do: {message}");
    if status == 503 || status == 429 {
        let wait =
            headers.get("retry-after").and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
        assert!(wait.is_some_and(|wait| wait >= 1), "{code} says when to come back: {wait:?}");
    }
    let mut rebuilt = axum::http::Response::new(body.to_string());
    *rebuilt.headers_mut() = headers;
    rebuilt.into()
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_400_and_names_the_field() {
    let server = TestServer::hosted(NOWHERE, &[("RATE_LIMIT_USER_PER_MINUTE", "0")]);
    let as_json = |body: &str| {
        server.mint_as("ada").header("content-type", "application/json").body(body.to_owned())
    };
    for broken in ["{", "nonsense", "{\"workflow\":}", "\u{0}"] {
        refused(as_json(broken), 400, "invalid_request_error", "invalid_json").await;
    }
    for (body, field) in [
        ("[]", "object"),
        ("\"text\"", "object"),
        ("{\"workflow\":3}", "workflow"),
        ("{\"workflow\":{\"id\":3}}", "workflow"),
        ("{\"workflowId\":{}}", "workflowId"),
        ("{\"workflow\":{\"id\":\"wf_default\"},\"workflowId\":\"wf_other\"}", "workflow"),
    ] {
        let answer = refused(as_json(body), 400, "invalid_request_error", "invalid_request").await;
        let text = answer.text().await.expect("text");
        assert!(text.contains(field), "{body}: {text} names {field}");
    }
    let refresh = server.post("/api/chatkit/refresh").bearer_auth(tokens::hs256("ada"));
    let refresh = refresh.json(&json!({"currentClientSecret": 3}));
    let answer = refused(refresh, 400, "invalid_request_error", "invalid_request").await;
    assert!(answer.text().await.expect("text").contains("currentClientSecret"));
}

#[tokio::test]
async fn who_is_not_known_is_401_with_a_challenge() {
    let server = TestServer::hosted(NOWHERE, &[]);
    let challenge =
        |answer: &Response| answer.headers()["www-authenticate"].to_str().expect("text").to_owned();

    let missing = refused(server.post(SESSION), 401, "authentication_error", "missing_token").await;
    assert_eq!(
        challenge(&missing),
        r#"Bearer realm="chatkit""#,
        "no error where no credential was sent"
    );

    let invalid = server.post(SESSION).bearer_auth("nonsense");
    let invalid = refused(invalid, 401, "authentication_error", "invalid_token").await;
    assert!(challenge(&invalid).contains(r#"error="invalid_token""#));

    let expired = tokens::signed(&json!({"sub": "ada", "exp": tokens::now() - 60}));
    let expired = refused(
        server.post(SESSION).bearer_auth(expired),
        401,
        "authentication_error",
        "expired_token",
    )
    .await;
    assert!(challenge(&expired).contains("expired"));
}

#[tokio::test]
async fn what_a_caller_may_not_do_is_403() {
    let upstream = ScriptedUpstream::start([Reply::session("cksess_1", "ek_1")]).await;
    let vars = [("CHATKIT_WORKFLOWS", "sales=wf_sales"), ("JWT_COOKIE", "session")];
    let server = TestServer::hosted(&upstream.base(), &vars);
    for body in [
        json!({"workflow": "nope"}),
        json!({"workflow": {"id": "wf_x"}}),
        json!({"workflowId": "wf_x"}),
    ] {
        refused(server.mint_as("ada").json(&body), 403, "permission_error", "workflow_not_allowed")
            .await;
    }
    let secret: Value =
        server.mint_as("ada").send().await.expect("an answer").json().await.expect("JSON");
    let stolen = server.post("/api/chatkit/refresh").bearer_auth(tokens::hs256("bob"));
    let stolen = stolen.json(&json!({"currentClientSecret": secret["client_secret"]}));
    refused(stolen, 403, "permission_error", "session_mismatch").await;

    let cookie = server.post(SESSION).header("cookie", format!("session={}", tokens::hs256("ada")));
    let cookie = cookie.header("origin", "https://evil.example");
    refused(cookie, 403, "permission_error", "origin_not_allowed").await;
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_404_and_405() {
    let server = TestServer::hosted(NOWHERE, &[]);
    for path in [
        "/nope",
        "/api/chatkit/session/",
        "/healthz/",
        "/api/chatkit",
        "/dev/token",
        "/.env",
        "/api/chatkit/assets/x",
    ] {
        refused(server.get(path), 404, "invalid_request_error", "not_found").await;
    }
    refused(server.post("/api/chatkit"), 404, "invalid_request_error", "not_found").await;
    let answer =
        server.post("/api/chatkit").send().await.expect("an answer").text().await.expect("text");
    assert!(answer.contains("In hosted mode the chat is at OpenAI"), "{answer}");
    for (method, path, allow) in [
        ("GET", SESSION, "DELETE,POST"),
        ("PUT", "/api/chatkit/refresh", "POST"),
        ("POST", "/healthz", "GET,HEAD"),
        ("POST", "/", "GET,HEAD"),
        ("DELETE", "/openapi.json", "GET,HEAD"),
    ] {
        let answer = server.request(method, path);
        let answer = refused(answer, 405, "invalid_request_error", "method_not_allowed").await;
        let mut allowed: Vec<_> =
            answer.headers()["allow"].to_str().expect("text").split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn a_head_of_an_error_has_its_headers_and_no_body() {
    let server = TestServer::hosted(NOWHERE, &[]);
    let answer = server.request("HEAD", "/nope").send().await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (404, &"application/json".parse().expect("a value"))
    );
    assert_eq!(answer.text().await.expect("no body"), "");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_and_one_that_is_not_json_is_415() {
    let server = TestServer::hosted(NOWHERE, &[]);
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(64 * 1024));
    let announced =
        server.mint_as("ada").header("content-type", "application/json").body(large.clone());
    let answer = refused(announced, 413, "invalid_request_error", "body_too_large").await;
    assert_eq!(answer.headers()["connection"], "close", "the rest of the body is not waited for");
    let chunks = futures_util::stream::iter(
        large
            .into_bytes()
            .chunks(4096)
            .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
            .collect::<Vec<_>>(),
    );
    let streamed = server
        .mint_as("ada")
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(chunks));
    let answer = refused(streamed, 413, "invalid_request_error", "body_too_large").await;
    assert_eq!(answer.headers()["connection"], "close");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json5", ""]
    {
        let request = server.mint_as("ada").header("content-type", content_type).body("{}");
        refused(request, 415, "invalid_request_error", "unsupported_media_type").await;
    }
}

#[tokio::test]
async fn an_empty_body_needs_no_content_type_and_a_json_one_may_have_parameters() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let server = TestServer::hosted(&format!("http://{}", sandbox.addr()), &[]);
    let requests = [
        server.mint_as("ada"),
        server.mint_as("ada").header("content-type", "text/plain"),
        server.mint_as("ada").header("content-type", "Application/JSON; charset=utf-8").body("{}"),
        server
            .mint_as("ada")
            .json(&json!({"unknown": [1, 2], "workflow": null, "workflowId": null})),
    ];
    for request in requests {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(
            body.as_object().expect("an object").keys().collect::<Vec<_>>(),
            ["client_secret"],
            "nothing else"
        );
    }
}

#[tokio::test]
async fn each_limit_refuses_with_429_and_says_where_the_caller_stands() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let base = format!("http://{}", sandbox.addr());
    let by_user = TestServer::hosted(
        &base,
        &[("RATE_LIMIT_USER_BURST", "2"), ("RATE_LIMIT_USER_PER_MINUTE", "1")],
    );
    let by_address = TestServer::hosted(
        &base,
        &[("RATE_LIMIT_IP_BURST", "2"), ("RATE_LIMIT_IP_PER_MINUTE", "1")],
    );
    for server in [by_user, by_address] {
        for remaining in ["1", "0"] {
            let answer = server.mint_as("ada").send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["ratelimit-limit"], "2");
            assert_eq!(answer.headers()["ratelimit-remaining"], remaining);
        }
        let answer = refused(server.mint_as("ada"), 429, "rate_limit_error", "rate_limited").await;
        let number = |name: &str| {
            answer.headers()[name].to_str().expect("text").parse::<u64>().expect("a number")
        };
        assert_eq!((number("ratelimit-limit"), number("ratelimit-remaining")), (2, 0));
        assert!(
            (50..=61).contains(&number("retry-after")),
            "one a minute: {}",
            number("retry-after")
        );
        assert!((60..=121).contains(&number("ratelimit-reset")), "{}", number("ratelimit-reset"));
    }
}

#[tokio::test]
async fn what_openai_answers_becomes_our_own_words() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let base = format!("http://{}", sandbox.addr());
    let workflows = "missing=wf_missing,limited=wf_429,quota=wf_quota,down=wf_500,html=wf_html,garbage=wf_garbage,empty=wf_no_secret,redirect=wf_redirect,slow=wf_slow";
    let vars = [
        ("CHATKIT_WORKFLOWS", workflows),
        ("UPSTREAM_RETRIES", "0"),
        ("UPSTREAM_TIMEOUT_SECONDS", "1"),
        ("RATE_LIMIT_USER_PER_MINUTE", "0"),
    ];
    let server = TestServer::hosted(&base, &vars);
    for (workflow, status, code) in [
        ("missing", 502, "upstream_rejected"),
        ("quota", 502, "upstream_quota_exhausted"),
        ("garbage", 502, "upstream_invalid_response"),
        ("empty", 502, "upstream_invalid_response"),
        ("redirect", 502, "upstream_invalid_response"),
        ("limited", 503, "upstream_rate_limited"),
        ("down", 503, "upstream_unavailable"),
        ("html", 503, "upstream_unavailable"),
        ("slow", 504, "upstream_timeout"),
    ] {
        refused(
            server.mint_as("ada").json(&json!({"workflow": workflow})),
            status,
            "upstream_error",
            code,
        )
        .await;
    }
    let revoked = TestServer::hosted(&base, &[("OPENAI_API_KEY", "sk-revoked")]);
    refused(revoked.mint_as("ada"), 502, "upstream_error", "upstream_auth_failed").await;
    let nowhere = TestServer::hosted(NOWHERE, &[("UPSTREAM_RETRIES", "0")]);
    refused(nowhere.mint_as("ada"), 503, "upstream_error", "upstream_unavailable").await;

    let line = server.log_line(|line| {
        line["error"].as_str().is_some_and(|error| error.starts_with("upstream_rejected"))
    });
    assert_eq!(line["level"], "WARN");
    assert!(
        line["upstream_request_id"].as_str().is_some_and(|id| id.starts_with("req_")),
        "{line}"
    );
    assert!(
        line["error"].as_str().expect("a cause").contains("project"),
        "it says what a 404 usually means: {line}"
    );
}

#[tokio::test]
async fn past_the_most_requests_at_once_it_is_503_but_health_checks_pass() {
    let upstream =
        ScriptedUpstream::start([Reply::session("cksess_1", "ek_1").after(Duration::from_secs(2))])
            .await;
    let server = TestServer::hosted(&upstream.base(), &[("MAX_CONCURRENT_REQUESTS", "1")]);
    let open = send_meanwhile(server.mint_as("ada"));
    upstream.wait_for(1).await;
    refused(server.mint_as("bob"), 503, "api_error", "overloaded").await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).send().await.expect("an answer").status(), 200, "{path}");
    }
    assert_eq!(open.await.expect("no panic").expect("an answer").status(), 200);
}

#[tokio::test]
async fn while_there_are_no_keys_it_is_503_and_says_what_is_missing() {
    let vars = [("JWKS_URL", "http://127.0.0.1:9/jwks.json"), ("JWT_SECRET", "")];
    let server = TestServer::hosted(NOWHERE, &vars);
    refused(server.get("/readyz"), 503, "api_error", "not_ready").await;
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJhZGEiLCJleHAiOjk5OTk5OTk5OTl9.AAAA";
    let asked = server.post(SESSION).bearer_auth(token).timeout(PATIENCE);
    refused(asked, 503, "upstream_error", "upstream_unavailable").await;
}

#[tokio::test]
async fn a_panic_is_500_in_the_same_shape_and_the_next_request_is_served() {
    let (metrics, _) = Metrics::new(false);
    let answer = move |mut request: axum::extract::Request| {
        let metrics = metrics.clone();
        async move {
            let observed = Observed::begin(&mut request, &metrics);
            let path = request.uri().path().to_owned();
            let handler = async move {
                assert_ne!(path, "/panics", "a canary");
                "fine".into_response()
            };
            observed.end(layers::panic::caught(handler).await)
        }
    };
    let lifecycle = Lifecycle::default();
    let server = Server::bind("127.0.0.1", 0).await.expect("a free port");
    let base = format!("http://{}", server.local_addr());
    lifecycle.tasks().spawn(server.serve(answer, 16, lifecycle.clone()));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer =
        refused(client.get(format!("{base}/panics")), 500, "api_error", "internal_error").await;
    assert!(!answer.text().await.expect("text").contains("canary"), "the panic's text stays here");
    let answer = client.get(format!("{base}/serves")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    lifecycle.stopping().cancel();
}

#[tokio::test]
async fn a_body_that_is_refused_counts_for_its_user_all_the_same() {
    let server = TestServer::hosted(NOWHERE, &[("RATE_LIMIT_USER_BURST", "2")]);
    let broken = || server.mint_as("ada").header("content-type", "application/json").body("{");
    for _ in 0..2 {
        refused(broken(), 400, "invalid_request_error", "invalid_json").await;
    }
    refused(broken(), 429, "rate_limit_error", "rate_limited").await;
    let line = server.log_line(|line| line["status"] == 400);
    assert!(line["user"].is_string(), "{line}");
}
