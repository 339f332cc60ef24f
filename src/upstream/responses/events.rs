//! What do the events of a Responses stream mean? The type of each is looked at first, and only
//! what is needed of it is read. Types that are not known, of events and of items, are passed over:
//! the list grows.
//!
//! A server that runs tools itself says several responses in one stream, each with its
//! `response.completed`. They are one answer, which ends with the stream. Some such servers never
//! say `response.completed`.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use super::items::{Item, annotation, message_part};
use crate::upstream::model::{
    FunctionTool, ItemId, Lenient, ModelEvent, Progress, Reader, Trouble, Usage, WireUsage,
    is_truthy, parse,
};

/// The reader of one stream.
#[derive(Debug)]
pub(in crate::upstream) struct EventReader {
    /// The last id that was met: nearly always the next one too.
    last_id: Option<ItemId>,
    /// The functions that the model was given: a call of another one is the server's own to answer.
    given: Vec<String>,
    /// The server's own calls whose output has not come.
    running: Vec<String>,
    /// Messages that were begun, and not ended.
    open: Vec<ItemId>,
    has_item: bool,
    /// A response is whole, and no other one has begun.
    is_whole: bool,
    usage: Option<Usage>,
}

/// What tells events apart.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default, borrow)]
    r#type: Lenient<'a>,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    error_type: Value,
}

/// An event that says more of a text.
#[derive(Deserialize)]
struct TextEvent<'a> {
    #[serde(default, borrow)]
    item_id: Lenient<'a>,
    #[serde(default)]
    content_index: usize,
    #[serde(default)]
    summary_index: usize,
    #[serde(default, borrow)]
    delta: Lenient<'a>,
    #[serde(default, borrow)]
    text: Lenient<'a>,
}

/// An event about a part of a message.
#[derive(Deserialize)]
struct PartEvent<'a> {
    #[serde(default, borrow)]
    item_id: Lenient<'a>,
    #[serde(default)]
    content_index: usize,
    #[serde(default)]
    part: Value,
    #[serde(default)]
    annotation: Value,
}

#[derive(Deserialize)]
struct ItemEvent<'a> {
    #[serde(borrow)]
    item: Item<'a>,
}

#[derive(Deserialize)]
struct SketchEvent<'a> {
    #[serde(default, borrow)]
    item_id: Lenient<'a>,
    #[serde(default)]
    partial_image_index: u64,
    #[serde(default, borrow)]
    partial_image_b64: Lenient<'a>,
}

#[derive(Deserialize)]
struct CompletedEvent {
    #[serde(default)]
    response: Option<Completed>,
}

#[derive(Deserialize)]
struct Completed {
    #[serde(default)]
    usage: Option<WireUsage>,
}

impl Reader for EventReader {
    fn read(
        &mut self,
        name: &str,
        data: &str,
        events: &mut VecDeque<ModelEvent>,
    ) -> Result<Progress, Trouble> {
        if matches!(data.trim(), "" | "[DONE]") {
            return Ok(self.progress());
        }
        let head: Head<'_> = parse(data)?;
        let kind = head.r#type.some().unwrap_or(name);
        let is_failure = matches!(kind, "error" | "response.failed" | "response.incomplete");
        let is_error = is_truthy(&head.error) || is_truthy(&head.error_type);
        if (is_failure || is_error) && self.progress() == Progress::Paused {
            // All of the answer is there.
            self.complete(events);
            return Ok(Progress::Complete);
        }
        if is_error {
            return Err(Trouble::Said(parse(data)?));
        }
        match kind {
            "response.completed" => {
                let event: CompletedEvent = parse(data)?;
                let usage = event.response.and_then(|response| response.usage).map(|usage| usage.0);
                self.usage =
                    self.usage.map_or(usage, |sum| Some(sum.plus(usage.unwrap_or_default())));
                self.is_whole = true;
            }
            "response.created" | "response.in_progress" => self.go_on(events),
            _ if is_failure => return Err(failure(kind, data)?),
            _ => {
                if let Some(event) = self.event(kind, data)? {
                    if !matches!(event, ModelEvent::FunctionOutput { .. }) {
                        self.go_on(events);
                    }
                    self.note(&event);
                    events.push_back(event);
                }
            }
        }
        Ok(self.progress())
    }

    fn end(&mut self, is_own_end: bool, events: &mut VecDeque<ModelEvent>) -> bool {
        let is_over = self.is_whole || (is_own_end && self.has_item && self.open.is_empty());
        if is_over {
            self.complete(events);
        }
        is_over
    }
}

impl EventReader {
    /// A reader of the answer of a model that was given these functions.
    pub(in crate::upstream) fn new(given: &[FunctionTool]) -> Self {
        Self {
            last_id: None,
            given: given.iter().map(|function| function.name.clone()).collect(),
            running: Vec::new(),
            open: Vec::new(),
            has_item: false,
            is_whole: false,
            usage: None,
        }
    }

    /// How far the answer is. While the server carries calls out there is more to come.
    fn progress(&self) -> Progress {
        if self.is_whole && self.running.is_empty() { Progress::Paused } else { Progress::Going }
    }

    /// Another response has begun, or more of this one has come.
    fn go_on(&mut self, events: &mut VecDeque<ModelEvent>) {
        if std::mem::take(&mut self.is_whole) {
            self.running.clear();
            self.open.clear();
            events.push_back(ModelEvent::WentOn);
        }
    }

    /// Keeps count of what is under way.
    fn note(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::MessageAdded { item_id, .. }
            | ModelEvent::PartAdded { item_id, .. }
            | ModelEvent::TextDelta { item_id, .. }
            | ModelEvent::RefusalDelta { item_id, .. }
                if !self.open.contains(item_id) =>
            {
                self.open.push(item_id.clone());
            }
            ModelEvent::MessageDone { item_id, .. } => {
                self.has_item = true;
                self.open.retain(|open| open != item_id);
            }
            ModelEvent::FunctionCall { call_id, name, .. } => {
                self.has_item = true;
                if !self.given.contains(name) {
                    self.running.push(call_id.clone());
                }
            }
            ModelEvent::FunctionOutput { call_id } => {
                self.running.retain(|running| running != call_id)
            }
            ModelEvent::ImageDone { .. } => self.has_item = true,
            _ => {}
        }
    }

    fn complete(&mut self, events: &mut VecDeque<ModelEvent>) {
        events.push_back(ModelEvent::Completed { usage: self.usage });
    }

    /// What an event of this kind means, if it means anything to us.
    fn event(&mut self, kind: &str, data: &str) -> Result<Option<ModelEvent>, Trouble> {
        Ok(match kind {
            "response.output_text.delta"
            | "response.refusal.delta"
            | "response.reasoning_summary_text.delta" => self.delta(kind, parse(data)?),
            "response.output_text.done" => {
                let TextEvent { item_id, content_index, text, .. } = parse(data)?;
                let item_id = self.id(&item_id);
                Some(ModelEvent::TextDone { item_id, content_index, text: text.into_string() })
            }
            "response.reasoning_summary_text.done" => {
                let TextEvent { item_id, summary_index, text, .. } = parse(data)?;
                let item_id = self.id(&item_id);
                Some(ModelEvent::ThoughtDone { item_id, summary_index, text: text.into_string() })
            }
            "response.content_part.added" => {
                let PartEvent { item_id, content_index, part, .. } = parse(data)?;
                let item_id = self.id(&item_id);
                message_part(&part).map(|part| ModelEvent::PartAdded {
                    item_id,
                    content_index,
                    kind: part.kind,
                    text: part.text,
                })
            }
            "response.output_text.annotation.added" => {
                let PartEvent { item_id, content_index, annotation: found, .. } = parse(data)?;
                let item_id = self.id(&item_id);
                annotation(&found).map(|annotation| ModelEvent::Annotation {
                    item_id,
                    content_index,
                    annotation,
                })
            }
            "response.output_item.added" => {
                let ItemEvent { item } = parse(data)?;
                item.added(self.id(&item.id))
            }
            "response.output_item.done" => {
                let ItemEvent { item } = parse(data)?;
                let item_id = self.id(&item.id);
                item.done(item_id)?
            }
            "response.image_generation_call.partial_image" => {
                let SketchEvent { item_id, partial_image_index: index, partial_image_b64 } =
                    parse(data)?;
                let item_id = self.id(&item_id);
                Some(ModelEvent::ImagePartial {
                    item_id,
                    index,
                    b64: partial_image_b64.into_string(),
                })
            }
            _ => None,
        })
    }

    fn delta(&mut self, kind: &str, event: TextEvent<'_>) -> Option<ModelEvent> {
        // The official server passes on an empty piece of text, and nothing else that is empty.
        if kind != "response.output_text.delta" {
            event.delta.some()?;
        }
        let item_id = self.id(&event.item_id);
        let TextEvent { content_index, summary_index, delta, .. } = event;
        let delta = delta.into_string();
        Some(match kind {
            "response.output_text.delta" => ModelEvent::TextDelta { item_id, content_index, delta },
            "response.refusal.delta" => ModelEvent::RefusalDelta { item_id, content_index, delta },
            _ => ModelEvent::ThoughtDelta { item_id, summary_index, delta },
        })
    }

    fn id(&mut self, id: &Lenient<'_>) -> ItemId {
        match &self.last_id {
            Some(last) if **last == *id.0 => last.clone(),
            _ => self.last_id.insert((&*id.0).into()).clone(),
        }
    }
}

/// What an event says that ends a stream before its time.
fn failure(kind: &str, data: &str) -> Result<Trouble, Trouble> {
    let mut event: Value = parse(data)?;
    Ok(match kind {
        "response.incomplete" => {
            let reason =
                event.pointer("/response/incomplete_details/reason").and_then(Value::as_str);
            Trouble::Incomplete(reason.unwrap_or("no reason given").to_owned())
        }
        "response.failed" => {
            Trouble::Said(event.get_mut("response").map(Value::take).unwrap_or_default())
        }
        _ => Trouble::Said(event),
    })
}
