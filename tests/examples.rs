//! Do the examples do what they show? They run as the programs that they are, and are spoken to
//! over a socket; the one in the README is read.
#![cfg(test)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use chatkit_server::config::{Config, Mode};
use serde_json::{Value, json};

/// A running example.
struct Example {
    process: Child,
    url: String,
}

impl Example {
    /// Starts one that was built along with the tests, on a free port, with no variable but these.
    fn start(name: &str, vars: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary(name));
        // Not in the project's folder: a `.env` there would be read.
        command.env_clear().envs(vars.iter().copied()).current_dir(std::env::temp_dir());
        let mut process = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let stderr = process.stderr.take().expect("it is piped");
        BufReader::new(stderr).read_line(&mut line).expect("it says where it listens");
        assert!(line.starts_with("http://127.0.0.1:"), "{line}");
        Self { process, url: line.trim().to_owned() }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Cargo builds the examples before the tests, beside the folder of the tests' own binaries; but
/// with `--test examples` it does not, and then this is the one that was built last.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test has a binary");
    let folder = own.ancestors().nth(2).expect("it lies in target/PROFILE/deps");
    let path = folder.join("examples").join(name);
    assert!(path.exists(), "{} is not built: `cargo build --example {name}`", path.display());
    path
}

/// Sends a streaming request with this client secret; returns the events.
async fn events(
    http: &reqwest::Client,
    url: &str,
    secret: &str,
    kind: &str,
    params: Value,
) -> Vec<Value> {
    let request = http.post(format!("{url}/api/chatkit")).bearer_auth(secret);
    let response =
        request.json(&json!({"type": kind, "params": params})).send().await.expect("it answers");
    assert_eq!(response.status(), 200);
    let text = response.text().await.expect("the stream comes to its end");
    let events = text.split("\n\n").filter_map(|frame| frame.strip_prefix("data: "));
    events.map(|data| serde_json::from_str(data).expect("an event is JSON")).collect()
}

/// The events of this type.
fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// What an assistant message says, by its deltas; its end says the same.
fn spoken(events: &[Value]) -> String {
    let updates = of_type(events, "thread.item.updated");
    let of_message =
        |event: &&Value| event["update"]["type"] == "assistant_message.content_part.text_delta";
    let deltas = updates
        .into_iter()
        .filter(of_message)
        .filter_map(|event| event["update"]["delta"].as_str());
    let text: String = deltas.collect();
    let done = of_type(events, "thread.item.done");
    let message = done.into_iter().find(|event| event["item"]["type"] == "assistant_message");
    assert_eq!(message.expect("a message is said")["item"]["content"][0]["text"], *text);
    text
}

#[tokio::test]
async fn a_program_with_an_agent_of_its_own_streams_text_shows_a_widget_and_handles_its_button() {
    let example = Example::start("assistant", &[("PORT", "0")]);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client can be made");
    let minted = http.post(format!("{}/api/chatkit/session", example.url)).send().await;
    let session: Value = minted.expect("it answers").json().await.expect("it is JSON");
    let secret = session["client_secret"].as_str().unwrap_or_else(|| panic!("{session}"));
    let ask =
        async |kind: &str, params: Value| events(&http, &example.url, secret, kind, params).await;

    let content = json!([{"type": "input_text", "text": "hello"}]);
    let input = json!({"content": content, "attachments": [], "inference_options": {}});
    let answer = ask("threads.create", json!({"input": input})).await;
    assert_eq!(spoken(&answer), "You said: hello");
    let done = of_type(&answer, "thread.item.done");
    let widget = done.into_iter().find(|event| event["item"]["type"] == "widget");
    let widget = &widget.expect("a widget is shown")["item"];

    let action = &widget["widget"]["children"][1]["onClickAction"];
    let click =
        json!({"thread_id": answer[0]["thread"]["id"], "item_id": widget["id"], "action": action});
    let answer = ask("threads.custom_action", click).await;
    let replaced = of_type(&answer, "thread.item.replaced");
    assert_eq!(replaced.len(), 1, "{answer:?}");
    assert_eq!(replaced[0]["item"]["id"], widget["id"]);
    assert_eq!(replaced[0]["item"]["widget"]["children"][0]["value"], "Clicks: 1");
    assert_eq!(spoken(&answer), "That was a click.");
}

#[test]
fn the_agents_file_of_the_readme_can_be_used() {
    let readme = include_str!("../README.md");
    let file = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let folder = std::env::temp_dir().join(format!("chatkit-server-readme-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let path = folder.join("agents.toml");
    std::fs::write(&path, file.expect("there is one")).expect("a file can be written");
    std::fs::write(folder.join("support.md"), "You help customers.")
        .expect("a file can be written");
    let path = path.to_str().expect("it is UTF-8").to_owned();
    let config = Config::from_vars(&|name| match name {
        "CHATKIT_MODE" => Some("self-hosted".to_owned()),
        "CHATKIT_AGENTS" => Some(path.clone()),
        "OPENAI_API_KEY" | "OLLAMA_KEY" => Some("sk-any".to_owned()),
        "CHATKIT_SIGNING_KEY" => Some("a signing key of thirty-two bytes and more".to_owned()),
        "JWT_SECRET" => Some("a secret of thirty-two bytes and more".to_owned()),
        _ => None,
    });
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
    let Mode::SelfHosted(own) = config.unwrap_or_else(|problems| panic!("{problems:?}")).mode
    else {
        panic!("the mode is self-hosted")
    };
    assert_eq!(own.agents.default, "support");
    assert_eq!(own.agents.by_name.keys().collect::<Vec<_>>(), ["local", "support"]);
}
