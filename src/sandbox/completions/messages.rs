//! What do the `messages` of a chat completion say? Each role with the parts it may have, and calls
//! with their outputs.

use axum::http::StatusCode;

use super::super::conversation::{Attachment, Conversation, Part, Role, Source};
use super::super::error::ApiError;
use super::super::fields;
use super::super::json::Json;
use super::super::node::Node;

/// Takes the messages in.
pub(super) fn read<'j>(
    messages: &Node<'_, 'j>,
    conversation: &mut Conversation<'j>,
) -> Result<(), ApiError> {
    let mut open = Vec::new();
    let mut count = 0;
    for message in messages.items()? {
        read_message(&message.object()?, count, &mut open, conversation)?;
        count += 1;
    }
    if count == 0 {
        let what =
            "empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(messages.invalid("empty_array", what));
    }
    check_answered(&open, count)
}

/// `open` are the calls that the last assistant message made and that nothing answered yet.
fn read_message<'j>(
    message: &Node<'_, 'j>,
    at: usize,
    open: &mut Vec<&'j str>,
    conversation: &mut Conversation<'j>,
) -> Result<(), ApiError> {
    let role = message.required("role")?;
    let role = role.one_of(&["system", "assistant", "user", "function", "tool", "developer"])?;
    if role != "tool" {
        check_answered(open, at)?;
    }
    match role {
        "tool" => {
            let id = message.required("tool_call_id")?.filled()?;
            let output = read_content(message, at, &["text"])?;
            let Some(place) = open.iter().position(|known| *known == id) else {
                return Err(ApiError::invalid(
                    StatusCode::BAD_REQUEST,
                    "Invalid parameter: messages with role 'tool' must be a response to a \
                     preceeding message with 'tool_calls'.",
                )
                .about(format!("messages.[{at}].role")));
            };
            open.remove(place);
            let texts = output.iter().filter_map(|part| match part {
                Part::Text(text) => Some(*text),
                Part::Attached(_) => None,
            });
            conversation.answer(id, texts.collect::<Vec<_>>().join(" "));
        }
        "assistant" => {
            let calls = message.member("tool_calls");
            let has_content =
                message.member("content").is_some() || message.member("refusal").is_some();
            let parts = match message.member("content") {
                None if calls.is_some() || has_content => Vec::new(),
                _ => read_content(message, at, &["text", "refusal"])?,
            };
            conversation.hear(Role::Assistant, parts);
            if let Some(calls) = calls {
                for call in calls.items()? {
                    open.push(read_call(&call.object()?, conversation)?);
                }
            }
        }
        "user" => {
            let parts = read_content(message, at, &["text", "image_url", "input_audio", "file"])?;
            conversation.hear(Role::User, parts);
        }
        _ => conversation.hear(Role::System, read_content(message, at, &["text"])?),
    }
    Ok(())
}

fn read_call<'j>(
    call: &Node<'_, 'j>,
    conversation: &mut Conversation<'j>,
) -> Result<&'j str, ApiError> {
    let id = call.required("id")?.filled()?;
    let member = match call.required("type")?.one_of(&["function", "custom"])? {
        "custom" => ("custom", "input"),
        _ => ("function", "arguments"),
    };
    let function = call.required(member.0)?.object()?;
    conversation.call(
        id,
        function.required("name")?.filled()?,
        function.required(member.1)?.text()?,
    );
    Ok(id)
}

fn read_content<'j>(
    message: &Node<'_, 'j>,
    at: usize,
    kinds: &[&str],
) -> Result<Vec<Part<'j>>, ApiError> {
    let Some(content) = message.member("content") else {
        let error = ApiError::invalid(
            StatusCode::BAD_REQUEST,
            "Invalid value for 'content': expected a string, got null.",
        );
        return Err(error.about(format!("messages.[{at}].content")));
    };
    match content.json() {
        Json::Text(text) => Ok(vec![Part::Text(text)]),
        Json::Array(_) => content.items()?.map(|part| read_part(&part.object()?, kinds)).collect(),
        _ => Err(content.wrong_type("one of a string or array of objects")),
    }
}

fn read_part<'j>(part: &Node<'_, 'j>, kinds: &[&str]) -> Result<Part<'j>, ApiError> {
    match part.required("type")?.one_of(kinds)? {
        "image_url" => {
            let image = part.required("image_url")?.object()?;
            if let Some(detail) = image.member("detail") {
                detail.one_of(&["low", "high", "auto"])?;
            }
            let source = Source::of_image(&image.required("url")?)?;
            Ok(Part::Attached(Attachment { image: true, name: None, source }))
        }
        "file" => {
            let file = part.required("file")?.object()?;
            let name = file.member("filename").map(|name| name.filled()).transpose()?;
            let source = match (file.member("file_data"), file.member("file_id")) {
                (Some(_), _) if name.is_none() => {
                    return Err(fields::missing(file.path_of("filename")));
                }
                (Some(data), _) => Source::of_data(&data, false)?,
                (None, Some(id)) => Source::Elsewhere(id.filled()?),
                (None, None) => return Err(fields::missing(file.path_of("file_id"))),
            };
            Ok(Part::Attached(Attachment { image: false, name, source }))
        }
        "input_audio" => {
            let audio = part.required("input_audio")?.object()?;
            audio.required("data")?.filled()?;
            let format = audio.required("format")?.one_of(&["wav", "mp3"])?;
            Ok(Part::Attached(Attachment {
                image: false,
                name: None,
                source: Source::Elsewhere(format),
            }))
        }
        "refusal" => Ok(Part::Text(part.required("refusal")?.text()?)),
        _ => Ok(Part::Text(part.required("text")?.text()?)),
    }
}

/// Whatever comes next, the calls must have been answered first.
fn check_answered(open: &[&str], at: usize) -> Result<(), ApiError> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to \
         each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err(ApiError::invalid(StatusCode::BAD_REQUEST, message).about(format!("messages.[{at}].role")))
}
