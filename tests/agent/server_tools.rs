//! What does a person see of a server that runs its tools itself? One answer, with a task for each
//! call.

use chatkit_server::agent::{AgentError, AgentEvent};
use serde_json::{Value, json};

use crate::setup::{Model, agent, agent_of, answer, frame, message};

fn call(id: &str, name: &str) -> Value {
    json!({"type": "response.output_item.done", "item": {"type": "function_call", "id": "fc", "call_id": id,
        "name": name, "arguments": "{}"}})
}

fn output(id: &str) -> Value {
    json!({"type": "response.output_item.done", "item": {"type": "function_call_output", "id": "fco", "call_id": id,
        "output": "secret"}})
}

fn said(text: &str) -> Value {
    json!({"type": "response.output_item.done", "item": {"type": "message", "id": "m",
        "content": [{"type": "output_text", "text": text, "annotations": []}]}})
}

fn completed() -> Value {
    json!({"type": "response.completed", "response": {}})
}

/// The events of an answer as the wire has them, in short: tasks with their titles and states, and
/// items that are done.
fn shown(events: &[AgentEvent]) -> Vec<String> {
    let words = |event: &AgentEvent| match event {
        AgentEvent::ItemUpdated { update, .. } => {
            let update = serde_json::to_value(update).expect("it is JSON");
            let task = &update["task"];
            let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
            format!(
                "{} {} {}",
                text(&task["type"]),
                text(&task["title"]),
                text(&task["status_indicator"])
            )
        }
        AgentEvent::ItemAdded(item) => format!("added {}", kind(item)),
        AgentEvent::ItemDone(item) => format!("done {}", kind(item)),
        AgentEvent::ItemKept(item) => format!("kept {}", kind(item)),
        other => format!("{other:?}"),
    };
    events.iter().map(words).collect()
}

fn kind(item: &chatkit_server::protocol::Item) -> String {
    let item = serde_json::to_value(item).expect("it is JSON");
    let text = item["content"][0]["text"].as_str().unwrap_or_default();
    format!("{} {text}", item["type"].as_str().expect("a type")).trim_end().to_owned()
}

async fn outcome(stream: &[Value]) -> (Vec<AgentEvent>, Result<(), AgentError>) {
    let model = Model::start([(200, stream.iter().map(frame).collect())]).await;
    answer(&agent(&model.base, &[]), &[message("Hi", &json!({}))]).await
}

const TASKED: [&str; 5] = [
    "added workflow",
    "custom Get order loading",
    "custom Get order complete",
    "done workflow",
    "done assistant_message It is on its way.",
];

#[tokio::test]
async fn a_call_that_comes_with_its_output_is_a_task_and_no_error() {
    let last = said("It is on its way.");
    let one = [call("c", "get_order"), output("c"), last.clone(), completed()];
    let two = [call("c", "get_order"), completed(), output("c"), last.clone(), completed()];
    let unsaid = [call("c", "get_order"), completed(), last.clone(), completed()];
    for stream in [&one[..], &two[..], &unsaid[..]] {
        let (events, outcome) = outcome(stream).await;
        assert_eq!(outcome, Ok(()), "{stream:#?}");
        assert_eq!(shown(&events), TASKED, "{stream:#?}");
        assert!(
            !format!("{events:?}").contains("secret"),
            "the client does not get what a tool returns"
        );
    }
}

#[tokio::test]
async fn a_call_of_the_pages_tool_waits_for_the_page_unless_it_comes_with_its_output() {
    let tool = "[[agents.main.tools]]\ntype = \"client\"\nname = \"get_order\"\ndescription = \
                \"d\"\n\
                parameters = { type = \"object\" }\n";
    let waits = [call("c", "get_order"), completed()];
    let last = said("It is on its way.");
    let answered = [call("c", "get_order"), output("c"), completed(), last, completed()];
    for (name, stream, expected) in [
        ("waits", &waits[..], vec!["done client_tool_call"]),
        ("answered", &answered[..], TASKED.to_vec()),
    ] {
        let model = Model::start([(200, stream.iter().map(frame).collect())]).await;
        let agent = agent_of(&model.base, name, tool);
        let (events, outcome) = answer(&agent, &[message("Hi", &json!({}))]).await;
        assert_eq!(
            (shown(&events), outcome),
            (expected.iter().map(|&one| one.to_owned()).collect(), Ok(()))
        );
    }
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_an_error_at_the_end() {
    let (events, outcome) = outcome(&[said("Hm."), call("c", "rm"), completed()]).await;
    assert_eq!(shown(&events), ["done assistant_message Hm."]);
    let Err(AgentError::Failed { cause, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(cause, "the model called a function that it was not given: \"rm\"");
}

#[tokio::test]
async fn an_answer_of_too_much_text_is_given_up() {
    let delta = json!({"type": "response.output_text.delta", "item_id": "m", "content_index": 0,
        "delta": "x".repeat(2 * 1024 * 1024)});
    let (_, outcome) =
        outcome(&[delta.clone(), delta.clone(), delta.clone(), delta.clone(), delta]).await;
    let Err(AgentError::Failed { cause, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(cause, "the model said more than 8388608 bytes in one answer");
}
