//! What does the body of a `POST {base}/responses` look like? As OpenAI's API reference describes
//! it; what is not set is left out, because not every server takes nulls.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::upstream::model::{FunctionTool, InputItem, InputPart, ModelRequest, Role, ToolChoice};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    stream: bool,
    /// The thread is kept here and sent whole: nothing need stay there.
    store: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    Message { role: &'static str, content: Vec<Part<'a>> },
    FunctionCall { call_id: &'a str, name: &'a str, arguments: &'a str },
    FunctionCallOutput { call_id: &'a str, output: &'a str },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    InputText { text: &'a str },
    OutputText { text: &'a str, annotations: [(); 0] },
    InputImage { detail: &'static str, image_url: &'a str },
    InputFile { filename: &'a str, file_data: &'a str },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Tool<'a> {
    Hosted(&'a Map<String, Value>),
    Function {
        r#type: &'static str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        parameters: &'a Map<String, Value>,
        strict: bool,
    },
}

/// The request as the API takes it.
pub(in crate::upstream) fn body(request: &ModelRequest) -> Bytes {
    let hosted = request.hosted_tools.iter().map(Tool::Hosted);
    let body = Body {
        model: &request.model,
        instructions: request.instructions.as_deref(),
        input: request.input.iter().map(item).collect(),
        tools: hosted.chain(request.functions.iter().map(function)).collect(),
        tool_choice: request.tool_choice.as_ref().map(tool_choice),
        parallel_tool_calls: request.parallel_tool_calls,
        include: include(&request.hosted_tools),
        reasoning: request.reasoning.as_ref(),
        temperature: request.temperature,
        top_p: request.top_p,
        max_output_tokens: request.max_output_tokens,
        stream: true,
        store: false,
    };
    // Strings, numbers and maps with string keys always become JSON.
    serde_json::to_vec(&body).unwrap_or_default().into()
}

fn item(item: &InputItem) -> Item<'_> {
    match item {
        InputItem::Message { role: Role::User, parts } => message("user", parts),
        InputItem::Message { role: Role::Developer, parts } => message("developer", parts),
        InputItem::Message { role: Role::Assistant, parts } => Item::Message {
            role: "assistant",
            content: parts.iter().filter_map(said_part).collect(),
        },
        InputItem::FunctionCall { call_id, name, arguments } => {
            Item::FunctionCall { call_id, name, arguments }
        }
        InputItem::FunctionCallOutput { call_id, output } => {
            Item::FunctionCallOutput { call_id, output }
        }
    }
}

fn message<'a>(role: &'static str, parts: &'a [InputPart]) -> Item<'a> {
    Item::Message { role, content: parts.iter().map(part).collect() }
}

fn part(part: &InputPart) -> Part<'_> {
    match part {
        InputPart::Text(text) => Part::InputText { text },
        InputPart::Image { url, detail } => {
            Part::InputImage { detail: detail.as_str(), image_url: url }
        }
        InputPart::File { filename, data_url } => Part::InputFile { filename, file_data: data_url },
    }
}

/// A part of what the model said.
fn said_part(part: &InputPart) -> Option<Part<'_>> {
    match part {
        InputPart::Text(text) => Some(Part::OutputText { text, annotations: [] }),
        InputPart::Image { .. } | InputPart::File { .. } => None,
    }
}

fn function(tool: &FunctionTool) -> Tool<'_> {
    Tool::Function {
        r#type: "function",
        name: &tool.name,
        description: tool.description.as_deref(),
        parameters: &tool.parameters,
        strict: tool.strict,
    }
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Function(name) => json!({"type": "function", "name": name}),
        ToolChoice::Hosted(r#type) => json!({"type": r#type}),
    }
}

/// What the searches found is only told to those who ask for it.
fn include(hosted_tools: &[Map<String, Value>]) -> Vec<&'static str> {
    let has = |start: &str| {
        let kind =
            |tool: &Map<String, Value>| tool.get("type").and_then(Value::as_str).map(str::to_owned);
        hosted_tools.iter().filter_map(kind).any(|kind| kind.starts_with(start))
    };
    let mut include = Vec::new();
    if has("web_search") {
        include.push("web_search_call.action.sources");
    }
    if has("file_search") {
        include.push("file_search_call.results");
    }
    include
}
