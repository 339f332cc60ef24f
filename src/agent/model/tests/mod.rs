//! Does an answer become the events that ChatKit's own servers send? Scripted events of a model,
//! and every event of the thread.

mod calls;
mod messages;
mod tasks;

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::{Answer, Drawing, Scribe};
use crate::agent::{AgentError, AgentEvent};
use crate::clock::TestClock;
use crate::config::agents::{AgentConfig, ClientTool, Endpoint, ModelApi};
use crate::protocol::{Id, Item};
use crate::upstream::model::{
    Annotation, ItemId, MessagePart, ModelEvent, PartKind, SearchStatus, WebSource,
};

/// An answer that is fed by hand.
struct Fed {
    config: AgentConfig,
    clock: Arc<TestClock>,
}

impl Fed {
    fn new() -> Self {
        let url = "http://127.0.0.1/v1".parse().unwrap();
        let endpoint = Endpoint { base_url: url, api_key: None, api: ModelApi::Responses };
        let tool = |name: &str| ClientTool {
            name: name.to_owned(),
            description: None,
            parameters: json!({"type": "object"}),
        };
        let config = AgentConfig {
            name: "default".to_owned(),
            model: "m".to_owned(),
            instructions: None,
            endpoint,
            reasoning: None,
            temperature: None,
            top_p: None,
            max_output_tokens: None,
            max_input_tokens: 1000,
            titles: false,
            hosted_tools: vec![json!({"type": "image_generation", "partial_images": 2})],
            client_tools: vec![tool("get_selection"), tool("other")],
        };
        Self { config, clock: Arc::new(TestClock::at(1_000)) }
    }

    fn answer(&self, newest: Vec<Item>) -> Answer<'_> {
        let scribe = Scribe { thread_id: "thr_1".into(), clock: self.clock.clone() };
        Answer::new(&self.config, scribe, newest)
    }

    /// Everything that comes of these events.
    fn all(&self, events: Vec<ModelEvent>) -> Vec<Value> {
        self.after(Vec::new(), events)
    }

    fn after(&self, newest: Vec<Item>, events: Vec<ModelEvent>) -> Vec<Value> {
        let mut answer = self.answer(newest);
        let mut out = Vec::new();
        let mut told = Vec::new();
        for event in events {
            let drawing = answer.apply(event, &mut out).unwrap();
            told.extend(out.drain(..).map(|event| wire(&event)));
            told.extend(drawing.map(|drawing| {
                let Drawing { item, id, b64, format } = *drawing;
                let mut drawn = of("drawn", &item);
                drawn["image"] = json!([id.to_string(), b64, format]);
                drawn
            }));
        }
        told
    }
}

/// An event in short: what happens, to which item, and how. Ids of items are counted by their
/// prefix alone, since they are random.
fn wire(event: &AgentEvent) -> Value {
    match event {
        AgentEvent::ItemAdded(added) => of("added", added),
        AgentEvent::ItemDone(done) => of("done", done),
        AgentEvent::ItemKept(kept) => of("kept", kept),
        AgentEvent::ItemUpdated { item_id, update } => json!({"item": item_id, "update": update}),
        other => panic!("{other:?} is no event of a model"),
    }
}

fn of(word: &str, item: &Item) -> Value {
    let mut fields = serde_json::to_value(item).unwrap();
    assert_eq!(fields["id"].as_str().unwrap().len(), item.id.find('_').unwrap() + 33, "{fields}");
    let fields = fields.as_object_mut().unwrap();
    fields.remove("thread_id");
    json!({word: fields})
}

/// Puts names in the place of random ids, in the order of their coming, and leaves out times.
fn named(events: &[Value]) -> Vec<Value> {
    let mut text = serde_json::to_string(events).unwrap();
    for (number, prefix) in
        ["msg_", "tc_", "wf_"].into_iter().flat_map(|prefix| [(0, prefix), (1, prefix)])
    {
        let is_id = |at: usize| {
            text[at + prefix.len()..].bytes().take_while(u8::is_ascii_hexdigit).count() >= 32
        };
        let found = text.match_indices(prefix).find(|(at, _)| is_id(*at));
        let Some((at, _)) = found else { continue };
        let id = text[at..at + prefix.len() + 32].to_owned();
        text = text.replace(&id, &format!("{}{number}", prefix.trim_end_matches('_')));
    }
    let mut events: Vec<Value> = serde_json::from_str(&text).unwrap();
    for event in &mut events {
        for word in ["added", "done", "kept", "drawn"] {
            if let Some(item) = event.get_mut(word).and_then(Value::as_object_mut) {
                item.remove("created_at");
            }
        }
    }
    events
}

fn id(name: &str) -> ItemId {
    name.into()
}

fn message_added(name: &str) -> ModelEvent {
    ModelEvent::MessageAdded { item_id: id(name), parts: Vec::new() }
}

fn part_added(name: &str, content_index: usize, kind: PartKind) -> ModelEvent {
    ModelEvent::PartAdded { item_id: id(name), content_index, kind, text: String::new() }
}

fn delta(name: &str, content_index: usize, delta: &str) -> ModelEvent {
    ModelEvent::TextDelta { item_id: id(name), content_index, delta: delta.to_owned() }
}

fn text_done(name: &str, content_index: usize, text: &str) -> ModelEvent {
    ModelEvent::TextDone { item_id: id(name), content_index, text: text.to_owned() }
}

fn text_part(text: &str, annotations: Vec<Annotation>) -> MessagePart {
    MessagePart { kind: PartKind::Text, text: text.to_owned(), annotations }
}

fn message_done(name: &str, parts: Vec<MessagePart>) -> ModelEvent {
    ModelEvent::MessageDone { item_id: id(name), parts }
}

fn reasoning(name: &str) -> ModelEvent {
    ModelEvent::ReasoningAdded { item_id: id(name) }
}

fn thought(name: &str, summary_index: usize, delta: &str) -> ModelEvent {
    ModelEvent::ThoughtDelta { item_id: id(name), summary_index, delta: delta.to_owned() }
}

fn thought_done(name: &str, summary_index: usize, text: &str) -> ModelEvent {
    ModelEvent::ThoughtDone { item_id: id(name), summary_index, text: text.to_owned() }
}

fn call(name: &str, call_id: &str) -> ModelEvent {
    let arguments = json!({"project": "apollo", "none": null}).as_object().cloned().unwrap();
    ModelEvent::FunctionCall {
        item_id: id("fc"),
        call_id: call_id.to_owned(),
        name: name.to_owned(),
        arguments,
    }
}

const COMPLETED: ModelEvent = ModelEvent::Completed { usage: None };

fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "text": text})
}

fn task(content: &str) -> Value {
    json!({"status_indicator": "none", "type": "thought", "content": content})
}

fn workflow(tasks: &[Value], summary: Option<u64>) -> Value {
    let mut workflow = json!({"type": "reasoning", "tasks": tasks, "expanded": false});
    if let Some(duration) = summary {
        workflow["summary"] = json!({"duration": duration});
    }
    json!({"id": "wf0", "type": "workflow", "workflow": workflow})
}
