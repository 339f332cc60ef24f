//! What is the answer to be: a text, an object, or what fits a JSON schema? Both APIs have the same
//! choice, in different places.

use super::conversation::Format;
use super::error::ApiError;
use super::node::Node;
use super::tools::{fault_of_schema, read_name};

const TYPES: [&str; 3] = ["text", "json_object", "json_schema"];

/// `text.format` of the Responses API: name and schema stand beside the type.
pub(super) fn read_flat<'j>(body: &Node<'_, 'j>) -> Result<Format<'j>, ApiError> {
    let text = body.member("text").map(|node| node.object()).transpose()?;
    let Some(text) = &text else { return Ok(Format::Text) };
    let Some(format) = text.member("format") else { return Ok(Format::Text) };
    let format = format.object()?;
    match format.required("type")?.one_of(&TYPES)? {
        "json_schema" => read_schema(&format, "text.format.schema", Some("invalid_json_schema")),
        kind => Ok(without_schema(kind)),
    }
}

/// `response_format` of chat completions: name and schema stand in an object of their own.
pub(super) fn read_nested<'j>(body: &Node<'_, 'j>) -> Result<Format<'j>, ApiError> {
    let Some(format) = body.member("response_format") else { return Ok(Format::Text) };
    let format = format.object()?;
    match format.required("type")?.one_of(&TYPES)? {
        "json_schema" => {
            read_schema(&format.required("json_schema")?.object()?, "response_format", None)
        }
        kind => Ok(without_schema(kind)),
    }
}

fn without_schema(kind: &str) -> Format<'static> {
    if kind == "json_object" { Format::Json(None) } else { Format::Text }
}

fn read_schema<'j>(
    given: &Node<'_, 'j>,
    param: &'static str,
    code: Option<&'static str>,
) -> Result<Format<'j>, ApiError> {
    let name = read_name(given)?;
    let strict = given.member("strict").map(|node| node.boolean()).transpose()?.unwrap_or(false);
    let schema = given.required("schema")?.object()?.json();
    let Some(fault) = fault_of_schema(schema, strict) else {
        return Ok(Format::Json(Some(schema)));
    };
    let message = format!("Invalid schema for response_format '{name}': {fault}");
    let error = ApiError::invalid(axum::http::StatusCode::BAD_REQUEST, message).about(param);
    Err(match code {
        Some(code) => error.code(code),
        None => error,
    })
}
