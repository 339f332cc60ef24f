//! What happens when no stream begins? Refusals, tries, deadlines, and what the log may hold.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use chatkit_server::telemetry::request::RequestContext;
use chatkit_server::upstream::model::{
    ModelApi, ModelError, ModelErrorKind as K, ModelEvent, ModelSettings,
};
use serde_json::json;

use crate::server::{ModelServer, Reply, Step};
use crate::support::{KEY, ask, client, client_with, endpoint, frames, hello, read};

const BOTH: [ModelApi; 2] = [ModelApi::Responses, ModelApi::ChatCompletions];

fn whole() -> Reply {
    Reply::stream(&frames(&[json!({"type": "response.completed", "response": {}})]))
}

async fn refused(server: &ModelServer, api: ModelApi) -> ModelError {
    ask(server, api).await.map(|_| ()).expect_err("a refusal")
}

#[tokio::test]
async fn a_refusal_has_a_kind_a_status_and_words_for_the_log() {
    for api in BOTH {
        for (status, code, kind, is_retryable) in [
            (400, "unsupported_parameter", K::Rejected, false),
            (400, "context_length_exceeded", K::ContextTooLong, false),
            (401, "invalid_api_key", K::Auth, false),
            (402, "", K::Quota, false),
            (403, "", K::Auth, false),
            (404, "model_not_found", K::Rejected, false),
            (413, "", K::Rejected, false),
            (422, "", K::Rejected, false),
            (429, "insufficient_quota", K::Quota, false),
        ] {
            let reply = Reply::error(status, "t", code, "words").header("x-request-id", "req_9");
            let server = ModelServer::start([reply]).await;
            let error = refused(&server, api).await;
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (kind, is_retryable),
                "{status} {code}"
            );
            assert_eq!(error.status(), StatusCode::from_u16(status).ok());
            assert_eq!(error.request_id(), Some("req_9"));
            let text = error.to_string();
            assert!(text.contains(&format!("status {status}")) && text.contains("words"), "{text}");
            assert_eq!(text.matches("req_9").count(), 1, "{text}");
            assert_eq!(server.requests().len(), 1, "{status} is not tried again");
        }
    }
}

#[tokio::test]
async fn the_log_is_told_what_a_refusal_by_a_server_of_models_usually_means() {
    for (status, words) in
        [(401, "the key for this model is wrong"), (404, "OPENAI_BASE_URL, CHATKIT_MODEL_API")]
    {
        let server = ModelServer::start([Reply::error(status, "t", "c", "m")]).await;
        let text = refused(&server, ModelApi::Responses).await.to_string();
        assert!(text.contains(words) && !text.contains("Agent Builder"), "{text}");
    }
}

#[tokio::test]
async fn a_passing_failure_is_tried_again_until_it_succeeds() {
    for status in [408, 409, 429, 500, 502, 503, 529] {
        let busy = || Reply::error(status, "t", "c", "busy").header("retry-after-ms", "5");
        let server = ModelServer::start([busy(), busy(), whole()]).await;
        let (events, error) =
            read(ask(&server, ModelApi::Responses).await.expect("a stream")).await;
        assert_eq!(
            (events, error),
            (vec![ModelEvent::Completed { usage: None }], None),
            "{status}"
        );
        let bodies: Vec<_> = server.requests().into_iter().map(|request| request.body).collect();
        assert_eq!(bodies.len(), 3, "{status}");
        assert!(bodies.iter().all(|body| *body == bodies[0]), "the same is asked again");
    }
}

#[tokio::test]
async fn after_two_more_tries_the_failure_stays() {
    for (status, kind) in [(503, K::Unavailable), (429, K::RateLimited)] {
        let busy = || Reply::error(status, "t", "c", "busy").header("retry-after-ms", "5");
        let server = ModelServer::start([busy(), busy(), busy(), whole()]).await;
        let error = refused(&server, ModelApi::ChatCompletions).await;
        assert_eq!((error.kind(), error.is_retryable()), (kind, true));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(5)));
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test]
async fn an_empty_account_is_not_asked_again() {
    let empty = Reply::error(429, "insufficient_quota", "credit_balance_exhausted", "no money")
        .header("retry-after-ms", "5");
    let server = ModelServer::start([empty, whole()]).await;
    let error = refused(&server, ModelApi::Responses).await;
    assert_eq!((error.kind(), error.is_retryable()), (K::Quota, false));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_wait_that_the_deadline_does_not_allow_is_not_begun() {
    let server = ModelServer::start([
        Reply::error(429, "t", "c", "later").header("retry-after", "60"),
        whole(),
    ])
    .await;
    let started = Instant::now();
    let error = refused(&server, ModelApi::Responses).await;
    assert_eq!(
        (error.kind(), error.retry_after()),
        (K::RateLimited, Some(Duration::from_secs(60)))
    );
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_server_that_does_not_begin_to_answer_is_given_up() {
    let settings =
        ModelSettings { answer_head: Duration::from_millis(200), ..ModelSettings::default() };
    let server = ModelServer::start([whole().after(Duration::from_secs(30))]).await;
    let started = Instant::now();
    let endpoint = endpoint(&server, ModelApi::Responses);
    let error = client_with(settings)
        .stream(&endpoint, &hello(), None)
        .await
        .map(|_| ())
        .expect_err("a timeout");
    assert_eq!((error.kind(), error.is_retryable()), (K::Timeout, true));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let server = ModelServer::start([]).await;
    let mut endpoint = endpoint(&server, ModelApi::Responses);
    endpoint.base_url = "http://127.0.0.1:1/v1".parse().expect("an address");
    let settings = ModelSettings { retries: 1, ..ModelSettings::default() };
    let error = client_with(settings)
        .stream(&endpoint, &hello(), None)
        .await
        .map(|_| ())
        .expect_err("an error");
    assert_eq!((error.kind(), error.is_retryable()), (K::Unavailable, true));
    assert!(!error.to_string().contains("/v1"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = ModelServer::start([
        Reply::plain(307, "text/plain", "").header("location", "/v1/elsewhere"),
        whole(),
    ])
    .await;
    let error = refused(&server, ModelApi::Responses).await;
    assert_eq!((error.kind(), error.is_retryable()), (K::Rejected, false));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_success_that_is_no_stream_is_an_error_with_what_it_says() {
    let json = json!({"error": {"message": "from the gateway", "code": "rate_limit_exceeded"}})
        .to_string();
    for (kind, body, expected, words) in [
        ("application/json", json.as_str(), K::RateLimited, "from the gateway"),
        ("application/json; charset=utf-8", "{\"id\":\"resp_1\"}", K::BadFrame, "no event stream"),
        ("text/html", "<html>Sign in</html>", K::BadFrame, "no event stream"),
    ] {
        for api in BOTH {
            let server = ModelServer::start([Reply::plain(200, kind, body)]).await;
            let error = refused(&server, api).await;
            assert_eq!(error.kind(), expected, "{body}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}

#[tokio::test]
async fn a_page_in_place_of_an_error_is_still_a_status() {
    let page =
        || Reply::plain(502, "text/html", "<html>Bad gateway</html>").header("retry-after-ms", "1");
    let server = ModelServer::start([page(), page(), page()]).await;
    let error = refused(&server, ModelApi::Responses).await;
    assert_eq!((error.kind(), error.status()), (K::Unavailable, Some(StatusCode::BAD_GATEWAY)));
}

#[tokio::test]
async fn the_key_is_in_no_error() {
    let words = format!("Incorrect API key provided: {KEY}, or Bearer {KEY}");
    let event = frames(&[json!({"type": "error", "code": KEY, "message": words})]);
    let odd = format!(
        "data: {{\"item_id\": 5, \"type\": \"response.completed\", \"response\": \"{KEY}\"}}\n\n"
    );
    let mut errors = Vec::new();
    for api in BOTH {
        for reply in [
            Reply::error(401, KEY, KEY, &words),
            Reply::plain(400, "text/plain", &words),
            Reply::plain(200, "application/json", &json!({"error": words}).to_string()),
        ] {
            let server = ModelServer::start([reply.header("x-request-id", KEY)]).await;
            errors.push(refused(&server, api).await);
        }
        for stream in [&event, &odd] {
            let server =
                ModelServer::start([Reply::steps([Step::Send(stream.as_str().into())])]).await;
            let (_, error) = read(ask(&server, api).await.expect("a stream")).await;
            errors.push(error.expect("an error"));
        }
    }
    for error in errors {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn the_servers_id_of_the_request_is_noted() {
    for (reply, is_refused) in [(whole(), false), (Reply::error(400, "t", "c", "m"), true)] {
        let server = ModelServer::start([reply]).await;
        let context = RequestContext::default();
        let begun = client()
            .stream(&endpoint(&server, ModelApi::Responses), &hello(), Some(&context))
            .await;
        assert_eq!(begun.is_err(), is_refused);
        assert_eq!(context.upstream_request_id(), Some("req_1"));
    }
}
