//! Who answers in self-hosted mode? The agents of `agents.toml`, or the one that `CHATKIT_MODEL`
//! names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use url::Url;

use super::agents_file::read_agents;
use super::env::{Secret, Vars};
use super::fields::Fields;

pub(super) const FILE: &str = "CHATKIT_AGENTS";
const MODEL: &str = "CHATKIT_MODEL";
/// The name of the agent that `CHATKIT_MODEL` makes.
const DEFAULT: &str = "default";
/// The history's budget where none is given.
pub(super) const MAX_INPUT_TOKENS: u32 = 100_000;

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
    /// Tools that OpenAI runs itself, for the Responses API as they stand. They may hold tokens of
    /// other servers.
    pub hosted_tools: Vec<Json>,
    /// Tools that the page answers, each with a name of its own.
    pub client_tools: Vec<ClientTool>,
}

/// Where a model is, and how it is spoken to.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds an API key")]
pub struct Endpoint {
    /// Paths like `responses` are added to its own. It has no slash at its end, unless it has no
    /// path at all.
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
            Some(top) => read_agents(top, vars, Path::new(&path), defaults),
            None => Self { default: String::new(), by_name: BTreeMap::new() },
        }
    }

    /// The one agent of the environment.
    fn of_model(vars: &Vars<'_>, defaults: &Defaults) -> Self {
        let model =
            vars.text(MODEL).map(|model| model.trim().to_owned()).filter(|model| !model.is_empty());
        if model.is_none() && !vars.is_blamed(MODEL) && !vars.is_blamed(FILE) {
            vars.problem(
                MODEL,
                "is required without CHATKIT_AGENTS: the model's name, like `gpt-5.1`",
            );
        }
        let agent = AgentConfig {
            instructions: vars.text("CHATKIT_INSTRUCTIONS"),
            ..AgentConfig::plain(DEFAULT.to_owned(), model.unwrap_or_default(), defaults)
        };
        let by_name = BTreeMap::from([(DEFAULT.to_owned(), Arc::new(agent))]);
        Self { default: DEFAULT.to_owned(), by_name }
    }
}

impl AgentConfig {
    /// An agent with nothing but a model.
    pub(super) fn plain(name: String, model: String, defaults: &Defaults) -> Self {
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

    /// A warning for each setting that OpenAI does not know: servers of other makers may.
    pub(super) fn setting_warnings(&self) -> Vec<String> {
        let known: [(&str, &[&str]); 2] = [
            ("effort", &["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
            ("summary", &["auto", "concise", "detailed"]),
        ];
        let name = &self.name;
        let mut warnings = Vec::new();
        for (key, words) in known {
            let word = self.reasoning.as_ref().and_then(|reasoning| reasoning[key].as_str());
            if word.is_some_and(|word| !words.contains(&word)) {
                let words = words.join(", ");
                warnings.push(format!(
                    "the agent {name}: reasoning.{key} is not one of the values that OpenAI takes: \
                     {words}"
                ));
            }
        }
        if name.chars().any(char::is_whitespace) {
            warnings.push(format!(
                "the agent {name:?} has a blank in its name, and whoever asks for it must write it \
                 so"
            ));
        }
        warnings
    }

    /// A warning for each MCP server whose calls wait for an approval, which nobody is asked for.
    /// OpenAI takes an unset `require_approval` for `always`.
    pub(super) fn approval_warnings(&self) -> impl Iterator<Item = String> {
        let waits = |approval: Option<&Json>| approval.is_none_or(|approval| approval == "always");
        let servers = self
            .hosted_tools
            .iter()
            .filter(|tool| tool.get("type").is_some_and(|kind| kind == "mcp"));
        servers.filter(move |tool| waits(tool.get("require_approval"))).map(|tool| {
            let server =
                tool.get("server_label").and_then(Json::as_str).unwrap_or("without a label");
            let name = &self.name;
            format!(
                "the agent {name}: nobody is asked to approve calls of the MCP server {server}, so \
                 answers that need them fail; set its require_approval to \"never\""
            )
        })
    }
}
