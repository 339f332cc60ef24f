//! Is this a request for a response that OpenAI would take? Its parameters; the input has a file of
//! its own.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::conversation::{Choice, Conversation};
use super::super::error::ApiError;
use super::super::fields;
use super::super::fitting::plain;
use super::super::format;
use super::super::json::Json;
use super::super::node::Node;
use super::super::tools;
use super::input;

/// What was asked for.
#[derive(Debug)]
pub(super) struct ResponseRequest<'j> {
    pub(super) conversation: Conversation<'j>,
    pub(super) stream: bool,
    pub(super) max_output_tokens: Option<usize>,
    /// How the stream is to look.
    pub(super) shown: Shown,
    pub(super) echo: Echo,
}

/// What is shown only to those who ask for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) summaries: bool,
    pub(super) sources: bool,
    pub(super) encrypted_reasoning: bool,
    pub(super) obfuscation: bool,
    pub(super) partial_images: usize,
}

/// The parameters that the response repeats, with OpenAI's defaults.
#[derive(Debug, Serialize)]
pub(super) struct Echo {
    background: bool,
    instructions: Option<Box<str>>,
    max_output_tokens: Option<usize>,
    max_tool_calls: Option<u64>,
    metadata: Value,
    model: Box<str>,
    parallel_tool_calls: bool,
    previous_response_id: Option<Box<str>>,
    prompt_cache_key: Option<Box<str>>,
    reasoning: Reasoning,
    safety_identifier: Option<Box<str>>,
    service_tier: &'static str,
    store: bool,
    temperature: f64,
    text: Value,
    tool_choice: Value,
    tools: Value,
    top_logprobs: u64,
    top_p: f64,
    truncation: Box<str>,
    user: Option<Box<str>>,
}

#[derive(Debug, Serialize)]
struct Reasoning {
    effort: Option<Box<str>>,
    summary: Option<Box<str>>,
}

const NAMES: [&str; 31] = [
    "background",
    "context_management",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// Reads the body of `POST /v1/responses`.
pub(super) fn read<'j>(body: &'j Json<'j>) -> Result<ResponseRequest<'j>, ApiError> {
    let body = Node::root(body, &NAMES)?;
    let model = body.required("model")?.filled()?;
    if model == "gpt-missing" {
        let message = format!("The requested model '{model}' does not exist.");
        return Err(ApiError::field("model", "model_not_found", message));
    }
    refuse_what_is_stored(&body)?;
    let mut conversation = Conversation::default();
    let instructions = text(&body, "instructions")?;
    if let Some(instructions) = instructions {
        conversation.instruct(instructions);
    }
    let Some(given) = body.member("input") else {
        let message = "One of \"input\" or \"previous_response_id\" or 'prompt' or \
                       'conversation_id' must be provided.";
        return Err(ApiError::field("input", "missing_required_parameter", message.to_owned()));
    };
    input::read(&given, &mut conversation)?;
    let partial_images = match body.member("tools") {
        Some(list) => tools::read_flat(&list, &mut conversation)?,
        None => 0,
    };
    conversation.choice = read_choice(&body, &conversation)?;
    conversation.format = format::read_flat(&body)?;
    let stream = flag(&body, "stream")?.unwrap_or(false);
    let reasoning = read_reasoning(&body)?;
    let included = read_include(&body)?;
    let shown = Shown {
        summaries: reasoning.summary.is_some(),
        sources: included.contains(&"web_search_call.action.sources"),
        encrypted_reasoning: included.contains(&"reasoning.encrypted_content"),
        obfuscation: tools::wants_obfuscation(&body, stream)?,
        partial_images,
    };
    let echo = read_echo(&body, model, instructions, reasoning)?;
    let max_output_tokens = echo.max_output_tokens;
    Ok(ResponseRequest { conversation, stream, max_output_tokens, shown, echo })
}

/// Nothing is stored here, so that nothing that is referred to can be found.
fn refuse_what_is_stored(body: &Node<'_, '_>) -> Result<(), ApiError> {
    if let Some(id) = body.member("previous_response_id") {
        let message = format!("Previous response with id '{}' not found.", id.filled()?);
        return Err(ApiError::field(
            "previous_response_id",
            "previous_response_not_found",
            message,
        ));
    }
    for (name, noun) in [("conversation", "Conversation"), ("prompt", "Prompt")] {
        let Some(given) = body.member(name) else { continue };
        let id = match given.json() {
            Json::Text(id) => id,
            _ => given.object()?.required("id")?.filled()?,
        };
        return Err(ApiError::invalid(
            StatusCode::NOT_FOUND,
            format!("{noun} with id '{id}' not found."),
        ));
    }
    Ok(())
}

fn read_choice<'j>(
    body: &Node<'_, 'j>,
    conversation: &Conversation<'j>,
) -> Result<Choice<'j>, ApiError> {
    let Some(choice) = body.member("tool_choice") else { return Ok(Choice::Auto) };
    match choice.json() {
        Json::Text(_) => tools::read_mode(&choice, body),
        _ if choice.object()?.required("type")?.text()? == "function" => {
            tools::check_named(choice.required("name")?.filled()?, conversation)
        }
        _ => Ok(Choice::Auto),
    }
}

fn read_reasoning(body: &Node<'_, '_>) -> Result<Reasoning, ApiError> {
    let Some(given) = body.member("reasoning") else {
        return Ok(Reasoning { effort: None, summary: None });
    };
    let given = given.object()?;
    let one_of = |name, values: &[&str]| {
        given.member(name).map(|node| node.one_of(values).map(Box::from)).transpose()
    };
    Ok(Reasoning {
        effort: one_of("effort", &["none", "minimal", "low", "medium", "high", "xhigh", "max"])?,
        summary: one_of("summary", &["auto", "concise", "detailed"])?,
    })
}

fn read_include<'j>(body: &Node<'_, 'j>) -> Result<Vec<&'j str>, ApiError> {
    const VALUES: [&str; 8] = [
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
    ];
    match body.member("include") {
        Some(list) => list.items()?.map(|value| value.one_of(&VALUES)).collect(),
        None => Ok(Vec::new()),
    }
}

fn read_echo(
    body: &Node<'_, '_>,
    model: &str,
    instructions: Option<&str>,
    reasoning: Reasoning,
) -> Result<Echo, ApiError> {
    let owned = |name| text(body, name).map(|text| text.map(Box::from));
    let number = |name, max| body.member(name).map(|node| node.number_up_to(max)).transpose();
    let integer = |name, range| body.member(name).map(|node| node.integer(range)).transpose();
    let object = |name, otherwise: Value| match body.member(name) {
        Some(node) => node.object().map(|node| plain(node.json())),
        None => Ok(otherwise),
    };
    let as_given =
        |name, otherwise: Value| body.member(name).map_or(otherwise, |node| plain(node.json()));
    let safety_identifier: Option<Box<str>> = owned("safety_identifier")?;
    if safety_identifier.as_ref().is_some_and(|id| id.chars().count() > 64) {
        return Err(fields::too_long(
            "safety_identifier".to_owned(),
            64,
            safety_identifier.map_or(0, |id| id.chars().count()),
        ));
    }
    let max_output_tokens = integer("max_output_tokens", 16..=u64::MAX)?;
    Ok(Echo {
        background: flag(body, "background")?.unwrap_or(false),
        instructions: instructions.map(Box::from),
        max_output_tokens: max_output_tokens
            .map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
        max_tool_calls: integer("max_tool_calls", 1..=u64::MAX)?,
        metadata: object("metadata", json!({}))?,
        model: model.into(),
        parallel_tool_calls: flag(body, "parallel_tool_calls")?.unwrap_or(true),
        previous_response_id: None,
        prompt_cache_key: owned("prompt_cache_key")?,
        reasoning,
        safety_identifier,
        service_tier: "default",
        store: flag(body, "store")?.unwrap_or(true),
        temperature: number("temperature", 2.0)?.unwrap_or(1.0),
        text: object("text", json!({ "format": { "type": "text" }, "verbosity": "medium" }))?,
        tool_choice: as_given("tool_choice", json!("auto")),
        tools: as_given("tools", json!([])),
        top_logprobs: integer("top_logprobs", 0..=20)?.unwrap_or(0),
        top_p: number("top_p", 1.0)?.unwrap_or(1.0),
        truncation: match body.member("truncation") {
            Some(node) => node.one_of(&["auto", "disabled"])?.into(),
            None => "disabled".into(),
        },
        user: owned("user")?,
    })
}

fn text<'j>(body: &Node<'_, 'j>, name: &'static str) -> Result<Option<&'j str>, ApiError> {
    body.member(name).map(|node| node.text()).transpose()
}

fn flag(body: &Node<'_, '_>, name: &'static str) -> Result<Option<bool>, ApiError> {
    body.member(name).map(|node| node.boolean()).transpose()
}
