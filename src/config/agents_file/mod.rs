//! What does `agents.toml` say? Each agent and each tool, read key by key, so that every mistake is
//! named at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::agents::{
    AgentConfig, Agents, ClientTool, Defaults, Endpoint, MAX_INPUT_TOKENS, ModelApi,
};
use super::env::Vars;
use super::fields::Fields;
use super::upstream::{api_key, is_openai, model_url};

/// The Responses API takes no less.
const LEAST_OUTPUT_TOKENS: u32 = 16;
/// Tools that OpenAI runs itself.
const HOSTED_TOOLS: &[&str] =
    &["web_search", "file_search", "code_interpreter", "image_generation", "mcp"];

/// The agents of the file at this path.
pub(super) fn read_agents(
    mut top: Fields<'_>,
    vars: &Vars<'_>,
    path: &Path,
    defaults: &Defaults,
) -> Agents {
    let default = top.text("default", "the name of an agent");
    let is_there = top.has("agents");
    let tables = top.table("agents");
    let is_bad = is_there && tables.is_none();
    let mut by_name = BTreeMap::new();
    for (name, fields) in tables.map(Fields::named_tables).unwrap_or_default() {
        if !is_agent_name(&name) {
            fields.note("must have a name of 1 to 64 characters without control characters");
        }
        let agent = AgentReader { vars, folder: path.parent().unwrap_or(Path::new("")), defaults };
        by_name.insert(name.clone(), Arc::new(agent.read(name, fields)));
    }
    let only = if by_name.len() == 1 { by_name.keys().next().cloned() } else { None };
    match &default {
        _ if is_bad => {}
        _ if by_name.is_empty() => top.problem("agents", "must hold an agent: `[agents.NAME]`"),
        Some(name) if !by_name.contains_key(name) => {
            top.problem("default", "must be the name of an agent")
        }
        None if only.is_none() => {
            top.problem("default", "must be there: the name of one of the agents")
        }
        Some(_) | None => {}
    }
    top.finish();
    Agents { default: default.or(only).unwrap_or_default(), by_name }
}

/// Reads agents from a file in this folder.
struct AgentReader<'a> {
    vars: &'a Vars<'a>,
    folder: &'a Path,
    defaults: &'a Defaults,
}

impl AgentReader<'_> {
    fn read(&self, name: String, mut fields: Fields<'_>) -> AgentConfig {
        let model = fields.text("model", "the model's name");
        if model.is_none() {
            fields.problem("model", "must be there: the model's name, like `gpt-5.1`");
        }
        let mut agent = AgentConfig::plain(name, model.unwrap_or_default(), self.defaults);
        agent.instructions = self.instructions(&mut fields);
        agent.endpoint = self.endpoint(&mut fields);
        agent.reasoning = fields.table("reasoning").and_then(reasoning);
        agent.temperature = fields.number("temperature", 0.0..=2.0);
        agent.top_p = fields.number("top_p", 0.0..=1.0);
        agent.max_output_tokens = fields.count("max_output_tokens", LEAST_OUTPUT_TOKENS);
        agent.max_input_tokens = fields.count("max_input_tokens", 1).unwrap_or(MAX_INPUT_TOKENS);
        agent.titles = fields.flag("titles").unwrap_or(self.defaults.titles);
        for tool in fields.tables("tools") {
            read_tool(tool, &mut agent);
        }
        fields.finish();
        agent
    }

    fn instructions(&self, fields: &mut Fields<'_>) -> Option<String> {
        let text = fields.text("instructions", "a text");
        let file = fields.text("instructions_file", "the path of a file");
        let Some(file) = file else { return text };
        if text.is_some() {
            fields
                .problem("instructions_file", "stands beside `instructions`: keep one of the two");
            return None;
        }
        match self.vars.read_file(&self.folder.join(file)) {
            Ok(text) => Some(text).filter(|text| !text.trim().is_empty()),
            Err(error) => {
                let expected = format!("must name a readable UTF-8 file ({})", error.kind());
                fields.problem("instructions_file", &expected);
                None
            }
        }
    }

    fn endpoint(&self, fields: &mut Fields<'_>) -> Endpoint {
        let ours = &self.defaults.endpoint;
        let api = fields.text("model_api", ModelApi::EXPECTED).and_then(|text| {
            let api = ModelApi::parse(&text);
            if api.is_none() {
                fields.problem("model_api", &format!("must be {}", ModelApi::EXPECTED));
            }
            api
        });
        let expected = "an http or https address without credentials, query and fragment";
        let base_url = fields.optional("base_url", expected, |value| model_url(value.as_str()?));
        let base_url = base_url.unwrap_or_else(|| ours.base_url.clone());
        let key = match fields.text("api_key_env", "the name of a variable") {
            Some(name) => {
                let key = api_key(self.vars, &name);
                if key.is_none() && !self.vars.is_blamed(&name) {
                    let problem = if is_variable_name(&name) {
                        format!("names the variable {name}, which is not set")
                    } else {
                        "must be the name of a variable that is set".to_owned()
                    };
                    fields.problem("api_key_env", &problem);
                }
                key
            }
            None => {
                if ours.api_key.is_none() && is_openai(&base_url) && !is_openai(&ours.base_url) {
                    fields.problem(
                        "api_key_env",
                        "must be there, or OPENAI_API_KEY set: OpenAI asks for a key",
                    );
                }
                ours.api_key.clone()
            }
        };
        Endpoint { base_url, api_key: key, api: api.unwrap_or(ours.api) }
    }
}

fn reasoning(mut fields: Fields<'_>) -> Option<Json> {
    let parts = ["effort", "summary"].map(|key| (key, fields.text(key, "a word")));
    fields.finish();
    let parts =
        parts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), Json::String(text?))));
    Some(Json::Object(parts.collect())).filter(|parts| parts != &json!({}))
}

fn read_tool(mut fields: Fields<'_>, agent: &mut AgentConfig) {
    let expected =
        "`web_search`, `file_search`, `code_interpreter`, `image_generation`, `mcp` or `client`";
    match fields.text("type", expected) {
        Some(kind) if kind == "client" => read_client_tool(fields, agent),
        Some(kind) if HOSTED_TOOLS.contains(&kind.as_str()) => {
            if agent.endpoint.api == ModelApi::ChatCompletions {
                fields.problem(
                    "type",
                    "must be `client`, because the chat completions API has no other tools",
                );
            }
            if kind == "file_search" && !fields.is_list("vector_store_ids") {
                fields.problem(
                    "vector_store_ids",
                    "must be there: the ids of the vector stores that are searched",
                );
            }
            if let Some(Json::Object(mut tool)) = fields.into_json() {
                tool.insert("type".to_owned(), Json::String(kind));
                agent.hosted_tools.push(Json::Object(tool));
            }
        }
        Some(kind) if kind == "function" => {
            let message = format!(
                "is `function`, which is no kind here; a function of the page is `client`. The \
                 kinds: {expected}"
            );
            fields.problem("type", &message);
        }
        Some(_) => fields.problem("type", &format!("must be {expected}")),
        None => fields.problem("type", &format!("must be there: {expected}")),
    }
}

fn read_client_tool(mut fields: Fields<'_>, agent: &mut AgentConfig) {
    let expected = "1 to 64 letters, digits, `_` or `-`";
    let name = fields.text("name", expected).unwrap_or_default();
    if !is_tool_name(&name) {
        fields.problem("name", &format!("must be {expected}"));
    } else if agent.client_tools.iter().any(|known| known.name == name) {
        fields.problem("name", "must not be the name of another tool");
    }
    let description = fields.text("description", "a text");
    let parameters = fields.table("parameters").and_then(Fields::into_json);
    if parameters.as_ref().is_some_and(|schema| schema["type"] != "object") {
        fields.problem(
            "parameters",
            "must be the schema of an object: `{ type = \"object\", properties = { … } }`",
        );
    }
    let parameters = parameters.unwrap_or_else(
        || json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false}),
    );
    fields.finish();
    agent.client_tools.push(ClientTool { name, description, parameters });
}

/// Whether this is surely the name of a variable: what else stands there may be the key itself,
/// which must not be shown.
fn is_variable_name(text: &str) -> bool {
    text.contains('_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_agent_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// What OpenAI takes for the name of a function.
fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

#[cfg(test)]
mod tests;
