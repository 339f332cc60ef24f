//! Agents files, and what is said of mistakes in them.

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
        let (agents, problems) =
            read(&format!("[agents.a]\nmodel = \"m\"\n[[agents.a.tools]]\n{tool}"));
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
    let good =
        "[agents.a]\nmodel = \"m\"\nreasoning = { effort = \"minimal\", summary = \"auto\" }";
    assert_eq!(warnings(good), [""; 0]);
    let odd = warnings(
        "[agents.\"a b\"]\nmodel = \"m\"\nreasoning = \
         { effort = \"extreme\", summary = \"all\" }",
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
        (
            "api_key_env = \"OLLAMA_KEY\"",
            "api_key_env` names the variable OLLAMA_KEY, which is not set",
        ),
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
    for (start, mistake, expected) in [
        (
            agent,
            "modle = \"canary\"",
            "`agents.a.modle` is not a key that is known here; did you mean `model`?",
        ),
        (
            "defaults = 1\n",
            agent,
            "`defaults` is not a key that is known here; did you mean `default`?",
        ),
        ("default = \"canary\"\n", agent, "`default` must be the name of an agent"),
        (agent, "[agents.b]\nmodel = \"m\"", "`default` must be there"),
        ("", "[agents]", "`agents` must hold an agent"),
        ("", "agents = \"canary\"\n", "`agents` must be a table"),
        ("", "[agents.a]", "`agents.a.model` must be there"),
        (agent, "instructions = 7", "`agents.a.instructions` must be a text"),
        (
            agent,
            "instructions_file = \"canary.md\"",
            "`agents.a.instructions_file` must name a readable",
        ),
        (
            agent,
            "instructions = \"x\"\ninstructions_file = \"there.md\"",
            "stands beside `instructions`",
        ),
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
        (agent, "model = \"canary\"", "names a file that is no TOML: line 3: duplicate key"),
        (agent, "temperature = canary", "names a file that is no TOML: line 3: "),
    ] {
        assert_one_problem(start, mistake, expected);
    }
    assert_eq!(
        problems(&format!("{agent}instructions_file = \"there.md\"")),
        [""; 0],
        "one agent is the default"
    );
}

#[test]
fn each_mistake_in_a_tool_is_named_with_its_place_and_without_its_value() {
    let tool = "[agents.a]\nmodel = \"m\"\n[[agents.a.tools]]\n";
    let long = format!("type = \"client\"\nname = \"{}\"", "canary".repeat(11));
    for (mistake, expected) in [
        ("type = \"canary\"", "`agents.a.tools[1].type` must be `web_search`"),
        ("name = \"canary\"", "`agents.a.tools[1].type` must be there"),
        ("type = \"mcp\"\nratio = nan", "`agents.a.tools[1]` holds a number that JSON has not"),
        ("type = \"client\"", "`agents.a.tools[1].name` must be 1 to 64"),
        ("type = \"client\"\nname = \"a canary\"", "`agents.a.tools[1].name` must be 1 to 64"),
        (&long, "`agents.a.tools[1].name` must be 1 to 64"),
        (
            "type = \"client\"\nname = \"x\"\nstrict = true",
            "`agents.a.tools[1].strict` is not a key",
        ),
        (
            "type = \"client\"\nname = \"x\"\nparameters = 1",
            "`agents.a.tools[1].parameters` must be a table",
        ),
    ] {
        assert_one_problem(tool, mistake, expected);
    }
}

/// Only this is wrong with the file. The value that is wrong is not told.
fn assert_one_problem(start: &str, mistake: &str, expected: &str) {
    let found = problems(&format!("{start}{mistake}"));
    assert_eq!(found.len(), 1, "{mistake}: {found:?}");
    assert!(found[0].contains(expected), "{mistake}: {found:?}");
    assert!(!found[0].contains("canary"), "{mistake}: {found:?}");
}

#[test]
fn all_mistakes_are_told_at_once_and_tools_must_fit_their_api() {
    let found = problems(
        "[agents.a]\ntemperature = 3\nmodel_api = \
         \"chat-completions\"\n[[agents.a.tools]]\ntype = \"mcp\"\n\
         [[agents.a.tools]]\ntype = \"client\"\nname = \"x\"\n[[agents.a.tools]]\ntype = \
         \"client\"\nname = \"x\"\n",
    );
    let expected = [
        "model` must be there",
        "temperature`",
        "tools[1].type` must be `client`",
        "tools[3].name`",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    assert!(
        found.iter().zip(expected).all(|(found, expected)| found.contains(expected)),
        "{found:?}"
    );
}
