//! The variables of self-hosted mode, and what is said of mistakes in them.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::config::agents::AgentConfig;
use crate::config::{Config, Mode};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const JWT_SECRET: &str = "the key of the site that signs its users in";

/// Reads a self-hosted configuration of these variables, over the least that is needed, and
/// these files.
fn read(
    set: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<(Config, SelfHostedConfig), Vec<String>> {
    let least = [
        ("CHATKIT_MODE", "self-hosted"),
        ("OPENAI_API_KEY", "sk-canary"),
        ("CHATKIT_SIGNING_KEY", KEY),
        ("CHATKIT_MODEL", "gpt-5.1"),
        ("JWT_SECRET", JWT_SECRET),
    ];
    let lookup = |name: &str| {
        let found = set.iter().chain(&least).find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let file = |path: &Path| {
        let found = files.iter().find(|(known, _)| Path::new(known) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let vars = Vars::new(&lookup).with_files(&file);
    let config = Config::read(&vars);
    let problems: Vec<_> = vars.into_problems().iter().map(ToString::to_string).collect();
    let Mode::SelfHosted(own) = &config.mode else { panic!("the mode is self-hosted") };
    let own = SelfHostedConfig::clone(own);
    if problems.is_empty() { Ok((config, own)) } else { Err(problems) }
}

fn good(set: &[(&str, &str)]) -> (Config, SelfHostedConfig) {
    read(set, &[]).unwrap_or_else(|problems| panic!("{set:?}: {problems:?}"))
}

fn one_problem(name: &str, value: &str) -> String {
    let problems = read(&[(name, value)], &[]).err().unwrap_or_default();
    assert_eq!(problems.len(), 1, "{name}={value}: {problems:?}");
    assert!(problems[0].starts_with(name), "{problems:?}");
    problems[0].clone()
}

fn agent(config: &SelfHostedConfig, name: &str) -> AgentConfig {
    AgentConfig::clone(&config.agents.by_name[name])
}

#[test]
fn a_key_of_ours_and_a_model_are_enough() {
    let (config, own) = good(&[]);
    assert_eq!(config.session_ttl_seconds, 600);
    assert_eq!(config.upstream.base.as_str(), "https://api.openai.com/v1");
    assert_eq!(own.database_url.expose(), "sqlite://data/chatkit.db");
    let dir = PathBuf::from("data/uploads");
    let quota = Some(1_073_741_824);
    let uploads =
        UploadsConfig { enabled: true, dir, max_bytes: 20_971_520, quota, max_files: None };
    assert_eq!(own.uploads, uploads);
    assert_eq!(own.history, History { enabled: true, recent_threads: None });
    assert_eq!(own.dictation, Dictation { enabled: true, model: "gpt-4o-transcribe".to_owned() });
    assert_eq!((own.retention, own.on_disconnect), (None, OnDisconnect::Cancel));
    assert_eq!(own.domain_key, "domain_pk_localhost_dev");
    let agent = agent(&own, "default");
    assert_eq!((own.agents.default.as_str(), agent.model.as_str()), ("default", "gpt-5.1"));
    assert_eq!((agent.instructions, agent.max_input_tokens, agent.titles), (None, 100_000, true));
    assert_eq!(agent.endpoint.api, ModelApi::Responses);
    assert_eq!(agent.endpoint.api_key.as_ref().map(Secret::expose), Some("sk-canary"));
}

#[test]
fn every_variable_says_what_it_says() {
    let (config, own) = good(&[
        ("DATABASE_URL", "postgres://u:p@db/chat"),
        ("CHATKIT_INSTRUCTIONS", "Be kind."),
        ("CHATKIT_MODEL_API", "chat-completions"),
        ("CHATKIT_SESSION_TTL_SECONDS", "3600"),
        ("CHATKIT_UPLOADS_DIR", "/srv/uploads"),
        ("CHATKIT_UPLOAD_MAX_BYTES", "5000000"),
        ("CHATKIT_UPLOAD_QUOTA_BYTES", "0"),
        ("CHATKIT_FILE_UPLOAD", "on,max_file_size_mb=2,max_files=3"),
        ("CHATKIT_DICTATION", "off"),
        ("CHATKIT_TRANSCRIPTION_MODEL", "whisper-1"),
        ("CHATKIT_HISTORY", "off"),
        ("CHATKIT_THREAD_TITLES", "off"),
        ("CHATKIT_RETENTION_DAYS", "30"),
        ("CHATKIT_ON_DISCONNECT", "finish"),
        ("CHATKIT_DOMAIN_KEY", "domain_pk_1"),
    ]);
    assert_eq!((config.session_ttl_seconds, own.domain_key.as_str()), (3600, "domain_pk_1"));
    assert_eq!(own.database_url.expose(), "postgres://u:p@db/chat");
    let dir = PathBuf::from("/srv/uploads");
    let uploads =
        UploadsConfig { enabled: true, dir, max_bytes: 2_097_152, quota: None, max_files: Some(3) };
    assert_eq!(own.uploads, uploads, "the smaller of two sizes counts");
    assert_eq!(own.dictation, Dictation { enabled: false, model: "whisper-1".to_owned() });
    assert!(!own.history.enabled);
    assert_eq!(own.retention, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(own.on_disconnect, OnDisconnect::Finish);
    let agent = agent(&own, "default");
    assert_eq!((agent.instructions.as_deref(), agent.titles), (Some("Be kind."), false));
    assert_eq!(agent.endpoint.api, ModelApi::ChatCompletions);
    assert!(!good(&[("CHATKIT_FILE_UPLOAD", "off")]).1.uploads.enabled);
}

#[test]
fn what_is_no_value_of_a_variable_is_a_problem() {
    for (name, bad) in [
        ("DATABASE_URL", "canary"),
        ("DATABASE_URL", "mysql://canary/chat"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:canary"),
        ("CHATKIT_SIGNING_KEY", ""),
        ("CHATKIT_SIGNING_KEY", "canary"),
        ("CHATKIT_SIGNING_KEY", ","),
        ("CHATKIT_SIGNING_KEY", JWT_SECRET),
        ("CHATKIT_MODEL", ""),
        ("CHATKIT_MODEL", " "),
        ("CHATKIT_MODEL_API", "canary"),
        ("OPENAI_BASE_URL", "canary"),
        ("OPENAI_API_KEY", ""),
        ("CHATKIT_SESSION_TTL_SECONDS", "59"),
        ("CHATKIT_SESSION_TTL_SECONDS", "3601"),
        ("CHATKIT_UPLOAD_MAX_BYTES", "20MiB"),
        ("CHATKIT_UPLOAD_MAX_BYTES", "0"),
        ("CHATKIT_UPLOAD_QUOTA_BYTES", "1GiB"),
        ("CHATKIT_FILE_UPLOAD", "canary"),
        ("CHATKIT_DICTATION", "canary"),
        ("CHATKIT_TRANSCRIPTION_MODEL", " "),
        ("CHATKIT_HISTORY", "canary"),
        ("CHATKIT_THREAD_TITLES", "canary"),
        ("CHATKIT_RETENTION_DAYS", "-1"),
        ("CHATKIT_ON_DISCONNECT", "canary"),
        ("CHATKIT_DOMAIN_KEY", "a canary"),
        ("CHATKIT_AGENTS", "canary.toml"),
    ] {
        assert!(!one_problem(name, bad).contains("canary"), "{name}: the value is not shown");
    }
    for fine in [
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite:///srv/chat.db",
        "postgresql:///chat?host=/run/pg",
    ] {
        good(&[("DATABASE_URL", fine)]);
    }
}

#[test]
fn several_signing_keys_are_each_long_enough_and_none_is_the_users() {
    let two = format!("{}, {KEY},", "n".repeat(32));
    let keys = good(&[("CHATKIT_SIGNING_KEY", &two)]).1.signing_keys;
    assert_eq!(keys.iter().map(Secret::expose).collect::<Vec<_>>(), ["n".repeat(32).as_str(), KEY]);
    one_problem("CHATKIT_SIGNING_KEY", &format!("{KEY},short"));
    assert!(
        one_problem("CHATKIT_SIGNING_KEY", &format!("{KEY},{JWT_SECRET}")).contains("JWT_SECRET")
    );
}

#[test]
fn the_variables_of_the_other_mode_are_not_read() {
    good(&[("CHATKIT_WORKFLOW_ID", "?"), ("CHATKIT_WORKFLOWS", "?"), ("CHATKIT_API_BASE", "?")]);
    let hosted =
        [("CHATKIT_MODE", "hosted"), ("CHATKIT_WORKFLOW_ID", "wf_1"), ("OPENAI_API_KEY", "sk-1")];
    let others =
        [("DATABASE_URL", "?"), ("CHATKIT_SIGNING_KEY", "?"), ("CHATKIT_AGENTS", "/nowhere")];
    let set = [&hosted[..], &others, &[("JWT_SECRET", JWT_SECRET)]].concat();
    let lookup = |name: &str| {
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    assert!(Config::from_vars(&lookup).is_ok());
}

#[test]
fn an_agents_file_says_who_answers() {
    let toml = r#"
        default = "support"
        [agents.support]
        model = "gpt-5.1"
        instructions_file = "there.md"
        reasoning = { effort = "low", summary = "auto" }
        temperature = 0.7
        top_p = 1
        max_output_tokens = 4000
        max_input_tokens = 50000
        titles = false
        [[agents.support.tools]]
        type = "file_search"
        vector_store_ids = ["vs_1"]
        filters = { score = 0.5, since = 2026-01-02 }
        [[agents.support.tools]]
        type = "client"
        name = "get_selected_items"
        description = "What the user has selected"
        parameters = { type = "object", properties = { project = { type = "string" } }, required = ["project"] }
        [[agents.support.tools]]
        type = "client"
        name = "reload"
        [agents.local]
        model = "llama"
        instructions = "Be brief."
        model_api = "chat-completions"
        base_url = "http://127.0.0.1:11434/v1/"
        api_key_env = "LOCAL_KEY"
    "#;
    let set =
        [("CHATKIT_AGENTS", "conf/agents.toml"), ("CHATKIT_MODEL", ""), ("LOCAL_KEY", "local")];
    let files = [("conf/agents.toml", toml), ("conf/there.md", "Be kind.")];
    let (_, own) = read(&set, &files).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(own.agents.default, "support");
    assert_eq!(own.agents.by_name.keys().collect::<Vec<_>>(), ["local", "support"]);
    let support = agent(&own, "support");
    assert_eq!(support.instructions.as_deref(), Some("Be kind."));
    assert_eq!(support.reasoning, Some(json!({"effort": "low", "summary": "auto"})));
    assert_eq!((support.temperature, support.top_p), (Some(0.7), Some(1.0)));
    assert_eq!((support.max_output_tokens, support.max_input_tokens), (Some(4000), 50_000));
    assert_eq!(
        (support.titles, support.endpoint.base_url.as_str()),
        (false, "https://api.openai.com/v1")
    );
    let filters = json!({"score": 0.5, "since": "2026-01-02"});
    let search = json!({"type": "file_search", "vector_store_ids": ["vs_1"], "filters": filters});
    assert_eq!(support.hosted_tools, [search]);
    assert_eq!(support.client_tools[0].name, "get_selected_items");
    let project = json!({"project": {"type": "string"}});
    let parameters = json!({"type": "object", "properties": project, "required": ["project"]});
    assert_eq!(support.client_tools[0].parameters, parameters);
    assert_eq!(support.client_tools[1].parameters["type"], "object", "a tool without arguments");
    let local = agent(&own, "local");
    assert_eq!((local.endpoint.api, local.reasoning), (ModelApi::ChatCompletions, None));
    assert_eq!(local.endpoint.base_url.as_str(), "http://127.0.0.1:11434/v1");
    assert_eq!(local.endpoint.api_key.as_ref().map(Secret::expose), Some("local"));
}

#[test]
fn a_key_that_goes_to_another_server_is_warned_of() {
    let warnings = |more: &str| {
        let text =
            format!("[agents.a]\nmodel = \"m\"\nbase_url = \"https://other.example/v1\"\n{more}");
        let set = [
            ("CHATKIT_AGENTS", "agents.toml"),
            ("OTHER_KEY", "canary-2"),
            ("OPENAI_API_KEY", "sk-canary"),
        ];
        let read = read(&set, &[("agents.toml", &text)]);
        read.unwrap_or_else(|problems| panic!("{problems:?}")).0.warnings().join("\n")
    };
    let lent = warnings("");
    assert!(lent.contains("the agent a sends OPENAI_API_KEY to other.example"), "{lent}");
    assert!(!lent.contains("canary"), "{lent}");
    assert_eq!(warnings("api_key_env = \"OTHER_KEY\""), "");
}
