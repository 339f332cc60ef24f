//! Does each workflow that is made to fail do so by its name?

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Caller, invalid, read};

#[tokio::test]
async fn workflows_that_stand_for_an_error_give_it() -> Result<()> {
    let caller = Caller::start().await?;
    let missing = "Workflow with id 'wf_missing' not found.";
    for (workflow, status, kind, code, words, retry_after) in [
        ("wf_missing", 404, "invalid_request_error", None, missing, None),
        ("wf_429", 429, "requests", Some("rate_limit_exceeded"), "Rate limit reached", Some("1")),
        (
            "wf_quota",
            429,
            "insufficient_quota",
            Some("insufficient_quota"),
            "exceeded your current quota",
            None,
        ),
        ("wf_500", 500, "server_error", Some("server_error"), "The server had an error", None),
        (
            "wf_503",
            503,
            "service_unavailable_error",
            Some("server_is_overloaded"),
            "overloaded",
            None,
        ),
    ] {
        let response = caller.ask_for(workflow).await?;
        let found =
            response.headers().get("retry-after").map(|value| value.to_str()).transpose()?;
        assert_eq!(found, retry_after, "{workflow}");
        let (found, body) = read(response).await?;
        let message = body["error"]["message"].as_str().context("message")?;
        assert!(message.contains(words), "{workflow}: {message}");
        let mut expected = invalid(message, code);
        expected["error"]["type"] = json!(kind);
        assert_eq!((found, &body), (status, &expected), "{workflow}");
    }
    Ok(())
}

#[tokio::test]
async fn wf_slow_keeps_its_caller_waiting_and_nobody_else() -> Result<()> {
    let caller = Caller::start().await?;
    let waiting = tokio::time::timeout(Duration::from_millis(300), caller.ask_for("wf_slow"));
    let (slow, quick) = tokio::join!(waiting, caller.ask_for("wf_1"));
    assert!(slow.is_err(), "it answered early");
    assert_eq!(quick?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn wf_flaky_fails_once_for_each_user() -> Result<()> {
    let caller = Caller::start().await?;
    for (user, status) in [("ada", 500), ("ada", 200), ("bob", 500), ("bob", 200), ("ada", 200)] {
        let body = json!({ "user": user, "workflow": { "id": "wf_flaky" } });
        assert_eq!(read(caller.create(&body).await?).await?.0, status, "{user}");
    }
    Ok(())
}

#[tokio::test]
async fn wf_html_is_a_page_that_openai_never_saw() -> Result<()> {
    let caller = Caller::start().await?;
    let response = caller.ask_for("wf_html").await?;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let content_type = response.headers().get("content-type").context("content-type")?.to_str()?;
    assert!(content_type.starts_with("text/html"), "{content_type}");
    for header in ["x-request-id", "openai-version", "openai-processing-ms", "openai-organization"]
    {
        assert!(!response.headers().contains_key(header), "{header}");
    }
    assert!(response.text().await?.contains("<title>502 Bad Gateway</title>"));
    Ok(())
}

#[tokio::test]
async fn wf_garbage_breaks_off_in_the_middle_of_its_json() -> Result<()> {
    let caller = Caller::start().await?;
    let response = caller.ask_for("wf_garbage").await?;
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.text().await?;
    assert!(!body.is_empty() && serde_json::from_str::<Value>(&body).is_err(), "{body}");
    Ok(())
}

#[tokio::test]
async fn wf_no_secret_is_a_session_without_its_secret() -> Result<()> {
    let caller = Caller::start().await?;
    let (status, session) = read(caller.ask_for("wf_no_secret").await?).await?;
    assert_eq!((status, &session["status"]), (200, &json!("active")));
    assert!(session.get("client_secret").is_none(), "{session}");
    Ok(())
}

#[tokio::test]
async fn wf_redirect_points_to_another_host() -> Result<()> {
    let caller = Caller::start().await?;
    let response = caller.ask_for("wf_redirect").await?;
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    let location = response.headers().get("location").context("location")?;
    assert_eq!(location, "https://redirected.example/v1/chatkit/sessions");
    Ok(())
}
