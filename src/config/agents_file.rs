//! What does `agents.toml` say? Each agent and each tool, read key by key, so that every mistake is named at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::agents::{AgentConfig, Agents, ClientTool, Defaults, Endpoint, MAX_INPUT_TOKENS, ModelApi};
use super::env::Vars;
use super::fields::Fields;
use super::upstream::{api_key, is_openai, model_url};

/// The Responses API takes no less.
const LEAST_OUTPUT_TOKENS: u32 = 16;
/// Tools that OpenAI runs itself.
const HOSTED_TOOLS: &[&str] = &["web_search", "file_search", "code_interpreter", "image_generation", "mcp"];

/// The agents of the file at this path.
pub(super) fn read_agents(mut top: Fields<'_>, vars: &Vars<'_>, path: &Path, defaults: &Defaults) -> Agents {
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
        Some(name) if !by_name.contains_key(name) => top.problem("default", "must be the name of an agent"),
        None if only.is_none() => top.problem("default", "must be there: the name of one of the agents"),
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
                "is `function`, which is no kind here; a function of the page is `client`. The kinds: {expected}"
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

/// Whether this is surely the name of a variable: what else stands there may be the key itself, which must not be shown.
fn is_variable_name(text: &str) -> bool {
    text.contains('_')
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_agent_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// What OpenAI takes for the name of a function.
fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::io;

    use url::Url;

    use super::*;
    use crate::config::agents::{Endpoint, FILE};

    /// The agents of a file, and what is wrong with it, in the order of its keys.
    fn read(toml: &str) -> (Agents, Vec<String>) {
        let lookup = |name: &str| (name == FILE).then(|| "conf/agents.toml".to_owned());
        let file = |path: &Path| match path.to_str() {
            Some("conf/agents.toml") => Ok(toml.to_owned()),
            Some("conf/there.md") => Ok("Be kind.".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let vars = Vars::new(&lookup).with_files(&file);
        let base_url = Url::parse("http://127.0.0.1:1/v1").unwrap();
        let endpoint = Endpoint { base_url, api_key: None, api: ModelApi::Responses };
        let agents = Agents::from_vars(&vars, &Defaults { endpoint, titles: true });
        let problems = vars.into_problems();
        assert!(problems.iter().all(|problem| problem.variable == FILE), "{problems:?}");
        (agents, problems.into_iter().map(|problem| problem.expected).collect())
    }

    fn problems(toml: &str) -> Vec<String> {
        read(toml).1
    }

    #[test]
    fn an_mcp_server_whose_calls_nobody_will_approve_is_warned_of() {
        let warnings = |approval: &str| {
            let tool = format!("type = \"mcp\"\nserver_label = \"orders\"\n{approval}");
            let (agents, problems) = read(&format!("[agents.a]\nmodel = \"m\"\n[[agents.a.tools]]\n{tool}"));
            assert_eq!(problems, [""; 0]);
            agents.by_name["a"].approval_warnings().collect::<Vec<_>>().join("\n")
        };
        for waits in ["", "require_approval = \"always\""] {
            assert!(warnings(waits).contains("the agent a: nobody is asked"), "{waits:?}");
        }
        for goes in ["\"never\"", "{ never = { tool_names = [\"ask\"] } }"] {
            assert_eq!(warnings(&format!("require_approval = {goes}")), "");
        }
    }

    #[test]
    fn a_setting_that_openai_does_not_know_is_warned_of() {
        let warnings = |agent: &str| {
            let (agents, problems) = read(agent);
            assert_eq!(problems, [""; 0]);
            agents.by_name.values().flat_map(|agent| agent.setting_warnings()).collect::<Vec<_>>()
        };
        let good = "[agents.a]\nmodel = \"m\"\nreasoning = { effort = \"minimal\", summary = \"auto\" }";
        assert_eq!(warnings(good), [""; 0]);
        let odd = warnings(
            "[agents.\"a b\"]\nmodel = \"m\"\nreasoning = { effort = \"extreme\", summary = \"all\" }",
        );
        assert_eq!(odd.len(), 3, "{odd:?}");
        assert!(odd[0].starts_with("the agent a b: reasoning.effort is not one of "), "{odd:?}");
        assert!(odd[2].contains("has a blank in its name"), "{odd:?}");
    }

    #[test]
    fn what_no_model_takes_and_what_is_no_kind_here_is_named() {
        let tool = |tool: &str| format!("[[agents.a.tools]]\n{tool}");
        let client = "type = \"client\"\nname = \"x\"\nparameters = { type = \"string\" }";
        for (mistake, expected) in [
            ("api_key_env = \"OLLAMA_KEY\"", "api_key_env` names the variable OLLAMA_KEY, which is not set"),
            ("handoffs = [\"b\"]", "handoffs` is not a key that is known here"),
            (
                &tool("type = \"function\""),
                "type` is `function`, which is no kind here; a function of the page is `client`",
            ),
            (&tool("type = \"file_search\""), "vector_store_ids` must be there"),
            (&tool("type = \"file_search\"\nvector_store_ids = []"), "vector_store_ids` must be there"),
            (&tool(client), "parameters` must be the schema of an object"),
        ] {
            let found = problems(&format!("[agents.a]\nmodel = \"m\"\n{mistake}"));
            assert_eq!(found.len(), 1, "{mistake}: {found:?}");
            assert!(
                found[0].contains(expected) && !found[0].contains("did you mean"),
                "{mistake}: {found:?}"
            );
        }
    }

    #[test]
    fn each_mistake_in_a_file_is_named_with_its_place_and_without_its_value() {
        let agent = "[agents.a]\nmodel = \"m\"\n";
        let tool = "[agents.a]\nmodel = \"m\"\n[[agents.a.tools]]\n";
        let long = format!("type = \"client\"\nname = \"{}\"", "canary".repeat(11));
        for (start, mistake, expected) in [
            (
                agent,
                "modle = \"canary\"",
                "`agents.a.modle` is not a key that is known here; did you mean `model`?",
            ),
            ("defaults = 1\n", agent, "`defaults` is not a key that is known here; did you mean `default`?"),
            ("default = \"canary\"\n", agent, "`default` must be the name of an agent"),
            (agent, "[agents.b]\nmodel = \"m\"", "`default` must be there"),
            ("", "[agents]", "`agents` must hold an agent"),
            ("", "agents = \"canary\"\n", "`agents` must be a table"),
            ("", "[agents.a]", "`agents.a.model` must be there"),
            (agent, "instructions = 7", "`agents.a.instructions` must be a text"),
            (agent, "instructions_file = \"canary.md\"", "`agents.a.instructions_file` must name a readable"),
            (agent, "instructions = \"x\"\ninstructions_file = \"there.md\"", "stands beside `instructions`"),
            (
                agent,
                "model_api = \"canary\"",
                "`agents.a.model_api` must be `responses` or `chat-completions`",
            ),
            (agent, "base_url = \"canary\"", "`agents.a.base_url` must be an http or https address"),
            (agent, "base_url = \"https://api.openai.com/v1\"", "`agents.a.api_key_env` must be there"),
            (
                agent,
                "api_key_env = \"sk-canary\"",
                "`agents.a.api_key_env` must be the name of a variable that is set",
            ),
            (agent, "reasoning = { efort = \"canary\" }", "did you mean `effort`?"),
            (agent, "temperature = 2.1", "`agents.a.temperature` must be a number from 0 to 2"),
            (agent, "top_p = \"canary\"", "`agents.a.top_p` must be a number from 0 to 1"),
            (
                agent,
                "max_output_tokens = 15",
                "`agents.a.max_output_tokens` must be a whole number of 16 or more",
            ),
            (
                agent,
                "max_input_tokens = 0",
                "`agents.a.max_input_tokens` must be a whole number of 1 or more",
            ),
            (agent, "titles = \"canary\"", "`agents.a.titles` must be `true` or `false`"),
            (agent, "tools = \"canary\"", "`agents.a.tools` must be tables"),
            (tool, "type = \"canary\"", "`agents.a.tools[1].type` must be `web_search`"),
            (tool, "name = \"canary\"", "`agents.a.tools[1].type` must be there"),
            (tool, "type = \"mcp\"\nratio = nan", "`agents.a.tools[1]` holds a number that JSON has not"),
            (tool, "type = \"client\"", "`agents.a.tools[1].name` must be 1 to 64"),
            (tool, "type = \"client\"\nname = \"a canary\"", "`agents.a.tools[1].name` must be 1 to 64"),
            (tool, &long, "`agents.a.tools[1].name` must be 1 to 64"),
            (
                tool,
                "type = \"client\"\nname = \"x\"\nstrict = true",
                "`agents.a.tools[1].strict` is not a key",
            ),
            (
                tool,
                "type = \"client\"\nname = \"x\"\nparameters = 1",
                "`agents.a.tools[1].parameters` must be a table",
            ),
            (agent, "model = \"canary\"", "names a file that is no TOML: line 3: duplicate key"),
            (agent, "temperature = canary", "names a file that is no TOML: line 3: "),
        ] {
            let found = problems(&format!("{start}{mistake}"));
            assert_eq!(found.len(), 1, "{mistake}: {found:?}");
            assert!(found[0].contains(expected), "{mistake}: {found:?}");
            assert!(!found[0].contains("canary"), "{mistake}: {found:?}");
        }
        assert_eq!(
            problems(&format!("{agent}instructions_file = \"there.md\"")),
            [""; 0],
            "one agent is the default"
        );
    }

    #[test]
    fn all_mistakes_are_told_at_once_and_tools_must_fit_their_api() {
        let found = problems(
            "[agents.a]\ntemperature = 3\nmodel_api = \"chat-completions\"\n[[agents.a.tools]]\ntype = \"mcp\"\n\
             [[agents.a.tools]]\ntype = \"client\"\nname = \"x\"\n[[agents.a.tools]]\ntype = \"client\"\nname = \"x\"\n",
        );
        let expected =
            ["model` must be there", "temperature`", "tools[1].type` must be `client`", "tools[3].name`"];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert!(found.iter().zip(expected).all(|(found, expected)| found.contains(expected)), "{found:?}");
    }
}
