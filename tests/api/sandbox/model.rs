//! Does the scripted model do as it is told, and stop when nobody listens? What both of its APIs
//! share.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::{Caller, invalid, read};

pub(super) const RESPONSES: &str = "/v1/responses";
pub(super) const COMPLETIONS: &str = "/v1/chat/completions";

/// The same question for either API.
pub(super) fn question(path: &str, words: &str) -> Value {
    let name = if path == RESPONSES { "input" } else { "messages" };
    json!({ "model": "gpt-5", "stream": true, name: [{ "role": "user", "content": words }] })
}

/// The events of a stream: their names, if they have any, and their data; `[DONE]` is a string.
pub(super) fn events(stream: &str) -> Result<Vec<(Option<String>, Value)>> {
    let mut events = Vec::new();
    for block in stream.split_terminator("\n\n") {
        let mut name = None;
        let mut data = None;
        for line in block.lines() {
            match line.split_once(": ").context("a field and its value")? {
                ("event", value) => name = Some(value.to_owned()),
                ("data", "[DONE]") => data = Some(json!("[DONE]")),
                ("data", value) => data = Some(serde_json::from_str(value)?),
                (field, _) => anyhow::bail!("the field {field}"),
            }
        }
        events.push((name, data.context("data")?));
    }
    Ok(events)
}

/// What arrives until the stream ends, and whether it ended well.
async fn drain(mut response: Response) -> (String, bool) {
    let mut bytes = Vec::new();
    let whole = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    (String::from_utf8_lossy(&bytes).into_owned(), whole)
}

impl Caller {
    /// The events that answer a body, after a look at the headers.
    pub(super) async fn stream(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<Vec<(Option<String>, Value)>> {
        let response = self.post(path, body).await?;
        let status = response.status();
        let content_type = response.headers().get("content-type").cloned();
        let text = response.text().await?;
        ensure!(status == StatusCode::OK, "{status}: {text}");
        ensure!(content_type.context("content-type")?.to_str()?.starts_with("text/event-stream"));
        events(&text)
    }

    async fn waits_for_open(&self, count: u64) -> Result<()> {
        let look = async {
            while self.look("/sandbox/stats").await?["open"] != count {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(10), look)
            .await
            .context("still other than hoped for")?
    }
}

#[tokio::test]
async fn a_closed_connection_ends_its_answer() -> Result<()> {
    let caller = Caller::start().await?;
    for (path, whole) in [(RESPONSES, false), (COMPLETIONS, false), (RESPONSES, true)] {
        let mut body = question(path, "delay 60000 please");
        body["stream"] = json!(!whole);
        let request = TaskTracker::new().spawn({
            let request = caller
                .client
                .post(format!("{}{path}", caller.base))
                .bearer_auth("sk-test")
                .json(&body);
            async move {
                let mut response = request.send().await?;
                while response.chunk().await?.is_some() {}
                anyhow::Ok(())
            }
        });
        caller.waits_for_open(1).await?;
        request.abort();
        caller.waits_for_open(0).await?;
    }
    let stats = caller.look("/sandbox/stats").await?;
    assert_eq!(stats, json!({ "open": 0, "responses": 2, "completions": 1, "transcriptions": 0 }));
    Ok(())
}

#[tokio::test]
async fn an_answer_that_came_to_its_end_is_not_open_any_more() -> Result<()> {
    let caller = Caller::start().await?;
    for path in [RESPONSES, COMPLETIONS] {
        for words in ["hello", "cut", "fail", "error 400"] {
            drain(caller.post(path, &question(path, words)).await?).await;
        }
    }
    caller.waits_for_open(0).await?;
    let stats = caller.look("/sandbox/stats").await?;
    assert_eq!(stats, json!({ "open": 0, "responses": 4, "completions": 4, "transcriptions": 0 }));
    Ok(())
}

#[tokio::test]
async fn the_last_body_of_each_endpoint_can_be_seen() -> Result<()> {
    let caller = Caller::start().await?;
    let none = json!({ "responses": null, "completions": null, "transcriptions": null });
    assert_eq!(caller.look("/sandbox/last").await?, none);
    let first = question(RESPONSES, "first \"é\"");
    let refused = json!({ "model": "gpt-5", "nonsense": [] });
    caller.post(RESPONSES, &first).await?;
    caller.post(COMPLETIONS, &refused).await?;
    let expected = json!({ "responses": first, "completions": refused, "transcriptions": null });
    assert_eq!(caller.look("/sandbox/last").await?, expected);
    Ok(())
}

#[tokio::test]
async fn a_cut_answer_ends_without_an_end() -> Result<()> {
    let caller = Caller::start().await?;
    for path in [RESPONSES, COMPLETIONS] {
        let mut body = question(path, "cut it please");
        let (text, whole) = drain(caller.post(path, &body).await?).await;
        assert!(!whole, "{text}");
        assert!(
            text.contains("You ")
                && !text.contains("response.completed")
                && !text.contains("[DONE]"),
            "{text}"
        );
        body["stream"] = json!(false);
        let (text, whole) = drain(caller.post(path, &body).await?).await;
        assert!(!whole && serde_json::from_str::<Value>(&text).is_err(), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn an_error_that_is_asked_for_comes_in_openais_shape() -> Result<()> {
    let caller = Caller::start().await?;
    for path in [RESPONSES, COMPLETIONS] {
        for (words, status, kind, code) in [
            ("error 400", 400, "invalid_request_error", json!(null)),
            ("give me an Error 429, please", 429, "requests", json!("rate_limit_exceeded")),
            ("error 500", 500, "server_error", json!("server_error")),
            ("error 503", 503, "service_unavailable_error", json!("server_is_overloaded")),
            ("error 504", 504, "server_error", json!("server_error")),
        ] {
            let response = caller.post(path, &question(path, words)).await?;
            assert_eq!(response.headers().contains_key("retry-after"), status == 429);
            let (found, body) = read(response).await?;
            assert_eq!(
                (found, &body["error"]["type"], &body["error"]["code"]),
                (status, &json!(kind), &code)
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn headers_and_words_set_the_number_of_deltas_and_their_pace() -> Result<()> {
    let caller = Caller::start().await?;
    for (path, mark) in
        [(RESPONSES, "output_text.delta\","), (COMPLETIONS, "\"delta\":{\"content\":")]
    {
        let url = format!("{}{path}", caller.base);
        for (words, headers) in [("hello", true), ("deltas 5 delay 30", false)] {
            let mut request =
                caller.client.post(&url).bearer_auth("sk-test").json(&question(path, words));
            if headers {
                request =
                    request.header("x-sandbox-deltas", "5").header("x-sandbox-delay-ms", "30");
            }
            let began = std::time::Instant::now();
            let text = request.send().await?.text().await?;
            let count = text.matches(mark).count();
            assert_eq!(count, 5, "{text}");
            assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
        }
        for (name, value) in [
            ("x-sandbox-deltas", "many"),
            ("x-sandbox-delay-ms", "-1"),
            ("x-sandbox-delay-ms", "60001"),
        ] {
            let request =
                caller.client.post(&url).bearer_auth("sk-test").json(&question(path, "hello"));
            assert_eq!(
                request.header(name, value).send().await?.status(),
                StatusCode::BAD_REQUEST,
                "{name}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_body_may_have_64_mebibytes() -> Result<()> {
    const LIMIT: usize = 64 * 1024 * 1024;
    let caller = Caller::start().await?;
    let (head, tail) = (r#"{"model":"m","input":[{"role":"assistant","content":""#, r#""}]}"#);
    for (length, status) in [(LIMIT, 200), (LIMIT + 1, 413)] {
        let body = [head, &"x".repeat(length - head.len() - tail.len()), tail].concat();
        let request =
            caller.client.post(format!("{}{RESPONSES}", caller.base)).bearer_auth("sk-test");
        let response = request.header("content-type", "application/json").body(body).send().await?;
        assert_eq!(response.status().as_u16(), status, "{length}");
    }
    Ok(())
}

#[tokio::test]
async fn a_model_needs_a_good_key_and_no_beta_header() -> Result<()> {
    let caller = Caller::start().await?;
    for path in [RESPONSES, COMPLETIONS, "/v1/audio/transcriptions"] {
        for (key, status, code) in [
            ("sk-revoked", 401, json!("invalid_api_key")),
            ("pk-1", 401, json!("invalid_api_key")),
            ("sk-forbidden", 403, json!("missing_scope")),
        ] {
            let request = caller.client.post(format!("{}{path}", caller.base)).bearer_auth(key);
            let (found, body) = read(request.send().await?).await?;
            assert_eq!((found, &body["error"]["code"]), (status, &code), "{path} {key}");
        }
    }
    let response =
        caller.request(Method::POST, RESPONSES).header("content-type", "text/plain").send().await?;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    Ok(())
}

#[tokio::test]
async fn instructions_that_ask_for_a_title_get_a_short_one() -> Result<()> {
    let caller = Caller::start().await?;
    let said = "how do I bake bread, error 500, at home on a rainy day?";
    let in_instructions = json!({ "model": "m", "instructions": "Write a title for the conversation.", "input": said });
    let in_a_message = json!({ "model": "m", "messages": [
        { "role": "system", "content": "Reply with a short \
                                        title." }, { "role": "user", "content": said },
    ] });
    let (_, response) = read(caller.post(RESPONSES, &in_instructions).await?).await?;
    let (_, completion) = read(caller.post(COMPLETIONS, &in_a_message).await?).await?;
    assert_eq!(response["output"][0]["content"][0]["text"], "How do I bake bread");
    assert_eq!(completion["choices"][0]["message"]["content"], "How do I bake bread");
    let untitled = json!({ "model": "m", "instructions": "Write a title.", "input": "untitled" });
    assert_eq!(
        caller.post(RESPONSES, &untitled).await?.status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(
        caller.post(RESPONSES, &question(RESPONSES, "untitled")).await?.status(),
        StatusCode::OK
    );
    Ok(())
}

#[tokio::test]
async fn an_unknown_model_is_refused() -> Result<()> {
    let caller = Caller::start().await?;
    for (path, status, param, message) in [
        (RESPONSES, 400, json!("model"), "The requested model 'gpt-missing' does not exist."),
        (
            COMPLETIONS,
            404,
            json!(null),
            "The model `gpt-missing` does not exist or you do not have access to it.",
        ),
    ] {
        let mut body = question(path, "hello");
        body["model"] = json!("gpt-missing");
        let mut expected = invalid(message, Some("model_not_found"));
        expected["error"]["param"] = param;
        assert_eq!(read(caller.post(path, &body).await?).await?, (status, expected));
    }
    Ok(())
}
