//! Who answers in self-hosted mode? The agents of `agents.toml`, or the one that `CHATKIT_MODEL` names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use url::Url;

use super::env::{Secret, Vars};
use super::fields::Fields;
use super::upstream::{api_key, is_openai, model_url};

const FILE: &str = "CHATKIT_AGENTS";
const MODEL: &str = "CHATKIT_MODEL";
/// The name of the agent that `CHATKIT_MODEL` makes.
const DEFAULT: &str = "default";
/// The history's budget where none is given.
const MAX_INPUT_TOKENS: u32 = 100_000;
/// The Responses API takes no less.
const LEAST_OUTPUT_TOKENS: u32 = 16;
/// Tools that OpenAI runs itself.
const HOSTED_TOOLS: &[&str] = &["web_search", "file_search", "code_interpreter", "image_generation", "mcp"];

/// Every agent. Their names are the workflows that a client may ask for.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds API keys")]
pub struct Agents {
    /// The agent of a session that names no workflow; it is one of them.
    pub default: String,
    /// The agents, by their names.
    pub by_name: BTreeMap<String, Arc<AgentConfig>>,
}

/// An agent: a model, and what it is told and may do.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "its endpoint and its tools hold keys")]
pub struct AgentConfig {
    /// The name under which clients ask for it: 1 to 64 characters without control characters.
    pub name: String,
    /// The model's name, as its server knows it.
    pub model: String,
    /// What it is told before the conversation.
    pub instructions: Option<String>,
    /// Where its model is.
    pub endpoint: Endpoint,
    /// An object with `effort` and `summary`, or one of them; left to the model if it is not there.
    pub reasoning: Option<Json>,
    /// 0 to 2; left to the model if it is not there.
    pub temperature: Option<f64>,
    /// 0 to 1; left to the model if it is not there.
    pub top_p: Option<f64>,
    /// The most that one answer may cost, 16 or more; left to the model if it is not there.
    pub max_output_tokens: Option<u32>,
    /// The history's budget, 1 or more; 100,000 by default.
    pub max_input_tokens: u32,
    /// Whether its threads get titles; `CHATKIT_THREAD_TITLES` by default.
    pub titles: bool,
    /// Tools that OpenAI runs itself, for the Responses API as they stand. They may hold tokens of other servers.
    pub hosted_tools: Vec<Json>,
    /// Tools that the page answers, each with a name of its own.
    pub client_tools: Vec<ClientTool>,
}

/// Where a model is, and how it is spoken to.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds an API key")]
pub struct Endpoint {
    /// Paths like `responses` are added to its own. It has no slash at its end, unless it has no path at all.
    pub base_url: Url,
    /// Of visible ASCII characters; a server that is not OpenAI's may need none.
    pub api_key: Option<Secret>,
    /// Which of OpenAI's APIs it speaks.
    pub api: ModelApi,
}

/// Which of OpenAI's APIs a model is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelApi {
    /// `POST responses`.
    Responses,
    /// `POST chat/completions`, which Ollama, vLLM, llama.cpp and others have too.
    ChatCompletions,
}

impl ModelApi {
    pub(super) const EXPECTED: &str = "`responses` or `chat-completions`";

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "responses" => Some(Self::Responses),
            "chat-completions" => Some(Self::ChatCompletions),
            _ => None,
        }
    }
}

/// A tool that the page's `onClientTool` answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientTool {
    /// 1 to 64 letters, digits, `_` or `-`: what OpenAI takes for the name of a function.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// The JSON schema of its arguments, an object; without one it takes none.
    pub parameters: Json,
}

/// What the environment says for agents that don't say it themselves.
pub(super) struct Defaults {
    pub(super) endpoint: Endpoint,
    pub(super) titles: bool,
}

impl Agents {
    pub(super) fn from_vars(vars: &Vars<'_>, defaults: &Defaults) -> Self {
        let Some(path) = vars.text(FILE) else { return Self::of_model(vars, defaults) };
        let read = vars.file(FILE, Path::new(&path));
        let top = read.and_then(|text| Fields::parse(vars, FILE, &text));
        match top {
            Some(top) => Self::of_file(top, vars, Path::new(&path), defaults),
            None => Self { default: String::new(), by_name: BTreeMap::new() },
        }
    }

    /// The one agent of the environment.
    fn of_model(vars: &Vars<'_>, defaults: &Defaults) -> Self {
        let model = vars.text(MODEL).map(|model| model.trim().to_owned()).filter(|model| !model.is_empty());
        if model.is_none() && !vars.is_blamed(MODEL) && !vars.is_blamed(FILE) {
            vars.problem(MODEL, "is required without CHATKIT_AGENTS: the model's name, like `gpt-5.1`");
        }
        let agent = AgentConfig {
            instructions: vars.text("CHATKIT_INSTRUCTIONS"),
            ..AgentConfig::plain(DEFAULT.to_owned(), model.unwrap_or_default(), defaults)
        };
        let by_name = BTreeMap::from([(DEFAULT.to_owned(), Arc::new(agent))]);
        Self { default: DEFAULT.to_owned(), by_name }
    }

    fn of_file(mut top: Fields<'_>, vars: &Vars<'_>, path: &Path, defaults: &Defaults) -> Self {
        let default = top.text("default", "the name of an agent");
        let tables = top.table("agents").map(Fields::named_tables).unwrap_or_default();
        let mut by_name = BTreeMap::new();
        for (name, fields) in tables {
            if !is_agent_name(&name) {
                fields.note("must have a name of 1 to 64 characters without control characters");
            }
            let agent = AgentReader { vars, folder: path.parent().unwrap_or(Path::new("")), defaults };
            by_name.insert(name.clone(), Arc::new(agent.read(name, fields)));
        }
        let only = if by_name.len() == 1 { by_name.keys().next().cloned() } else { None };
        match &default {
            _ if by_name.is_empty() => top.problem("agents", "must hold an agent: `[agents.NAME]`"),
            Some(name) if !by_name.contains_key(name) => {
                top.problem("default", "must be the name of an agent")
            }
            None if only.is_none() => top.problem("default", "must be there: the name of one of the agents"),
            Some(_) | None => {}
        }
        top.finish();
        Self { default: default.or(only).unwrap_or_default(), by_name }
    }
}

impl AgentConfig {
    /// An agent with nothing but a model.
    fn plain(name: String, model: String, defaults: &Defaults) -> Self {
        Self {
            name,
            model,
            instructions: None,
            endpoint: defaults.endpoint.clone(),
            reasoning: None,
            temperature: None,
            top_p: None,
            max_output_tokens: None,
            max_input_tokens: MAX_INPUT_TOKENS,
            titles: defaults.titles,
            hosted_tools: Vec::new(),
            client_tools: Vec::new(),
        }
    }
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
            fields.problem("instructions_file", "stands beside `instructions`: keep one of the two");
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
                // The name is not shown: it may be the key itself, put in the wrong place.
                if key.is_none() && !self.vars.is_blamed(&name) {
                    fields.problem("api_key_env", "must be the name of a variable that is set");
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
    let parts = parts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), Json::String(text?))));
    Some(Json::Object(parts.collect())).filter(|parts| parts != &json!({}))
}

fn read_tool(mut fields: Fields<'_>, agent: &mut AgentConfig) {
    let expected = "`web_search`, `file_search`, `code_interpreter`, `image_generation`, `mcp` or `client`";
    match fields.text("type", expected) {
        Some(kind) if kind == "client" => read_client_tool(fields, agent),
        Some(kind) if HOSTED_TOOLS.contains(&kind.as_str()) => {
            if agent.endpoint.api == ModelApi::ChatCompletions {
                fields
                    .problem("type", "must be `client`, because the chat completions API has no other tools");
            }
            if let Some(Json::Object(mut tool)) = fields.into_json() {
                tool.insert("type".to_owned(), Json::String(kind));
                agent.hosted_tools.push(Json::Object(tool));
            }
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
    let parameters = parameters.unwrap_or_else(
        || json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false}),
    );
    fields.finish();
    agent.client_tools.push(ClientTool { name, description, parameters });
}

fn is_agent_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// What OpenAI takes for the name of a function.
fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}
