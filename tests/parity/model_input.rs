//! What of a request to the model must be the same: its model, its instructions, its input, the
//! names of its tools. Spellings that mean the same to the API are made one here, in what was
//! captured and in what came.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// A request in the form in which two of them are compared.
pub(crate) fn comparable(request: &Value) -> Value {
    let tools = request["tools"].as_array().into_iter().flatten();
    let names: BTreeSet<&str> = tools
        .filter_map(|tool| tool["name"].as_str().or(tool["function"]["name"].as_str()))
        .collect();
    let input = request["input"].as_array().or(request["messages"].as_array());
    let input: Vec<Value> = input.into_iter().flatten().flat_map(items).collect();
    json!({"model": request["model"], "instructions": request["instructions"], "tools": names, "input": input, "stream": request["stream"]})
}

/// The calls among these input items, by the id of the call.
pub(crate) fn calls(input: &Value) -> BTreeSet<String> {
    let items = input.as_array().into_iter().flatten();
    items.filter_map(|item| item["call"].as_str().map(str::to_owned)).collect()
}

/// One item of the input: a message, a call, or an output. A chat message with text and calls is
/// each of them in turn.
fn items(item: &Value) -> Vec<Value> {
    let text = |value: &Value| value.as_str().map_or(Value::Null, json_or_text);
    match (item["type"].as_str(), item["role"].as_str()) {
        (Some("function_call"), _) => {
            vec![
                json!({"call": item["call_id"], "name": item["name"], "arguments": text(&item["arguments"])}),
            ]
        }
        (Some("function_call_output"), _) => {
            vec![json!({"output_of": item["call_id"], "output": text(&item["output"])})]
        }
        (_, Some("tool")) => {
            vec![json!({"output_of": item["tool_call_id"], "output": text(&item["content"])})]
        }
        (None | Some("message"), Some(role)) => {
            let calls = item["tool_calls"].as_array();
            let content = parts(&item["content"], role);
            let message = json!({"role": role, "content": content});
            let said = (role != "assistant" || content.iter().any(|part| part["text"] != ""))
                .then_some(message);
            let calls = calls.into_iter().flatten().map(|call| {
                let function = &call["function"];
                json!({"call": call["id"], "name": function["name"], "arguments": text(&function["arguments"])})
            });
            said.into_iter().chain(calls).collect()
        }
        _ => vec![item.clone()],
    }
}

/// The parts of a message; a bare text is one part, and an empty one of a chat message is none.
fn parts(content: &Value, role: &str) -> Vec<Value> {
    let text = |text: &Value| json!({"type": "text", "text": text});
    match content {
        Value::String(said) if said.is_empty() && role == "assistant" => Vec::new(),
        Value::String(_) => vec![text(content)],
        Value::Array(parts) => parts
            .iter()
            .map(|part| match part["type"].as_str() {
                Some("input_text" | "output_text" | "text") => match tag(&part["text"]) {
                    Some(tag) => text(&tag),
                    None => text(&part["text"]),
                },
                _ => without_nulls(part),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The markup of a tag is the integration's own: what counts is that id, title and the strings of
/// its data are in it.
fn tag(text: &Value) -> Option<Value> {
    let mut lines = text.as_str()?.strip_prefix("<TAG>\nid: ")?.lines();
    let mut details =
        vec![lines.next()?.to_owned(), lines.next()?.strip_prefix("title: ")?.to_owned()];
    let data: Map<String, Value> =
        serde_json::from_str(lines.next()?.strip_prefix("data: ")?).ok()?;
    details.extend(data.values().filter_map(|value| value.as_str().map(str::to_owned)));
    Some(format!("$tag:{}", details.join("\u{1f}")).into())
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text)
        .map_or_else(|_| json!({"text": text}), |value: Value| json!({"json": value}))
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        value => value.clone(),
    }
}

#[test]
fn spellings_of_the_same_input_are_one() {
    let captured = json!({"model": "m", "instructions": "i", "stream": true, "tools": [{"type": "function", "name": "t"}], "include": [], "input": [
        {"role": "assistant", "type": "message", "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": null}]},
        {"type": "function_call", "call_id": "c", "name": "t", "arguments": "{\"a\": 1}"},
        {"type": "function_call_output", "call_id": "c", "output": "\"ok\""},
    ]});
    let came = json!({"model": "m", "instructions": "i", "stream": true, "store": false, "tools": [{"type": "function", "name": "t"}], "input": [
        {"role": "assistant", "content": "a"},
        {"type": "function_call", "call_id": "c", "name": "t", "arguments": "{\"a\":1}"},
        {"type": "function_call_output", "call_id": "c", "output": "\"ok\""},
    ]});
    assert_eq!(comparable(&captured), comparable(&came));
    assert_ne!(comparable(&captured), comparable(&json!({"model": "m", "input": []})));
}
