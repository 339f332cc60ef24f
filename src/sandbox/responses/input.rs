//! What does the `input` of a response say? A text, or items: messages, calls and their outputs,
//! and what else an earlier response put out.

use axum::http::StatusCode;

use super::super::conversation::{Attachment, Conversation, Part, Role, Source};
use super::super::error::ApiError;
use super::super::fields;
use super::super::json::Json;
use super::super::node::Node;

/// Takes the input in.
pub(super) fn read<'j>(
    input: &Node<'_, 'j>,
    conversation: &mut Conversation<'j>,
) -> Result<(), ApiError> {
    match input.json() {
        Json::Text(text) => conversation.hear(Role::User, vec![Part::Text(text)]),
        Json::Array(_) => {
            let mut thought = None;
            for item in input.items()? {
                let kind = read_item(&item.object()?, conversation)?;
                check_follows(thought, kind)?;
                thought = (kind == Kind::Reasoning)
                    .then(|| item.member("id").and_then(|id| id.json().as_str()));
            }
            check_follows(thought, Kind::Said)?;
        }
        _ => return Err(input.wrong_type("one of a string or array of input items")),
    }
    match conversation.unanswered() {
        Some(id) => Err(about_input(format!("No tool output found for function call {id}."))),
        None => Ok(()),
    }
}

/// What kind of item it was, as far as the order of items is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Something that the model did.
    Done,
    /// Something that the model was told.
    Said,
    Reasoning,
}

fn read_item<'j>(
    item: &Node<'_, 'j>,
    conversation: &mut Conversation<'j>,
) -> Result<Kind, ApiError> {
    const OTHERS: [&str; 23] = [
        "file_search_call",
        "computer_call",
        "computer_call_output",
        "web_search_call",
        "image_generation_call",
        "code_interpreter_call",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "custom_tool_call",
        "custom_tool_call_output",
        "tool_search_call",
        "tool_search_output",
        "additional_tools",
        "compaction",
        "compaction_trigger",
    ];
    let kind = item.member("type");
    let kind = kind.as_ref().map(Node::text).transpose()?.unwrap_or("message");
    match kind {
        "message" => return read_message(item, conversation),
        "function_call" => {
            let (id, name) =
                (item.required("call_id")?.filled()?, item.required("name")?.filled()?);
            conversation.call(id, name, item.required("arguments")?.text()?);
        }
        "function_call_output" => {
            let id = item.required("call_id")?.filled()?;
            let output = read_output(&item.required("output")?)?;
            if !conversation.answer(id, output) {
                let message =
                    format!("No tool call found for function call output with call_id {id}.");
                return Err(about_input(message));
            }
            return Ok(Kind::Said);
        }
        "reasoning" => {
            item.required("id")?.filled()?;
            for part in item.required("summary")?.items()? {
                part.object()?.required("text")?.text()?;
            }
            return Ok(Kind::Reasoning);
        }
        "item_reference" => {
            let id = item.required("id")?.filled()?;
            let message = format!(
                "Item with id '{id}' not found. Items are not persisted when `store` is set to \
                 false. Try again with `store` set to true, or remove this item from your input."
            );
            return Err(ApiError::invalid(StatusCode::NOT_FOUND, message).about("input"));
        }
        other if OTHERS.contains(&other) => {}
        other => {
            let mut known = vec![
                "message",
                "function_call",
                "function_call_output",
                "reasoning",
                "item_reference",
            ];
            known.extend(OTHERS);
            return Err(item.unsupported(other, &known));
        }
    }
    Ok(Kind::Done)
}

fn read_message<'j>(
    item: &Node<'_, 'j>,
    conversation: &mut Conversation<'j>,
) -> Result<Kind, ApiError> {
    let role = match item.required("role")?.one_of(&["assistant", "system", "developer", "user"])? {
        "assistant" => Role::Assistant,
        "user" => Role::User,
        _ => Role::System,
    };
    let content = item.required("content")?;
    let parts = match content.json() {
        Json::Text(text) => vec![Part::Text(text)],
        Json::Array(_) => content
            .items()?
            .map(|part| read_part(&part.object()?, role))
            .collect::<Result<Vec<_>, _>>()?,
        _ => return Err(content.wrong_type("one of an array of objects or string")),
    };
    conversation.hear(role, parts);
    Ok(if role == Role::Assistant { Kind::Done } else { Kind::Said })
}

fn read_part<'j>(part: &Node<'_, 'j>, role: Role) -> Result<Part<'j>, ApiError> {
    let kind = part.required("type")?.text()?;
    match (kind, role) {
        ("output_text", Role::Assistant) | ("input_text", Role::User | Role::System) => {
            Ok(Part::Text(part.required("text")?.text()?))
        }
        ("refusal", Role::Assistant) => Ok(Part::Text(part.required("refusal")?.text()?)),
        ("input_image", Role::User | Role::System) => read_image(part).map(Part::Attached),
        ("input_file", Role::User | Role::System) => read_file(part).map(Part::Attached),
        (_, Role::Assistant) => Err(part.unsupported(kind, &["output_text", "refusal"])),
        (_, Role::User | Role::System) => {
            Err(part.unsupported(kind, &["input_text", "input_image", "input_file"]))
        }
    }
}

fn read_image<'j>(part: &Node<'_, 'j>) -> Result<Attachment<'j>, ApiError> {
    if let Some(detail) = part.member("detail") {
        detail.one_of(&["low", "high", "auto", "original"])?;
    }
    let source = match (part.member("image_url"), part.member("file_id")) {
        (Some(url), _) => Source::of_image(&url)?,
        (None, Some(id)) => Source::Elsewhere(id.filled()?),
        (None, None) => return Err(fields::missing(part.path_of("image_url"))),
    };
    Ok(Attachment { image: true, name: None, source })
}

fn read_file<'j>(part: &Node<'_, 'j>) -> Result<Attachment<'j>, ApiError> {
    let name = part.member("filename").map(|name| name.filled()).transpose()?;
    let data = part.member("file_data");
    let source = match (&data, part.member("file_id"), part.member("file_url")) {
        (Some(data), None, None) if name.is_some() => Source::of_data(data, false)?,
        (Some(_), None, None) => return Err(fields::missing(part.path_of("filename"))),
        (None, Some(place), None) | (None, None, Some(place)) => Source::Elsewhere(place.filled()?),
        (None, None, None) => return Err(fields::missing(part.path_of("file_id"))),
        _ => {
            let message =
                "Mutually exclusive parameters: 'file_id', 'file_data' and 'file_url'.".to_owned();
            return Err(ApiError::field(part.path(), "mutually_exclusive_parameters", message));
        }
    };
    Ok(Attachment { image: false, name, source })
}

/// An output is a text, or parts of which the text is kept.
fn read_output(output: &Node<'_, '_>) -> Result<String, ApiError> {
    match output.json() {
        Json::Text(text) => Ok(text.to_string()),
        Json::Array(_) => {
            let mut texts = Vec::new();
            for part in output.items()? {
                if let Part::Text(text) = read_part(&part.object()?, Role::User)? {
                    texts.push(text);
                }
            }
            Ok(texts.join(" "))
        }
        _ => Err(output.wrong_type("one of an array of objects or string")),
    }
}

/// Reasoning must be followed by what it led to.
fn check_follows(thought: Option<Option<&str>>, next: Kind) -> Result<(), ApiError> {
    match thought {
        Some(id) if next == Kind::Said => Err(about_input(format!(
            "Item '{}' of type 'reasoning' was provided without its required following item.",
            id.unwrap_or_default()
        ))),
        _ => Ok(()),
    }
}

fn about_input(message: String) -> ApiError {
    ApiError::invalid(StatusCode::BAD_REQUEST, message).about("input")
}
