//! What does a chat completion look like, whole and in chunks? Chunks are data without a name, and
//! end with `[DONE]`.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::cues::Break;
use super::super::gate::new_id;
use super::super::live::{Grain, Wire, event, padding};
use super::super::script::{Answer, Part};
use super::super::wording::Citation;
use super::request::CompletionRequest;

/// One completion under way.
#[derive(Debug)]
pub(super) struct Completion {
    id: String,
    created: u64,
    model: Box<str>,
    pub(super) answer: Answer,
    /// What a call is answered under, for each part.
    call_ids: Vec<String>,
    include_usage: bool,
    obfuscation: bool,
    prompt_tokens: usize,
}

/// One chunk, or as many as its text has pieces.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beat {
    Role,
    /// One of the texts of a thought, of this part.
    Thought(usize, usize),
    Said(usize),
    /// The call of this part, which is the so-manieth call.
    Call(usize, usize),
    Arguments(usize, usize),
    Annotations(usize),
    Finish,
    Usage,
    Failed,
    Done,
}

impl Wire for Completion {
    type Beat = Beat;

    fn plan(&self) -> Vec<Beat> {
        let mut plan = vec![Beat::Role];
        let mut calls = 0;
        for (at, part) in self.answer.parts.iter().enumerate() {
            match part {
                Part::Thought(texts) => {
                    plan.extend((0..texts.len()).map(|text| Beat::Thought(at, text)))
                }
                Part::Call { .. } => {
                    plan.extend([Beat::Call(at, calls), Beat::Arguments(at, calls)]);
                    calls += 1;
                }
                Part::Message { citations, .. } => {
                    plan.push(Beat::Said(at));
                    if citations.iter().any(|citation| annotation(citation).is_some()) {
                        plan.push(Beat::Annotations(at));
                    }
                }
                Part::Refusal(_) => plan.push(Beat::Said(at)),
                // This API shows neither.
                Part::Search { .. } | Part::Picture => {}
            }
        }
        match self.answer.end {
            Some(Break::Cut) => {}
            Some(Break::Failed) => plan.push(Beat::Failed),
            None | Some(Break::Incomplete) => {
                plan.push(Beat::Finish);
                plan.extend(self.include_usage.then_some(Beat::Usage));
                plan.push(Beat::Done);
            }
        }
        plan
    }

    fn text(&self, beat: Beat) -> Option<(&str, Grain)> {
        match (beat, self.part(beat)?) {
            (Beat::Thought(_, text), Part::Thought(texts)) => Some((&texts[text], Grain::Words)),
            (Beat::Said(_), Part::Message { text, .. } | Part::Refusal(text)) => {
                Some((text, Grain::Words))
            }
            (Beat::Arguments(..), Part::Call { arguments, .. }) => {
                Some((arguments, Grain::Fragments))
            }
            _ => None,
        }
    }

    fn write(&self, beat: Beat, piece: &str, _number: u64) -> Bytes {
        let said = |delta: Delta<'_>| self.chunk(Some((&delta, None)), Some(piece));
        match beat {
            Beat::Done => Bytes::from_static(b"data: [DONE]\n\n"),
            Beat::Failed => event(
                None,
                &json!({ "error": {
                    "message": "The server had an error while processing your request. Sorry about \
                                that!",
                    "type": "server_error", "param": null, "code": null,
                } }),
            ),
            Beat::Usage => self.chunk(None::<(&Value, _)>, None),
            Beat::Finish => self.chunk(Some((&json!({}), Some(self.finish_reason()))), None),
            Beat::Role => {
                let content = if self.calls().next().is_some() { Value::Null } else { json!("") };
                let delta = json!({ "role": "assistant", "content": content, "refusal": null });
                self.chunk(Some((&delta, None)), None)
            }
            Beat::Call(at, index) => {
                let mut call = self.call(at, "");
                call["index"] = json!(index);
                self.chunk(Some((&json!({ "tool_calls": [call] }), None)), None)
            }
            Beat::Arguments(_, index) => {
                let call = json!({ "index": index, "function": { "arguments": piece } });
                self.chunk(Some((&json!({ "tool_calls": [call] }), None)), Some(piece))
            }
            Beat::Annotations(at) => {
                let delta = json!({ "annotations": self.annotations(at) });
                self.chunk(Some((&delta, None)), None)
            }
            Beat::Thought(..) => said(Delta { reasoning_content: Some(piece), ..Delta::default() }),
            Beat::Said(at) if matches!(self.answer.parts[at], Part::Refusal(_)) => {
                said(Delta { refusal: Some(piece), ..Delta::default() })
            }
            Beat::Said(_) => said(Delta { content: Some(piece), ..Delta::default() }),
        }
    }
}

impl Completion {
    pub(super) fn new(request: &CompletionRequest<'_>, answer: Answer, now: u64) -> Self {
        Self {
            id: new_id("chatcmpl-"),
            created: now,
            model: request.model.into(),
            call_ids: answer.parts.iter().map(|_| new_id("call_")).collect(),
            answer,
            include_usage: request.include_usage,
            obfuscation: request.obfuscation,
            prompt_tokens: request.conversation.tokens(),
        }
    }

    /// The whole completion.
    pub(super) fn whole(&self) -> Value {
        let mut message = Map::from_iter([
            ("role".to_owned(), json!("assistant")),
            ("content".to_owned(), Value::Null),
            ("refusal".to_owned(), Value::Null),
            ("annotations".to_owned(), json!([])),
        ]);
        for (at, part) in self.answer.parts.iter().enumerate() {
            match part {
                Part::Thought(texts) => {
                    message.insert("reasoning_content".to_owned(), json!(texts.concat()));
                }
                Part::Message { text, .. } => {
                    message.insert("content".to_owned(), json!(text));
                    message.insert("annotations".to_owned(), self.annotations(at));
                }
                Part::Refusal(text) => {
                    message.insert("refusal".to_owned(), json!(text));
                }
                Part::Search { .. } | Part::Picture | Part::Call { .. } => {}
            }
        }
        let calls: Vec<Value> =
            self.calls().map(|(at, arguments)| self.call(at, arguments)).collect();
        if !calls.is_empty() {
            message.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": self.finish_reason() });
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [choice], "usage": self.usage(), "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        })
    }

    /// A chunk: of what is said and why no more is, or else of what it cost.
    fn chunk(&self, choice: Option<(&impl Serialize, Option<&str>)>, piece: Option<&str>) -> Bytes {
        let usage = match (self.include_usage, &choice) {
            (false, _) => None,
            (true, Some(_)) => Some(Value::Null),
            (true, None) => Some(self.usage()),
        };
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            service_tier: "default",
            system_fingerprint: FINGERPRINT,
            choices: choice
                .into_iter()
                .map(|(delta, finish_reason)| ChunkChoice {
                    index: 0,
                    delta,
                    logprobs: None,
                    finish_reason,
                })
                .collect(),
            usage,
            obfuscation: piece.filter(|_| self.obfuscation).map(padding),
        };
        event(None, &chunk)
    }

    fn part(&self, beat: Beat) -> Option<&Part> {
        match beat {
            Beat::Thought(at, _) | Beat::Said(at) | Beat::Arguments(at, _) => {
                self.answer.parts.get(at)
            }
            Beat::Role | Beat::Call(..) | Beat::Annotations(_) => None,
            Beat::Finish | Beat::Usage | Beat::Failed | Beat::Done => None,
        }
    }

    /// The calls, by the place of their part and with their arguments.
    fn calls(&self) -> impl Iterator<Item = (usize, &str)> {
        self.answer.parts.iter().enumerate().filter_map(|(at, part)| match part {
            Part::Call { arguments, .. } => Some((at, arguments.as_str())),
            _ => None,
        })
    }

    fn call(&self, at: usize, arguments: &str) -> Value {
        let name = match &self.answer.parts[at] {
            Part::Call { name, .. } => name,
            _ => "",
        };
        json!({
            "id": self.call_ids[at], "type": "function", "function": { "name": name, "arguments": arguments },
        })
    }

    fn annotations(&self, at: usize) -> Value {
        match &self.answer.parts[at] {
            Part::Message { citations, .. } => citations.iter().filter_map(annotation).collect(),
            _ => json!([]),
        }
    }

    fn finish_reason(&self) -> &'static str {
        if self.answer.end == Some(Break::Incomplete) {
            "length"
        } else if self.calls().next().is_some() {
            "tool_calls"
        } else {
            "stop"
        }
    }

    fn usage(&self) -> Value {
        let completion = self.answer.words();
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": self.answer.words_thought(), "audio_tokens": 0 },
        })
    }
}

const FINGERPRINT: &str = "fp_sandbox";

/// A citation in the form of chat completions, which know those of the web alone.
fn annotation(citation: &Citation) -> Option<Value> {
    match citation {
        Citation::Url { title, url, start, end } => Some(json!({
            "type": "url_citation",
            "url_citation": { "url": url, "title": title, "start_index": start, "end_index": end },
        })),
        Citation::File { .. } => None,
    }
}

#[derive(Serialize)]
struct Chunk<'a, D> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    service_tier: &'static str,
    system_fingerprint: &'static str,
    choices: Vec<ChunkChoice<'a, D>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obfuscation: Option<&'static str>,
}

#[derive(Serialize)]
struct ChunkChoice<'a, D> {
    index: usize,
    delta: &'a D,
    logprobs: Option<()>,
    finish_reason: Option<&'a str>,
}

/// A piece of what is said, under the name of its kind.
#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
}
