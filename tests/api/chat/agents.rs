//! A server of the Responses API that is an agent itself: its tools are tasks, and its several
//! responses one answer.

use serde_json::{Value, json};

use super::client::{create, text, thread_of};
use super::model::{delta, opening, stream};
use super::setting::{answer_of, server, user};
use crate::support::upstream::{Reply, ScriptedUpstream};

fn item(item: &Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": 0, "item": item})
}

fn call(name: &str) -> Value {
    item(
        &json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": "{}"}),
    )
}

fn output() -> Value {
    item(
        &json!({"type": "function_call_output", "id": "fco_1", "call_id": "call_1", "output": "on its way"}),
    )
}

fn message(words: &str) -> Value {
    item(&json!({"type": "message", "id": "msg_m", "role": "assistant",
        "content": [{"type": "output_text", "text": words, "annotations": []}]}))
}

fn completed() -> Value {
    json!({"type": "response.completed", "response": {"id": "resp_1", "output": [],
        "usage": {"input_tokens": 10, "output_tokens": 5}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_a_server_runs_itself_are_tasks_and_its_responses_are_one_answer() {
    let prefixed = json!({"type": "acme:progress", "text": "x"});
    let own = item(&json!({"type": "acme:thing", "id": "x_1"}));
    let events = [
        opening(),
        vec![delta("Let me look."), message("Let me look."), call("get_order_status"), completed()],
        vec![prefixed, own, output()],
        opening(),
        vec![delta("It is on its way."), message("It is on its way."), completed()],
    ]
    .concat();
    let upstream = ScriptedUpstream::start([stream(&events)]).await;
    let server = server(&format!("{}/v1", upstream.base()), &[]);
    let ada = user(&server, "ada");
    let events = ada.events(&create("where is it?")).await;
    assert_eq!(answer_of(&events), "It is on its way.");
    assert!(events.iter().all(|event| event["type"] != "error"), "{events:#?}");
    let tasks: Vec<_> = events.iter().filter(|event| event["update"]["task"].is_object()).collect();
    let states: Vec<_> =
        tasks.iter().map(|event| &event["update"]["task"]["status_indicator"]).collect();
    assert_eq!(states, ["loading", "complete"], "{tasks:#?}");
    assert_eq!(tasks[0]["update"]["task"]["title"], "Get order status");
    let items = ada.items(&thread_of(&events)).await;
    let kinds: Vec<_> = items.iter().map(|item| item["type"].as_str().expect("a type")).collect();
    assert_eq!(kinds, ["user_message", "assistant_message", "workflow", "assistant_message"]);
    assert_eq!((text(&items[1]), text(&items[3])), ("Let me look.", "It is on its way."));
    assert_eq!(items[2]["workflow"]["tasks"][0]["type"], "custom");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_says_done_and_no_more_ends_the_answer() {
    let frames = super::model::frames(&[opening(), vec![delta("Hi."), message("Hi.")]].concat());
    let reply = Reply::text(200, &format!("{frames}data: [DONE]\n\n"));
    let upstream =
        ScriptedUpstream::start([reply.header("content-type", "text/event-stream").chunked()])
            .await;
    let server = server(&format!("{}/v1", upstream.base()), &[]);
    let events = user(&server, "ada").events(&create("hello")).await;
    assert_eq!(answer_of(&events), "Hi.");
    assert!(events.iter().all(|event| event["type"] != "error"), "{events:#?}");
}
