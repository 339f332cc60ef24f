//! Is this a request for a chat completion that OpenAI would take? Its parameters; the messages
//! have a file of their own.

use axum::http::StatusCode;

use super::super::conversation::{Choice, Conversation};
use super::super::error::ApiError;
use super::super::format;
use super::super::json::Json;
use super::super::node::Node;
use super::super::tools;
use super::messages;

/// What was asked for.
#[derive(Debug)]
pub(super) struct CompletionRequest<'j> {
    pub(super) conversation: Conversation<'j>,
    pub(super) model: &'j str,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) obfuscation: bool,
    pub(super) max_tokens: Option<usize>,
}

const NAMES: [&str; 37] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Reads the body of `POST /v1/chat/completions`.
pub(super) fn read<'j>(body: &'j Json<'j>) -> Result<CompletionRequest<'j>, ApiError> {
    let body = Node::root(body, &NAMES)?;
    let Some(model) = body.member("model") else {
        return Err(ApiError::invalid(
            StatusCode::BAD_REQUEST,
            "you must provide a model parameter",
        ));
    };
    let model = model.filled()?;
    if model == "gpt-missing" {
        let message =
            format!("The model `{model}` does not exist or you do not have access to it.");
        return Err(ApiError::invalid(StatusCode::NOT_FOUND, message).code("model_not_found"));
    }
    let mut conversation = Conversation::default();
    messages::read(&body.required("messages")?, &mut conversation)?;
    if let Some(list) = body.member("tools") {
        tools::read_nested(&list, &mut conversation)?;
    }
    conversation.choice = read_choice(&body, &conversation)?;
    conversation.format = format::read_nested(&body)?;
    check_sampling(&body)?;
    let flag = |name| {
        body.member(name).map(|node| node.boolean()).transpose().map(Option::unwrap_or_default)
    };
    let stream = flag("stream")?;
    let obfuscation = tools::wants_obfuscation(&body, stream)?;
    let options = body.member("stream_options");
    let include_usage = options.as_ref().and_then(|options| options.member("include_usage"));
    let include_usage = include_usage.map(|node| node.boolean()).transpose()?.unwrap_or(false);
    let most = |name| body.member(name).map(|node| node.integer(1..=u64::MAX)).transpose();
    let max_tokens = most("max_completion_tokens")?.or(most("max_tokens")?);
    let max_tokens = max_tokens.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    Ok(CompletionRequest { conversation, model, stream, include_usage, obfuscation, max_tokens })
}

fn read_choice<'j>(
    body: &Node<'_, 'j>,
    conversation: &Conversation<'j>,
) -> Result<Choice<'j>, ApiError> {
    let Some(choice) = body.member("tool_choice") else { return Ok(Choice::Auto) };
    match choice.json() {
        Json::Text(_) => tools::read_mode(&choice, body),
        _ if choice.object()?.required("type")?.text()? == "function" => {
            let name = choice.required("function")?.object()?.required("name")?.filled()?;
            tools::check_named(name, conversation)
        }
        _ => Ok(Choice::Auto),
    }
}

fn check_sampling(body: &Node<'_, '_>) -> Result<(), ApiError> {
    for (name, max) in [("temperature", 2.0), ("top_p", 1.0)] {
        if let Some(node) = body.member(name) {
            node.number_up_to(max)?;
        }
    }
    if let Some(effort) = body.member("reasoning_effort") {
        effort.one_of(&["none", "minimal", "low", "medium", "high", "xhigh", "max"])?;
    }
    Ok(())
}
