//! How is a stream asked for, and what came of it when?

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// No two requests are the same: the server would hear one turn twice.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Somebody who answers with a stream: the chat, or the model behind it.
#[derive(Clone)]
pub(crate) struct Asked {
    http: reqwest::Client,
    url: String,
    token: String,
    marks: Marks,
}

/// By what its events are known. A frame is looked at as text, because it is the server's time that
/// counts.
#[derive(Clone, Copy)]
struct Marks {
    answer: &'static str,
    delta: &'static str,
    end: &'static str,
}

const CHAT: Marks = Marks {
    answer: "\"thread.item.added\"",
    delta: "content_part.text_delta\"",
    end: "\"thread.item.done\"",
};
const MODEL: Marks = Marks {
    answer: "event: response.",
    delta: "event: response.output_text.delta",
    end: "event: response.completed",
};
const FAILURE: &str = "\"type\":\"error\"";

/// What was heard of a stream, and how long after it was asked for.
#[derive(Default)]
pub(crate) struct Heard {
    /// The first event.
    pub(crate) first: Duration,
    /// The first event of the answer.
    pub(crate) answer: Duration,
    /// The end of the stream.
    pub(crate) end: Duration,
    /// How many deltas the answer had.
    pub(crate) deltas: usize,
    /// Whether the answer came to its last event.
    pub(crate) is_whole: bool,
}

impl Asked {
    /// The chat of a server, for a user.
    pub(crate) fn chat(address: &str, token: &str) -> anyhow::Result<Self> {
        Self::new(format!("http://{address}/api/chatkit"), token, CHAT)
    }

    /// The sandbox's model.
    pub(crate) fn model(address: &str) -> anyhow::Result<Self> {
        Self::new(format!("http://{address}/v1/responses"), "sk-bench", MODEL)
    }

    fn new(url: String, token: &str, marks: Marks) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        Ok(Self { http, url, token: token.to_owned(), marks })
    }

    /// Sends a message and hears the answer to its end: in a thread, or in a new one. `begun` is
    /// called with the first event.
    pub(crate) async fn say(
        &self,
        words: &str,
        thread_id: Option<&str>,
        begun: impl FnOnce(),
    ) -> anyhow::Result<Heard> {
        let text = format!("{words}, number {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let content = json!([{ "type": "input_text", "text": text }]);
        let body = if self.url.ends_with("/responses") {
            json!({
                "model": "gpt-5.1", "stream": true, "store": false, "input": [{ "role": "user", "content": content }],
            })
        } else {
            let input = json!({ "content": content, "attachments": [], "inference_options": {} });
            match thread_id {
                None => json!({ "type": "threads.create", "params": { "input": input } }),
                Some(id) => json!({
                    "type": "threads.add_user_message", "params": { "thread_id": id, "input": input },
                }),
            }
        };
        let began = Instant::now();
        let response = self.send(&body).await?;
        self.hear(response, began, begun).await
    }

    /// Asks for what is answered at once, and returns how long that took.
    pub(crate) async fn ask(
        &self,
        kind: &str,
        params: &Value,
    ) -> anyhow::Result<(Duration, Value)> {
        let began = Instant::now();
        let body = self.send(&json!({ "type": kind, "params": params })).await?.bytes().await?;
        Ok((began.elapsed(), serde_json::from_slice(&body)?))
    }

    async fn send(&self, body: &Value) -> anyhow::Result<reqwest::Response> {
        let response = self.http.post(&self.url).bearer_auth(&self.token).json(body).send().await?;
        let status = response.status();
        ensure!(status.is_success(), "{status}: {}", response.text().await.unwrap_or_default());
        Ok(response)
    }

    async fn hear(
        &self,
        mut response: reqwest::Response,
        began: Instant,
        begun: impl FnOnce(),
    ) -> anyhow::Result<Heard> {
        let mut heard = Heard::default();
        let mut begun = Some(begun);
        let (mut rest, mut has_failed) = (Vec::new(), false);
        while let Some(piece) = response.chunk().await.context("the stream broke")? {
            rest.extend_from_slice(&piece);
            let mut read = 0;
            while let Some(length) = rest[read..].windows(2).position(|end| end == b"\n\n") {
                let frame = str::from_utf8(&rest[read..read + length])?;
                read += length + 2;
                if frame.starts_with(':') {
                    continue;
                }
                if let Some(begun) = begun.take() {
                    heard.first = began.elapsed();
                    begun();
                }
                if frame.contains(self.marks.delta) {
                    heard.deltas += 1;
                } else if heard.answer.is_zero() && frame.contains(self.marks.answer) {
                    heard.answer = began.elapsed();
                } else if !heard.answer.is_zero() && frame.contains(self.marks.end) {
                    heard.is_whole = true;
                }
                has_failed |= frame.starts_with("data: {") && frame.contains(FAILURE);
            }
            rest.drain(..read);
        }
        heard.end = began.elapsed();
        heard.is_whole &= !has_failed && rest.is_empty();
        Ok(heard)
    }
}
