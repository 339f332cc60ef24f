//! Which tools may the model call? The parameters about tools and streams, of which both APIs have
//! nearly the same.

use super::conversation::{Choice, Conversation, Tool};
use super::error::ApiError;
use super::json::Json;
use super::node::Node;

/// The tools of the Responses API: a function's members stand beside its type. Returns how many
/// unfinished images the image tool is to show.
pub(super) fn read_flat<'j>(
    list: &Node<'_, 'j>,
    conversation: &mut Conversation<'j>,
) -> Result<usize, ApiError> {
    const TYPES: [&str; 16] = [
        "function",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
        "file_search",
        "code_interpreter",
        "image_generation",
        "mcp",
        "computer",
        "computer_use_preview",
        "local_shell",
        "shell",
        "apply_patch",
        "tool_search",
        "custom",
    ];
    let mut partial_images = 0;
    for tool in list.items()? {
        let tool = tool.object()?;
        match tool.required("type")?.one_of(&TYPES)? {
            "function" => conversation.tools.push(read_function(&tool)?),
            "file_search" => {
                for id in tool.required("vector_store_ids")?.items()? {
                    id.filled()?;
                }
            }
            "code_interpreter" => drop(tool.required("container")?),
            "mcp" => {
                tool.required("server_label")?.filled()?;
                if tool.member("connector_id").is_none() {
                    tool.required("server_url")?.filled()?;
                }
            }
            "image_generation" => {
                let count =
                    tool.member("partial_images").map(|node| node.integer(0..=3)).transpose()?;
                partial_images = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            }
            _ => {}
        }
    }
    Ok(partial_images)
}

/// The tools of chat completions: a function's members stand in an object of their own.
pub(super) fn read_nested<'j>(
    list: &Node<'_, 'j>,
    conversation: &mut Conversation<'j>,
) -> Result<(), ApiError> {
    for tool in list.items()? {
        let tool = tool.object()?;
        if tool.required("type")?.one_of(&["function", "custom"])? == "function" {
            conversation.tools.push(read_function(&tool.required("function")?.object()?)?);
        }
    }
    Ok(())
}

/// `none`, `auto` or `required`; the last is about tools that must be there.
pub(super) fn read_mode<'j>(
    choice: &Node<'_, 'j>,
    body: &Node<'_, 'j>,
) -> Result<Choice<'j>, ApiError> {
    match choice.one_of(&["none", "auto", "required"])? {
        "none" => Ok(Choice::Never),
        "required" if body.member("tools").is_none() => {
            let message =
                "Tool choice 'required' must be specified with 'tools' parameter.".to_owned();
            Err(ApiError::field("tool_choice", "invalid_value", message))
        }
        "required" => Ok(Choice::Required),
        _ => Ok(Choice::Auto),
    }
}

/// The choice of one function, which must be among the tools.
pub(super) fn check_named<'j>(
    name: &'j str,
    conversation: &Conversation<'j>,
) -> Result<Choice<'j>, ApiError> {
    if conversation.tools.iter().any(|tool| tool.name == name) {
        return Ok(Choice::Named(name));
    }
    let message = format!("Tool choice '{name}' not found in 'tools' parameter.");
    Err(ApiError::field("tool_choice", "invalid_value", message))
}

/// Whether deltas are padded, which they are unless the request says no. Such options are for
/// streams only.
pub(super) fn wants_obfuscation(body: &Node<'_, '_>, stream: bool) -> Result<bool, ApiError> {
    let Some(options) = body.member("stream_options") else { return Ok(true) };
    if !stream {
        let message =
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.".to_owned();
        return Err(ApiError::field("stream_options", "invalid_value", message));
    }
    let options = options.object()?;
    Ok(options
        .member("include_obfuscation")
        .map(|node| node.boolean())
        .transpose()?
        .unwrap_or(true))
}

fn read_function<'j>(function: &Node<'_, 'j>) -> Result<Tool<'j>, ApiError> {
    let name = read_name(function)?;
    if let Some(description) = function.member("description") {
        description.text()?;
    }
    let strict = function.member("strict").map(|node| node.boolean()).transpose()?.unwrap_or(false);
    let parameters = function.member("parameters").map(|node| node.object()).transpose()?;
    if let Some(parameters) = &parameters
        && let Some(fault) = fault_of_schema(parameters.json(), strict)
    {
        let message = format!("Invalid schema for function '{name}': {fault}");
        return Err(ApiError::field(parameters.path(), "invalid_function_parameters", message));
    }
    Ok(Tool { name, parameters: parameters.map(|parameters| parameters.json()) })
}

/// The name of a function or of a schema.
pub(super) fn read_name<'j>(named: &Node<'_, 'j>) -> Result<&'j str, ApiError> {
    let given = named.required("name")?;
    let name = given.filled()?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        let what = "string does not match pattern. Expected a string that matches the pattern \
                    '^[a-zA-Z0-9_-]+$'.";
        return Err(given.invalid("invalid_value", what));
    }
    if name.len() > 64 {
        return Err(super::fields::too_long(given.path(), 64, name.len()));
    }
    Ok(name)
}

/// What OpenAI has against a schema. It must be of an object; a strict one says of each member that
/// it is required, and takes no other.
pub(super) fn fault_of_schema(schema: &Json<'_>, strict: bool) -> Option<String> {
    let kind = schema.get("type").and_then(Json::as_str);
    if kind != Some("object") {
        let kind = kind.unwrap_or("None");
        return Some(format!(
            "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
        ));
    }
    if !strict {
        return None;
    }
    if !matches!(schema.get("additionalProperties"), Some(Json::Boolean(false))) {
        return Some(
            "In context=(), 'additionalProperties' is required to be supplied and to be false."
                .to_owned(),
        );
    }
    let required = schema.get("required").map_or(&[][..], Json::items);
    let Some(Json::Object(properties)) = schema.get("properties") else { return None };
    let is_required = |name: &str| required.iter().any(|known| known.as_str() == Some(name));
    let (missing, _) = properties.iter().find(|(name, _)| !is_required(name))?;
    Some(format!(
        "In context=(), 'required' is required to be supplied and to be an array including every \
         key in properties. Missing '{missing}'."
    ))
}
