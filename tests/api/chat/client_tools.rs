//! Whatever a person, a page and a network do around the tools of the page: what goes to the model
//! pairs calls and outputs, and the thread answers the next message.

use std::collections::HashSet;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::client::{Client, add, create, thread_of};
use super::setting::{Model, goes_on, retry, server, user};
use crate::process::TempFolder;
use crate::support::server::TestServer;

const AGENTS: &str = r#"
default = "support"
[agents.support]
model = "gpt-5.1"
[[agents.support.tools]]
type = "client"
name = "get_selected_items"
parameters = { type = "object", properties = { project = { type = "string" } }, required = ["project"] }
[[agents.support.tools]]
type = "client"
name = "reload"
"#;

/// Something that happens to a thread.
#[derive(Debug, Clone)]
enum Step {
    /// A message, with a word for the model.
    Message(&'static str),
    /// A message whose answer is cut off after so many pieces.
    Cut(&'static str, usize),
    /// An output, this one or the last one again, whether a call waits for it or not.
    Output(u8),
    /// An output whose answer is cut off after so many pieces.
    OutputCut(usize),
    /// The first message is to be answered anew, or the last one; cut off after so many pieces, or
    /// not.
    Retry { first: bool, cut: Option<usize> },
    /// Answers to questions that nobody asked.
    Answers,
    /// Something done in a widget.
    Action,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let word = || {
        prop_oneof![
            2 => Just("hello"),
            4 => Just("tool"),
            2 => Just("tools"),
            1 => Just("reload tool"),
            1 => Just("think tool"),
            1 => Just("fail"),
            1 => Just("cut"),
            1 => Just("tool incomplete"),
            1 => Just("error 500"),
        ]
    };
    let step = prop_oneof![
        4 => word().prop_map(Step::Message),
        3 => (word(), 0..12_usize).prop_map(|(word, events)| Step::Cut(word, events)),
        6 => (0..3_u8).prop_map(Step::Output),
        2 => (0..8_usize).prop_map(Step::OutputCut),
        2 => (any::<bool>(), proptest::option::of(0..10_usize)).prop_map(|(first, cut)| Step::Retry { first, cut }),
        1 => Just(Step::Answers),
        1 => Just(Step::Action),
    ];
    proptest::collection::vec(step, 1..9)
}

/// A thread to which things happen.
struct Play<'a> {
    ada: Client,
    model: &'a Model,
    thread: String,
}

impl Play<'_> {
    async fn step(&self, step: &Step) {
        let of_thread = |kind: &str, mut params: Value| {
            params["thread_id"] = json!(self.thread);
            json!({"type": kind, "params": params})
        };
        let output =
            |result: Value| of_thread("threads.add_client_tool_output", json!({"result": result}));
        let (body, cut) = match step {
            Step::Message(word) => (add(&self.thread, word), None),
            Step::Cut(word, events) => {
                (add(&self.thread, &format!("{word} delay 2")), Some(*events))
            }
            Step::Output(0) => (output(json!(null)), None),
            Step::Output(number) => (output(json!({"selected": number})), None),
            Step::OutputCut(events) => (output(json!("cut")), Some(*events)),
            Step::Retry { first, cut } => {
                let mut messages = self.ada.items(&self.thread).await;
                messages.retain(|item| item["type"] == "user_message");
                let message = if *first { messages.first() } else { messages.last() };
                (retry(&self.thread, message.expect("a first message")), *cut)
            }
            Step::Answers => {
                let params =
                    json!({"item_id": "msg_none", "input": {"status": "answered", "answers": {}}});
                (of_thread("threads.add_structured_input", params), None)
            }
            Step::Action => {
                (of_thread("threads.custom_action", json!({"action": {"type": "none"}})), None)
            }
        };
        self.send(&body, cut).await;
        self.last_question_is_paired().await;
    }

    /// A stream is read to its last event, or cut off after so many pieces. What is refused is
    /// refused with 404 or 409.
    async fn send(&self, body: &Value, cut: Option<usize>) {
        let mut response = self.ada.post(body, &[]).await;
        let status = response.status().as_u16();
        if status != 200 {
            assert!([404, 409].contains(&status), "{status} to {body}");
            return;
        }
        let mut heard = Vec::new();
        for _ in 0..cut.unwrap_or(usize::MAX) {
            match response.chunk().await.expect("a stream does not break") {
                Some(piece) => heard.extend(piece),
                None => {
                    let heard = String::from_utf8_lossy(&heard);
                    let last = heard.trim_end().rsplit("\n\n").next().unwrap_or_default();
                    let is_last =
                        ["error", "thread.item.done", "stream_options", "thread.item.replaced"];
                    let is_end = is_last
                        .iter()
                        .any(|kind| last.starts_with(&format!("data: {{\"type\":\"{kind}\"")));
                    assert!(is_end, "the end of {heard}");
                    return;
                }
            }
        }
    }

    async fn last_question_is_paired(&self) {
        let input = self.model.last_input().await;
        let mut open = HashSet::new();
        for item in &input {
            match item["type"].as_str() {
                Some("function_call") => assert!(open.insert(&item["call_id"]), "{input:#?}"),
                Some("function_call_output") => {
                    assert!(open.remove(&item["call_id"]), "{input:#?}")
                }
                _ => assert!(open.is_empty(), "an output comes right behind its call: {input:#?}"),
            }
        }
        assert!(open.is_empty(), "{input:#?}");
    }
}

async fn play(server: &TestServer, model: &Model, steps: &[Step]) {
    let ada = user(server, "ada");
    let thread = thread_of(&ada.events(&create("tool")).await);
    let play = Play { ada, model, thread };
    for step in steps {
        play.step(step).await;
    }
    goes_on(&play.ada, &play.thread).await;
    play.last_question_is_paired().await;
}

fn whatever_happens(policy: &str) {
    let folder = TempFolder::new("client-tools");
    let path = folder.write("agents.toml", AGENTS);
    let model = Model::start();
    let vars = [
        ("CHATKIT_AGENTS", path.as_str()),
        ("CHATKIT_MODEL", ""),
        ("CHATKIT_ON_DISCONNECT", policy),
    ];
    let server = server(&model.base(), &vars);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let config =
        Config { cases: 40, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let played = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(play(&server, &model, &steps));
        Ok(())
    });
    played.unwrap_or_else(|failed| panic!("{failed}\n{}", server.logs()));
}

#[test]
fn under_cancel_a_thread_is_never_poisoned() {
    whatever_happens("cancel");
}

#[test]
fn under_finish_a_thread_is_never_poisoned() {
    whatever_happens("finish");
}
