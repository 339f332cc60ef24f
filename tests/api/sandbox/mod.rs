//! Does the stand-in answer as OpenAI does? Over a real socket, with a client that follows no
//! redirect.

mod completions;
mod formats;
mod model;
mod response_faults;
mod responses;
mod scenarios;
mod transcriptions;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chatkit_server::clock::TestClock;
use chatkit_server::sandbox;
use data_encoding::BASE64_NOPAD;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

const NOW: u64 = 1_800_000_000;

/// A running sandbox and somebody who calls it.
struct Caller {
    base: String,
    client: Client,
    clock: Arc<TestClock>,
}

impl Caller {
    async fn start() -> Result<Self> {
        let clock = Arc::new(TestClock::at(NOW));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let router = sandbox::router(clock.clone());
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        let client = Client::builder().no_proxy().redirect(Policy::none()).build()?;
        Ok(Self { base, client, clock })
    }

    /// A request with a good key and the beta header.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth("sk-test")
            .header("openai-beta", "chatkit_beta=v1")
    }

    async fn create(&self, body: &Value) -> Result<Response> {
        Ok(self.request(Method::POST, "/v1/chatkit/sessions").json(body).send().await?)
    }

    /// Asks for a session of this workflow.
    async fn ask_for(&self, workflow: &str) -> Result<Response> {
        self.create(&json!({ "user": "ada", "workflow": { "id": workflow } })).await
    }

    /// Sends a body to one of the model's endpoints.
    async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        let request =
            self.client.post(format!("{}{path}", self.base)).bearer_auth("sk-test").json(body);
        Ok(request.send().await?)
    }

    /// What the stand-in tells about itself.
    async fn look(&self, path: &str) -> Result<Value> {
        Ok(self.client.get(format!("{}{path}", self.base)).send().await?.json().await?)
    }

    async fn cancel(&self, id: &str) -> Result<Response> {
        Ok(self.request(Method::POST, &format!("/v1/chatkit/sessions/{id}/cancel")).send().await?)
    }
}

/// Status and body, and with them that the headers of OpenAI are there.
async fn read(response: Response) -> Result<(u16, Value)> {
    let headers = response.headers();
    let header = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).context(name.to_owned())
    };
    let request_id = header("x-request-id")?.strip_prefix("req_").context("its prefix")?;
    assert!(
        request_id.len() == 32 && request_id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{request_id}"
    );
    assert_eq!(header("openai-version")?, "2020-10-01");
    assert!(!header("openai-organization")?.is_empty());
    header("openai-processing-ms")?.parse::<u64>()?;
    assert_eq!(header("content-type")?, "application/json");
    Ok((response.status().as_u16(), response.json().await?))
}

/// The commonest error: an invalid request that is about no field.
fn invalid(message: &str, code: Option<&str>) -> Value {
    json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": code } })
}

#[tokio::test]
async fn a_small_request_gets_a_whole_session_with_openais_defaults() -> Result<()> {
    let caller = Caller::start().await?;
    let (status, mut session) = read(caller.ask_for("wf_1").await?).await?;
    assert_eq!(status, 200, "{session}");
    let (id, secret) = (session["id"].take(), session["client_secret"].take());
    let secret = secret.as_str().context("a secret")?;
    let (secret, end) = secret.rsplit_once('_').context("a secret that says its end")?;
    for (name, value, prefix, digits) in
        [("id", id.as_str(), "cksess_", 32), ("client_secret", Some(secret), "ek_", 64)]
    {
        let hex = value.and_then(|text| text.strip_prefix(prefix)).context(name)?;
        assert!(
            hex.len() == digits && hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{name}: {value:?}"
        );
    }
    // The chat UI of OpenAI reads it so: two digits, and base64 of an object.
    let (version, end) = end.split_at(2);
    let end: Value = serde_json::from_slice(&BASE64_NOPAD.decode(end.as_bytes())?)?;
    assert_eq!((version, end), ("00", json!({ "expires_at": NOW + 600 })));
    assert_eq!(
        session,
        json!({
            "id": null, "object": "chatkit.session", "client_secret": null, "expires_at": NOW + 600,
            "user": "ada", "status": "active", "max_requests_per_1_minute": 10,
            "rate_limits": { "max_requests_per_1_minute": 10 },
            "workflow": { "id": "wf_1", "version": null, "state_variables": null, "tracing": { "enabled": true } },
            "chatkit_configuration": {
                "automatic_thread_titling": { "enabled": true },
                "file_upload": { "enabled": false, "max_file_size": 512, "max_files": 10 },
                "history": { "enabled": true, "recent_threads": null },
            },
        })
    );
    Ok(())
}

#[tokio::test]
async fn everything_that_is_asked_for_stands_in_the_session() -> Result<()> {
    let caller = Caller::start().await?;
    let workflow = json!({
        "id": "wf_abc", "version": "2", "tracing": { "enabled": false },
        "state_variables": { "plan": "pro", "seats": 4, "ratio": 0.5, "beta": true, "debt": -3 },
    });
    let configuration = json!({
        "automatic_thread_titling": { "enabled": false },
        "file_upload": { "enabled": true, "max_file_size": 20, "max_files": 5 },
        "history": { "enabled": false, "recent_threads": 50 },
    });
    let body = json!({
        "user": "u_7f3a \"é\"", "workflow": workflow, "chatkit_configuration": configuration,
        "expires_after": { "anchor": "created_at", "seconds": 1 },
        "rate_limits": { "max_requests_per_1_minute": 20 },
    });
    let (status, session) = read(caller.create(&body).await?).await?;
    assert_eq!(status, 200, "{session}");
    for (name, expected) in [
        ("user", &body["user"]),
        ("workflow", &workflow),
        ("chatkit_configuration", &configuration),
        ("rate_limits", &body["rate_limits"]),
        ("max_requests_per_1_minute", &json!(20)),
        ("expires_at", &json!(NOW + 1)),
    ] {
        assert_eq!(&session[name], expected, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn no_two_sessions_share_an_id_or_a_secret() -> Result<()> {
    let caller = Caller::start().await?;
    let (_, first) = read(caller.ask_for("wf_1").await?).await?;
    let (_, second) = read(caller.ask_for("wf_1").await?).await?;
    assert_ne!(first["id"], second["id"]);
    assert_ne!(first["client_secret"], second["client_secret"]);
    Ok(())
}

#[tokio::test]
async fn a_cancelled_session_comes_back_whole_and_stays_cancelled() -> Result<()> {
    let caller = Caller::start().await?;
    let (_, mut session) = read(caller.ask_for("wf_1").await?).await?;
    let id = session["id"].as_str().context("id")?.to_owned();
    session["status"] = json!("cancelled");
    assert_eq!(read(caller.cancel(&id).await?).await?, (200, session.clone()));
    caller.clock.advance(Duration::from_secs(601));
    assert_eq!(read(caller.cancel(&id).await?).await?, (200, session));
    Ok(())
}

#[tokio::test]
async fn a_session_past_its_end_is_expired_and_an_hour_later_forgotten() -> Result<()> {
    let caller = Caller::start().await?;
    let (_, session) = read(caller.ask_for("wf_1").await?).await?;
    let id = session["id"].as_str().context("id")?;
    caller.clock.advance(Duration::from_secs(600));
    let (status, expired) = read(caller.cancel(id).await?).await?;
    assert_eq!((status, &expired["status"]), (200, &json!("expired")));
    caller.clock.advance(Duration::from_secs(3600));
    assert_eq!(caller.cancel(id).await?.status(), StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn an_unknown_session_is_not_found_in_openais_words() -> Result<()> {
    let caller = Caller::start().await?;
    let unknown = format!("cksess_{}", "0".repeat(32));
    for id in [unknown.as_str(), "cksess_", "nonsense", "cksess_zz"] {
        let message = format!("Chatkit Session with id '{id}' not found.");
        let expected = invalid(&message, None);
        assert_eq!(read(caller.cancel(id).await?).await?, (404, expected));
    }
    let expected = "Invalid URL (POST /v1/chatkit/sessions/%ff/cancel)";
    let (status, body) = read(caller.cancel("%ff").await?).await?;
    assert_eq!(
        (status, &body["error"]["message"]),
        (404, &json!(expected)),
        "an id that is not text"
    );
    Ok(())
}

#[tokio::test]
async fn without_a_good_key_nothing_else_is_looked_at() -> Result<()> {
    let caller = Caller::start().await?;
    let bad = "pk-proj-0123456789abcdefWXYZ";
    for (authorization, status, code, words) in [
        (None, 401, None, "You didn't provide an API key."),
        (Some("Basic c2stMTox"), 401, None, "You didn't provide an API key."),
        (Some("Bearer"), 401, None, "You didn't provide an API key."),
        (
            Some("Bearer pk-proj-0123456789abcdefWXYZ"),
            401,
            Some("invalid_api_key"),
            "provided: pk-proj-****************WXYZ.",
        ),
        (Some("Bearer sk-"), 401, Some("invalid_api_key"), "Incorrect API key provided"),
        (Some("Bearer sk-revoked"), 401, Some("invalid_api_key"), "Incorrect API key provided"),
        (Some("Bearer sk-forbidden"), 403, Some("missing_scope"), "insufficient permissions"),
    ] {
        for (method, path) in [
            (Method::POST, "/v1/chatkit/sessions"),
            (Method::GET, "/v1/chatkit/sessions"),
            (Method::POST, "/v1/chatkit/sessions/cksess_1/cancel"),
            (Method::GET, "/nowhere"),
        ] {
            let mut request = caller.client.request(method, format!("{}{path}", caller.base));
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let (found, body) = read(request.send().await?).await?;
            assert_eq!(found, status, "{authorization:?} {path}");
            let message = body["error"]["message"].as_str().context("message")?;
            assert!(message.contains(words) && !message.contains(bad), "{message}");
            assert_eq!(body, invalid(message, code));
        }
    }
    Ok(())
}

#[tokio::test]
async fn both_calls_need_the_beta_header() -> Result<()> {
    let caller = Caller::start().await?;
    let message = "You must provide the 'OpenAI-Beta' header to access the ChatKit API. Please try \
                   again by setting the header 'OpenAI-Beta: chatkit_beta=v1'.";
    let expected = invalid(message, Some("invalid_beta"));
    for path in ["/v1/chatkit/sessions", "/v1/chatkit/sessions/cksess_1/cancel"] {
        for beta in [None, Some("assistants=v2"), Some("chatkit_beta=v2")] {
            let mut request =
                caller.client.post(format!("{}{path}", caller.base)).bearer_auth("sk-test");
            if let Some(beta) = beta {
                request = request.header("openai-beta", beta);
            }
            assert_eq!(
                read(request.send().await?).await?,
                (400, expected.clone()),
                "{path} {beta:?}"
            );
        }
    }
    let listed = caller
        .client
        .post(format!("{}/v1/chatkit/sessions", caller.base))
        .bearer_auth("sk-test")
        .header("openai-beta", "assistants=v2, chatkit_beta=v1")
        .json(&json!({ "user": "ada", "workflow": { "id": "wf_1" } }))
        .send()
        .await?;
    assert_eq!(listed.status(), StatusCode::OK, "the header may be a list");
    Ok(())
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json_and_be_it() -> Result<()> {
    let caller = Caller::start().await?;
    let good = r#"{"user":"ada","workflow":{"id":"wf_1"}}"#;
    let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(26_214_400));
    for (content_type, body, status, code) in [
        (Some("application/json; charset=utf-8"), good, 200, json!(null)),
        (Some("Application/JSON"), good, 200, json!(null)),
        (None, good, 415, json!("unsupported_content_type")),
        (Some("text/plain"), good, 415, json!("unsupported_content_type")),
        (Some("application/json"), "", 400, json!(null)),
        (Some("application/json"), "{", 400, json!(null)),
        (Some("application/json"), "[]", 400, json!("invalid_type")),
        (Some("application/json"), "{}", 400, json!("missing_required_parameter")),
        (Some("application/json"), long.as_str(), 413, json!(null)),
    ] {
        let mut request =
            caller.request(Method::POST, "/v1/chatkit/sessions").body(body.to_owned());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let (found, answer) = read(request.send().await?).await?;
        let start: String = body.chars().take(40).collect();
        assert_eq!((found, &answer["error"]["code"]), (status, &code), "{content_type:?} {start}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_field_is_named() -> Result<()> {
    let caller = Caller::start().await?;
    let body = json!({ "user": "ada", "workflow": { "id": "wf_500", "versoin": "1" } });
    let message = "Unknown parameter: 'workflow.versoin'.";
    let mut expected = invalid(message, Some("unknown_parameter"));
    expected["error"]["param"] = json!("workflow.versoin");
    assert_eq!(
        read(caller.create(&body).await?).await?,
        (400, expected),
        "before the workflow gets to fail"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_openais_shape() -> Result<()> {
    let caller = Caller::start().await?;
    for (method, path) in [
        (Method::GET, "/"),
        (Method::POST, "/v1/chatkit/sessions/"),
        (Method::GET, "/v1/chatkit/sessions/cksess_1"),
        (Method::POST, "/v1/response"),
    ] {
        let message = format!("Invalid URL ({method} {path})");
        let expected = invalid(&message, None);
        assert_eq!(read(caller.request(method, path).send().await?).await?, (404, expected));
    }
    for (method, path) in [
        (Method::GET, "/v1/responses"),
        (Method::GET, "/v1/chatkit/sessions"),
        (Method::DELETE, "/v1/chatkit/sessions"),
        (Method::GET, "/v1/chatkit/sessions/cksess_1/cancel"),
    ] {
        let response = caller.request(method, path).send().await?;
        assert_eq!(response.headers().get("allow").context("allow")?, "POST");
        let message = "Only POST requests are accepted.";
        let expected = invalid(message, Some("method_not_supported"));
        assert_eq!(read(response).await?, (405, expected));
    }
    Ok(())
}

#[tokio::test]
async fn the_organization_of_the_request_is_repeated() -> Result<()> {
    let caller = Caller::start().await?;
    let request = caller.request(Method::GET, "/").header("openai-organization", "org-1");
    assert_eq!(
        request.send().await?.headers().get("openai-organization").context("header")?,
        "org-1"
    );
    Ok(())
}
