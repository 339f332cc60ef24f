//! What do the chunks of a chat completion mean? They are brought into the same events as a
//! Responses stream, with ids that are counted here, because chat completions have none.
//!
//! `reasoning_content` (DeepSeek, llama.cpp) is shown as one thought. `reasoning` (Ollama, vLLM) is
//! raw: as with the official server it shows that the model thinks, and for how long, and not what.
//! Reasoning that goes on after a piece of the answer is not shown.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::calls::{Calls, Fragment};
use crate::upstream::model::{
    ItemId, Lenient, MessagePart, ModelEvent, PartKind, Progress, Reader, Trouble, Usage,
    WireUsage, is_truthy, parse,
};

/// Said in place of an answer that a filter withheld without a word.
const WITHHELD: &str = "The answer was withheld by the model's content filter.";

/// The reader of one stream.
#[derive(Debug, Default)]
pub(in crate::upstream) struct ChunkReader {
    thought: Option<Thought>,
    message: Option<Message>,
    calls: Calls,
    usage: Option<Usage>,
    is_said: bool,
    is_complete: bool,
}

#[derive(Debug)]
struct Thought {
    id: ItemId,
    text: String,
    is_done: bool,
}

#[derive(Debug)]
struct Message {
    id: ItemId,
    parts: Vec<MessagePart>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default, borrow, deserialize_with = "null_is_default")]
    choices: Vec<Choice<'a>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    error_type: Value,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(default, borrow, deserialize_with = "null_is_default")]
    delta: Delta<'a>,
    #[serde(default, borrow)]
    finish_reason: Lenient<'a>,
}

#[derive(Deserialize, Default)]
struct Delta<'a> {
    #[serde(default, borrow)]
    content: Lenient<'a>,
    #[serde(default, borrow)]
    refusal: Lenient<'a>,
    #[serde(default, borrow)]
    reasoning_content: Lenient<'a>,
    #[serde(default, borrow)]
    reasoning: Lenient<'a>,
    #[serde(default, borrow, deserialize_with = "null_is_default")]
    tool_calls: Vec<Fragment<'a>>,
}

type Events = VecDeque<ModelEvent>;

impl Reader for ChunkReader {
    fn read(&mut self, name: &str, data: &str, events: &mut Events) -> Result<Progress, Trouble> {
        match data.trim() {
            "[DONE]" if self.is_said || self.has_begun() => {
                if !std::mem::replace(&mut self.is_said, true) {
                    self.finish("stop", events)?;
                }
                self.complete(events);
                return Ok(Progress::Complete);
            }
            "" | "[DONE]" => return Ok(Progress::Going),
            _ => {}
        }
        let chunk: Chunk<'_> = parse(data)?;
        if is_truthy(&chunk.error) || is_truthy(&chunk.error_type) || name == "error" {
            return Err(Trouble::Said(parse(data)?));
        }
        let is_last = self.is_said && chunk.choices.is_empty() && chunk.usage.is_some();
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.0);
        }
        if is_last {
            self.complete(events);
            return Ok(Progress::Complete);
        }
        // Only one answer was asked for.
        let answers = chunk.choices.into_iter().filter(|choice| choice.index == 0);
        for Choice { delta, finish_reason, .. } in answers {
            if !self.is_said {
                self.delta(delta, events);
            }
            if let (Some(reason), false) = (finish_reason.some(), self.is_said) {
                self.is_said = true;
                self.finish(reason, events)?;
            }
        }
        Ok(if self.is_said { Progress::Said } else { Progress::Going })
    }

    fn end(&mut self, _is_own_end: bool, events: &mut Events) -> bool {
        if self.is_said {
            self.complete(events);
        }
        self.is_said
    }
}

impl ChunkReader {
    fn delta(&mut self, delta: Delta<'_>, events: &mut Events) {
        let Delta { content, refusal, reasoning_content, reasoning, tool_calls } = delta;
        if let Some(piece) = reasoning_content.some() {
            self.think(Some(piece), events);
        } else if reasoning.some().is_some() {
            self.think(None, events);
        }
        if content.some().is_some() {
            self.say(PartKind::Text, content.into_string(), events);
        }
        if refusal.some().is_some() {
            self.say(PartKind::Refusal, refusal.into_string(), events);
        }
        for fragment in tool_calls {
            self.calls.add(fragment);
        }
    }

    /// Whether there is an answer that can end. Some servers end one without saying why.
    fn has_begun(&self) -> bool {
        self.message.is_some() || !self.calls.is_empty()
    }

    fn think(&mut self, piece: Option<&str>, events: &mut Events) {
        let thought = self.thought.get_or_insert_with(|| {
            let id: ItemId = "rs_0".into();
            events.push_back(ModelEvent::ReasoningAdded { item_id: id.clone() });
            Thought { id, text: String::new(), is_done: false }
        });
        let Some(piece) = piece.filter(|_| !thought.is_done) else { return };
        thought.text.push_str(piece);
        let (item_id, delta) = (thought.id.clone(), piece.to_owned());
        events.push_back(ModelEvent::ThoughtDelta { item_id, summary_index: 0, delta });
    }

    fn say(&mut self, kind: PartKind, delta: String, events: &mut Events) {
        self.end_thought(events);
        let message = self.message.get_or_insert_with(|| {
            let id: ItemId = "msg_0".into();
            events.push_back(ModelEvent::MessageAdded { item_id: id.clone(), parts: Vec::new() });
            Message { id, parts: Vec::new() }
        });
        let known = message.parts.iter().position(|part| part.kind == kind);
        let content_index = known.unwrap_or(message.parts.len());
        let item_id = message.id.clone();
        if known.is_none() {
            message.parts.push(MessagePart { kind, text: String::new(), annotations: Vec::new() });
            let (item_id, text) = (item_id.clone(), String::new());
            events.push_back(ModelEvent::PartAdded { item_id, content_index, kind, text });
        }
        message.parts[content_index].text.push_str(&delta);
        events.push_back(match kind {
            PartKind::Text => ModelEvent::TextDelta { item_id, content_index, delta },
            PartKind::Refusal => ModelEvent::RefusalDelta { item_id, content_index, delta },
        });
    }

    /// The model has said why it stops: what was begun is whole.
    fn finish(&mut self, reason: &str, events: &mut Events) -> Result<(), Trouble> {
        self.end_thought(events);
        if !self.has_begun() {
            match reason {
                "content_filter" => self.say(PartKind::Refusal, WITHHELD.to_owned(), events),
                "length" => {
                    let reason = "the limit of tokens was reached before the answer began (length)";
                    return Err(Trouble::Incomplete(reason.to_owned()));
                }
                _ => {}
            }
        }
        if let Some(Message { id, parts }) = self.message.take() {
            for (content_index, part) in
                parts.iter().enumerate().filter(|(_, part)| part.kind == PartKind::Text)
            {
                let (item_id, text) = (id.clone(), part.text.clone());
                events.push_back(ModelEvent::TextDone { item_id, content_index, text });
            }
            events.push_back(ModelEvent::MessageDone { item_id: id, parts });
        }
        events.extend(self.calls.take()?);
        Ok(())
    }

    fn end_thought(&mut self, events: &mut Events) {
        if let Some(thought) = self.thought.as_mut().filter(|thought| !thought.is_done) {
            thought.is_done = true;
            let (item_id, text) = (thought.id.clone(), std::mem::take(&mut thought.text));
            if text.is_empty() {
                return;
            }
            events.push_back(ModelEvent::ThoughtDone { item_id, summary_index: 0, text });
        }
    }

    fn complete(&mut self, events: &mut Events) {
        if !std::mem::replace(&mut self.is_complete, true) {
            events.push_back(ModelEvent::Completed { usage: self.usage });
        }
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
