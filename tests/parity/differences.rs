//! What is different on purpose: the table of it, and how an expectation and an answer are made
//! ready for the comparison.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fixture::Step;
use crate::model_input;

/// Something that this server does differently.
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    /// It may be met in each fixture; otherwise the step in question names it.
    pub(crate) everywhere: bool,
    pub(crate) reason: &'static str,
}

const fn everywhere(name: &'static str, reason: &'static str) -> Difference {
    Difference { name, everywhere: true, reason }
}

const fn named(name: &'static str, reason: &'static str) -> Difference {
    Difference { name, everywhere: false, reason }
}

/// All of them.
pub(crate) const TABLE: &[Difference] = &[
    everywhere(
        "comments",
        "comments of a stream are heartbeats; the official server has none, clients ignore them",
    ),
    everywhere(
        "times-in-utc",
        "times carry a Z: the official ones are local times without an offset",
    ),
    everywhere(
        "ids-are-ours",
        "ids have 128 bits and are never the model's, so that no two items can collide",
    ),
    everywhere(
        "links",
        "images and uploads have signed addresses of this server in place of data URLs",
    ),
    everywhere(
        "errors-say-more",
        "an error event may carry a text that is safe to show, and then has the code `custom`",
    ),
    everywhere(
        "hidden-context-is-developers",
        "hidden context goes to the model as `developer` (`system` in chat completions), so that a \
         user can't write what looks like it",
    ),
    everywhere(
        "pending-calls-are-closed",
        "a call that was never answered goes to the model with an output that says so: left out, \
         the model repeats it",
    ),
    everywhere(
        "requests-to-the-model-say-more",
        "`store: false` and the like; model, instructions, input and tools are compared",
    ),
    everywhere(
        "spellings-of-input",
        "JSON inside texts, bare texts for parts and the like mean the same to the model",
    ),
    everywhere(
        "empty-answers-are-not-replayed",
        "a message of the model without any text does not go back to it: some servers refuse one",
    ),
    everywhere(
        "chat-parts-are-done",
        "with chat completions the parts of a message get their `done` as well, as with the \
         Responses API",
    ),
    everywhere(
        "chat-parts-start-at-0",
        "the official server numbers the text behind reasoning 1, though it is the message's only \
         part",
    ),
    everywhere(
        "chat-thoughts-are-finished",
        "a streamed thought of chat completions may get its last update again when it is complete, \
         as with the Responses API",
    ),
    everywhere(
        "chat-empty-content-is-nothing",
        "an empty content of chat completions opens no message and is no delta: the official \
         server leaves empty messages behind",
    ),
    named(
        "refused-before-the-stream",
        "what can't be done is refused with a 4xx and a message, not by a broken stream or a 500",
    ),
    named(
        "refusal-ends-well",
        "an answer that the model refused is an answer: no error follows it",
    ),
    named("retry-keeps-the-old-answer", "the old answer goes when the new one has come"),
    named("partial-answers-keep-annotations", "what was cited in a part that is kept stays cited"),
    named(
        "truthful-allow-retry",
        "where the model will refuse again, an error doesn't invite to a retry",
    ),
    named("actions-without-a-handler", "an agent without a handler for actions says so"),
    named("search-tasks", "web and file searches are shown as tasks of a workflow"),
];

/// What is expected of our server, and what it sent, ready to be compared.
pub(crate) struct Ready {
    pub(crate) expected: Vec<Value>,
    pub(crate) got: Vec<Value>,
}

/// The events of a stream, without what may differ.
pub(crate) fn events(step: &Step, api: &str, expected: &[Value], got: &[Value]) -> Ready {
    let mut ready = Ready { expected: expected.to_vec(), got: got.to_vec() };
    let difference = step.ours.as_ref().map(|ours| ours.difference.as_str());
    if difference == Some("refusal-ends-well") {
        let last = ready.expected.pop();
        assert_eq!(
            last.map(|event| event["type"].clone()),
            Some("error".into()),
            "only an error is left out"
        );
    }
    if difference == Some("search-tasks") {
        ready.got = without_workflows(&ready.got);
    }
    if api == "chat-completions" {
        ready.expected = of_chat(&ready.expected);
        ready.got = of_chat(&ready.got);
    }
    soften_the_error(&mut ready, difference == Some("truthful-allow-retry"));
    ready
}

/// A JSON answer, without what may differ.
pub(crate) fn json(step: &Step, api: &str, expected: &Value, got: &Value) -> (Value, Value) {
    let difference = step.ours.as_ref().map(|ours| ours.difference.as_str());
    let (mut expected, mut got) = (expected.clone(), got.clone());
    if difference == Some("search-tasks") {
        retain_items(&mut got, |item| item["type"] != "workflow");
    }
    if api == "chat-completions" {
        retain_items(&mut expected, |item| !is_empty_message(item));
    }
    (expected, got)
}

/// The input of a request to the model, without what may differ.
pub(crate) fn model_input(expected: &Value, got: &mut Value) {
    let known = model_input::calls(expected);
    let unknown: BTreeSet<String> = model_input::calls(got).difference(&known).cloned().collect();
    let Some(items) = got.as_array_mut() else { return };
    for call in unknown {
        let is_it = |item: &Value| item["call"] == *call || item["output_of"] == *call;
        if items.iter().filter(|item| is_it(item)).count() == 2 {
            items.retain(|item| !is_it(item));
        }
    }
    for item in items {
        let text = item["content"][0]["text"].as_str().unwrap_or_default();
        if (item["role"] == "developer" || item["role"] == "system")
            && text.starts_with("Hidden context for the agent")
        {
            item["role"] = "user".into();
        }
    }
}

/// A refusal of our server: a 4xx with an error and a message.
pub(crate) fn is_refusal(status: u16, body: &Value) -> bool {
    (400..500).contains(&status)
        && body["message"].as_str().is_some_and(|message| !message.is_empty())
        && body["error"]["code"].is_string()
}

/// An error may say more, but it stays an error at the same place.
fn soften_the_error(ready: &mut Ready, retry_may_differ: bool) {
    let (Some(expected), Some(got)) = (ready.expected.last_mut(), ready.got.last_mut()) else {
        return;
    };
    if expected["type"] != "error" || got["type"] != "error" {
        return;
    }
    let (Some(wanted), Some(fields)) = (expected.as_object_mut(), got.as_object_mut()) else {
        return;
    };
    let says_something =
        fields.get("message").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if says_something {
        fields.remove("message");
        if fields.get("code") == Some(&json!("custom")) {
            fields.insert("code".to_owned(), wanted["code"].clone());
        }
    }
    if retry_may_differ && fields.get("allow_retry").is_some_and(Value::is_boolean) {
        wanted.remove("allow_retry");
        fields.remove("allow_retry");
    }
}

/// Without workflow items, of which there must be one: the shown searches.
fn without_workflows(events: &[Value]) -> Vec<Value> {
    let workflows: BTreeSet<&str> = events
        .iter()
        .filter(|event| event["item"]["type"] == "workflow")
        .filter_map(|event| event["item"]["id"].as_str())
        .collect();
    assert!(!workflows.is_empty(), "the searches are shown");
    let is_one = |id: &Value| id.as_str().is_some_and(|id| workflows.contains(id));
    events
        .iter()
        .filter(|event| !is_one(&event["item"]["id"]) && !is_one(&event["item_id"]))
        .cloned()
        .collect()
}

/// Chat completions without empty messages, empty deltas and the `done` of parts and thoughts;
/// parts count from 0.
fn of_chat(events: &[Value]) -> Vec<Value> {
    let empty: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "thread.item.done" && is_empty_message(&event["item"]))
        .map(|event| &event["item"]["id"])
        .collect();
    let mut kept: Vec<Value> = Vec::new();
    for event in events {
        let update = &event["update"];
        let is_noise = empty.contains(&&event["item"]["id"])
            || empty.contains(&&event["item_id"])
            || update["type"] == "assistant_message.content_part.done"
            || update["delta"] == ""
            || update["type"] == "workflow.task.updated" && said_before(&kept, event);
        if is_noise {
            continue;
        }
        let mut event = event.clone();
        if let Some(index) = event.pointer_mut("/update/content_index") {
            *index = json!(0);
        }
        kept.push(event);
    }
    kept
}

/// Whether this update of a task says what was last said about it.
fn said_before(events: &[Value], event: &Value) -> bool {
    let last = events.last().map(|last| &last["update"]["task"]);
    last == Some(&event["update"]["task"])
}

fn is_empty_message(item: &Value) -> bool {
    let mut parts = item["content"].as_array().into_iter().flatten();
    item["type"] == "assistant_message" && parts.all(|part| part["text"] == "")
}

/// Keeps these items of a page, or of a thread's page.
fn retain_items(answer: &mut Value, keep: impl Fn(&Value) -> bool) {
    let at = if answer["items"].is_object() { "/items/data" } else { "/data" };
    if let Some(items) = answer.pointer_mut(at).and_then(Value::as_array_mut) {
        items.retain(keep);
    }
}
