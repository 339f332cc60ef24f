//! What does a response hold? The response object and the items of its output, at their beginning
//! and at their end.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::cues::Break;
use super::super::gate::new_id;
use super::super::script::{Answer, Part, picture};
use super::super::wording::{Citation, SOURCE};
use super::request::{Echo, ResponseRequest, Shown};

/// One response under way: what is said, under which ids.
#[derive(Debug)]
pub(super) struct Generation {
    id: String,
    created_at: u64,
    /// An id for each part.
    pub(super) ids: Vec<String>,
    /// What a call is answered under, for each part.
    call_ids: Vec<String>,
    pub(super) answer: Answer,
    pub(super) shown: Shown,
    input_tokens: usize,
    echo: Echo,
}

/// The response as OpenAI shows it.
#[derive(Debug, Serialize)]
pub(super) struct ResponseObject<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    completed_at: Option<u64>,
    status: &'static str,
    error: Option<Value>,
    incomplete_details: Option<Value>,
    #[serde(flatten)]
    echo: &'a Echo,
    output: Vec<Value>,
    usage: Option<Value>,
}

impl Generation {
    pub(super) fn new(request: ResponseRequest<'_>, answer: Answer, now: u64) -> Self {
        let prefix = |part: &Part| match part {
            Part::Thought(_) => "rs_",
            Part::Search { .. } => "ws_",
            Part::Picture => "ig_",
            Part::Call { .. } => "fc_",
            Part::Message { .. } | Part::Refusal(_) => "msg_",
        };
        let call = |part: &Part| match part {
            Part::Call { .. } => new_id("call_"),
            _ => String::new(),
        };
        Self {
            id: new_id("resp_"),
            created_at: now,
            ids: answer.parts.iter().map(|part| new_id(prefix(part))).collect(),
            call_ids: answer.parts.iter().map(call).collect(),
            answer,
            shown: request.shown,
            input_tokens: request.conversation.tokens(),
            echo: request.echo,
        }
    }

    /// The response before anything is said.
    pub(super) fn begun(&self) -> ResponseObject<'_> {
        self.object("in_progress", Vec::new())
    }

    /// The response when no more is said.
    pub(super) fn ended(&self) -> ResponseObject<'_> {
        let parts = self.answer.parts.len();
        let whole = match self.answer.end {
            // What it failed at is not in it.
            Some(Break::Failed) => parts - 1,
            None | Some(Break::Cut | Break::Incomplete) => parts,
        };
        let output = (0..whole).map(|at| self.item(at)).collect();
        match self.answer.end {
            Some(Break::Failed) => ResponseObject {
                error: Some(json!({
                    "code": "server_error",
                    "message": "The model failed to generate a response. Please try again.",
                })),
                ..self.object("failed", output)
            },
            Some(Break::Incomplete) => ResponseObject {
                incomplete_details: Some(json!({ "reason": "max_output_tokens" })),
                usage: Some(self.usage()),
                ..self.object("incomplete", output)
            },
            None | Some(Break::Cut) => ResponseObject {
                completed_at: Some(self.created_at),
                usage: Some(self.usage()),
                ..self.object("completed", output)
            },
        }
    }

    fn object(&self, status: &'static str, output: Vec<Value>) -> ResponseObject<'_> {
        ResponseObject {
            id: &self.id,
            object: "response",
            created_at: self.created_at,
            completed_at: None,
            status,
            error: None,
            incomplete_details: None,
            echo: &self.echo,
            output,
            usage: None,
        }
    }

    fn usage(&self) -> Value {
        let output = self.answer.words();
        json!({
            "input_tokens": self.input_tokens,
            "input_tokens_details": { "cache_write_tokens": 0, "cached_tokens": 0 },
            "output_tokens": output,
            "output_tokens_details": { "reasoning_tokens": self.answer.words_thought() },
            "total_tokens": self.input_tokens + output,
        })
    }

    /// The item of this part as it is announced.
    pub(super) fn item_begun(&self, at: usize) -> Value {
        let id = &self.ids[at];
        match &self.answer.parts[at] {
            Part::Thought(_) => json!({ "id": id, "type": "reasoning", "summary": [] }),
            Part::Search { .. } => {
                json!({ "id": id, "type": "web_search_call", "status": "in_progress" })
            }
            Part::Picture => {
                json!({ "id": id, "type": "image_generation_call", "status": "in_progress", "result": null })
            }
            Part::Call { name, .. } => json!({
                "id": id, "type": "function_call", "status": "in_progress", "call_id": self.call_ids[at],
                "name": name, "arguments": "",
            }),
            Part::Message { .. } | Part::Refusal(_) => {
                json!({ "id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": [] })
            }
        }
    }

    /// The item of this part when it is done.
    pub(super) fn item(&self, at: usize) -> Value {
        let id = &self.ids[at];
        match &self.answer.parts[at] {
            Part::Thought(_) if self.shown.encrypted_reasoning => json!({
                "id": id, "type": "reasoning", "summary": self.summaries(at), "encrypted_content": "gAAAAABsandbox=",
            }),
            Part::Thought(_) => {
                json!({ "id": id, "type": "reasoning", "summary": self.summaries(at) })
            }
            Part::Search { query } => {
                let mut action = json!({ "type": "search", "query": query, "queries": [query] });
                if self.shown.sources {
                    action["sources"] = json!([
                        { "type": "url", "url": SOURCE },
                        { "type": "url", "url": "https://example.org/other" },
                    ]);
                }
                json!({ "id": id, "type": "web_search_call", "status": "completed", "action": action })
            }
            Part::Picture => json!({
                "id": id, "type": "image_generation_call", "status": "completed", "result": picture(),
                "output_format": "png", "size": "16x16", "quality": "low", "background": "opaque",
                "revised_prompt": "A sandbox under a blue sky",
            }),
            Part::Call { name, arguments } => json!({
                "id": id, "type": "function_call", "status": self.status(at), "call_id": self.call_ids[at],
                "name": name, "arguments": arguments,
            }),
            Part::Message { .. } | Part::Refusal(_) => json!({
                "id": id, "type": "message", "status": self.status(at), "role": "assistant",
                "content": [self.content(at)],
            }),
        }
    }

    /// The one part of a message's content, whole.
    pub(super) fn content(&self, at: usize) -> Value {
        match &self.answer.parts[at] {
            Part::Message { text, citations } => {
                let annotations: Vec<Value> = citations.iter().map(annotation).collect();
                json!({ "type": "output_text", "text": text, "annotations": annotations, "logprobs": [] })
            }
            Part::Refusal(text) => json!({ "type": "refusal", "refusal": text }),
            Part::Thought(_) | Part::Search { .. } | Part::Picture | Part::Call { .. } => {
                Value::Null
            }
        }
    }

    fn summaries(&self, at: usize) -> Value {
        match &self.answer.parts[at] {
            Part::Thought(texts) if self.shown.summaries => {
                texts.iter().map(|text| json!({ "type": "summary_text", "text": text })).collect()
            }
            _ => json!([]),
        }
    }

    fn status(&self, at: usize) -> &'static str {
        let last = at + 1 == self.answer.parts.len();
        if last && self.answer.end == Some(Break::Incomplete) { "incomplete" } else { "completed" }
    }
}

/// A citation in the form of the Responses API.
pub(super) fn annotation(citation: &Citation) -> Value {
    match citation {
        Citation::Url { title, url, start, end } => {
            json!({ "type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end })
        }
        Citation::File { name, at } => {
            json!({ "type": "file_citation", "file_id": "file-sandbox", "filename": name, "index": at })
        }
    }
}
