//! What does the body of a `POST {base}/chat/completions` look like? The same request as through
//! the Responses API, in the words that most servers know: the site's words are `system`, because
//! `developer` is OpenAI's alone.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::upstream::model::{
    FunctionTool, InputItem, InputPart, ModelError, ModelErrorKind, ModelRequest, Role, ToolChoice,
};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'a> {
    System {
        content: String,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        /// Null next to calls without words: some servers want the field.
        content: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

/// Text alone is sent as a string, which every server takes.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(String),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
    File { file: File<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: &'a str,
    detail: &'static str,
}

#[derive(Serialize)]
struct File<'a> {
    filename: &'a str,
    file_data: &'a str,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: &'a Map<String, Value>,
    strict: bool,
}

/// The request as the API takes it; `base_url` tells whose names for the limit of tokens are meant.
///
/// # Errors
/// When it asks for a tool that runs at OpenAI: only the Responses API has those.
pub(in crate::upstream) fn body(
    request: &ModelRequest,
    base_url: &Url,
) -> Result<Bytes, ModelError> {
    if let Some(tool) = request.hosted_tools.first() {
        let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
        return Err(unsupported(kind));
    }
    let limit = request.max_output_tokens;
    let is_openai = is_openai(base_url);
    let body = Body {
        model: &request.model,
        messages: messages(request),
        tools: request.functions.iter().map(tool).collect(),
        tool_choice: request.tool_choice.as_ref().map(tool_choice).transpose()?,
        parallel_tool_calls: request.parallel_tool_calls,
        reasoning_effort: request.reasoning.as_ref().and_then(|reasoning| reasoning.get("effort")),
        temperature: request.temperature,
        top_p: request.top_p,
        max_completion_tokens: limit.filter(|_| is_openai),
        max_tokens: limit.filter(|_| !is_openai),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
    };
    // Strings, numbers and maps with string keys always become JSON.
    Ok(serde_json::to_vec(&body).unwrap_or_default().into())
}

fn unsupported(tool: &str) -> ModelError {
    let cause = format!(
        "chat completions have no hosted tools ({tool:?}): set the model API to `responses`"
    );
    ModelError::new(ModelErrorKind::Unsupported, cause)
}

/// OpenAI's newer models refuse `max_tokens`; other servers know nothing else.
fn is_openai(base_url: &Url) -> bool {
    let host = base_url.host_str().unwrap_or_default();
    ["openai.com", "openai.azure.com"].iter().any(|openai| {
        host.strip_suffix(openai).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

fn messages(request: &ModelRequest) -> Vec<Message<'_>> {
    let mut messages = Vec::with_capacity(request.input.len() + 1);
    if let Some(instructions) = &request.instructions {
        messages.push(Message::System { content: instructions.clone() });
    }
    for item in &request.input {
        match item {
            InputItem::Message { role: Role::User, parts } => {
                messages.push(Message::User { content: content(parts) });
            }
            InputItem::Message { role: Role::Developer, parts } => {
                messages.push(Message::System { content: text(parts) });
            }
            InputItem::Message { role: Role::Assistant, parts } => {
                messages.push(Message::Assistant {
                    content: Some(text(parts)),
                    tool_calls: Vec::new(),
                });
            }
            InputItem::FunctionCall { call_id, name, arguments } => {
                let function = CalledFunction { name, arguments };
                add_call(&mut messages, ToolCall { id: call_id, r#type: "function", function });
            }
            InputItem::FunctionCallOutput { call_id, output } => {
                messages.push(Message::Tool { tool_call_id: call_id, content: output });
            }
        }
    }
    messages
}

/// Calls belong to the words that came before them: many chat templates refuse two messages of the
/// assistant in a row.
fn add_call<'a>(messages: &mut Vec<Message<'a>>, call: ToolCall<'a>) {
    if let Some(Message::Assistant { tool_calls, .. }) = messages.last_mut() {
        tool_calls.push(call);
    } else {
        messages.push(Message::Assistant { content: None, tool_calls: vec![call] });
    }
}

fn content(parts: &[InputPart]) -> Content<'_> {
    if let [InputPart::Text(text)] = parts {
        return Content::Text(text.clone());
    }
    Content::Parts(parts.iter().map(part).collect())
}

fn part(part: &InputPart) -> Part<'_> {
    match part {
        InputPart::Text(text) => Part::Text { text },
        InputPart::Image { url, detail } => {
            Part::ImageUrl { image_url: ImageUrl { url, detail: detail.as_str() } }
        }
        InputPart::File { filename, data_url } => {
            Part::File { file: File { filename, file_data: data_url } }
        }
    }
}

/// The text parts, a line each.
fn text(parts: &[InputPart]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        InputPart::Text(text) => Some(text.as_str()),
        InputPart::Image { .. } | InputPart::File { .. } => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn tool(tool: &FunctionTool) -> Tool<'_> {
    let FunctionTool { name, description, parameters, strict } = tool;
    let function =
        Function { name, description: description.as_deref(), parameters, strict: *strict };
    Tool { r#type: "function", function }
}

fn tool_choice(choice: &ToolChoice) -> Result<Value, ModelError> {
    Ok(match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Function(name) => json!({"type": "function", "function": {"name": name}}),
        ToolChoice::Hosted(r#type) => return Err(unsupported(r#type)),
    })
}
