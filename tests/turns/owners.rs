//! Whose is what? Everything belongs to a user within a workflow, and to nobody else can it be seen
//! or changed.

use serde_json::{Value, json};

use crate::support::client::{create, thread_of, types};
use crate::support::parrot::parrot;
use crate::support::server::{Server, Setup};

/// Every request that names something, with what it names to be filled in.
fn requests(thread: &str, item: &str) -> Vec<(&'static str, Value)> {
    let message = json!({"content": [{"type": "input_text", "text": "mine?"}]});
    vec![
        ("threads.get_by_id", json!({"thread_id": thread})),
        ("threads.update", json!({"thread_id": thread, "title": "mine"})),
        ("threads.list", json!({"after": thread})),
        ("items.list", json!({"thread_id": thread})),
        ("items.list", json!({"thread_id": thread, "after": item})),
        ("items.feedback", json!({"thread_id": thread, "item_ids": [item], "kind": "negative"})),
        ("threads.add_user_message", json!({"thread_id": thread, "input": message})),
        ("threads.add_client_tool_output", json!({"thread_id": thread, "result": 1})),
        (
            "threads.add_structured_input",
            json!({"thread_id": thread, "item_id": item, "input": {}}),
        ),
        ("threads.retry_after_item", json!({"thread_id": thread, "item_id": item})),
        (
            "threads.custom_action",
            json!({"thread_id": thread, "item_id": item, "action": {"type": "a"}}),
        ),
        (
            "threads.sync_custom_action",
            json!({"thread_id": thread, "item_id": item, "action": {"type": "a"}}),
        ),
        ("threads.delete", json!({"thread_id": thread})),
    ]
}

#[tokio::test]
async fn what_is_anothers_and_what_is_not_there_are_the_same_in_every_request() {
    let server = Server::start(Setup { agent: Some(parrot()), ..Setup::default() }).await;
    let (ada, bob) = (server.user("ada"), server.user("bob"));
    let events = ada.events(&create("tool")).await;
    let (thread, item) = (thread_of(&events), events[1]["item"]["id"].as_str().unwrap());
    let before = ada.ask("threads.get_by_id", json!({"thread_id": thread})).await;
    let (no_thread, no_item) =
        (format!("thr_{}", "0".repeat(32)), format!("msg_{}", "0".repeat(32)));
    let missing = requests(&no_thread, &no_item);
    for ((kind, params), (_, missing)) in requests(&thread, item).into_iter().zip(missing) {
        let foreign = bob.ask(kind, params).await;
        assert_eq!(foreign.0, 404, "{kind}: {}", foreign.1);
        assert_eq!(foreign, bob.ask(kind, missing).await, "{kind}");
    }
    assert_eq!(
        ada.ask("threads.get_by_id", json!({"thread_id": thread})).await,
        before,
        "nothing changed"
    );
}

#[tokio::test]
async fn an_item_of_another_thread_is_not_there() {
    let server = Server::start(Setup { agent: Some(parrot()), ..Setup::default() }).await;
    let ada = server.user("ada");
    let one = thread_of(&ada.events(&create("one")).await);
    let other = ada.events(&create("other")).await;
    let item = other[1]["item"]["id"].as_str().unwrap();
    let of_item = [
        "items.feedback",
        "threads.add_structured_input",
        "threads.retry_after_item",
        "threads.custom_action",
        "threads.sync_custom_action",
    ];
    for (kind, params) in
        requests(&one, item).into_iter().filter(|(kind, _)| of_item.contains(kind))
    {
        assert_eq!(ada.ask(kind, params).await.0, 404, "{kind}");
    }
    let (status, _) = ada.ask("items.list", json!({"thread_id": one, "after": item})).await;
    assert_eq!(status, 404, "a cursor of another thread");
}

#[tokio::test]
async fn each_user_lists_their_own_threads_and_deletes_them_for_good() {
    let server = Server::start(Setup { agent: Some(parrot()), ..Setup::default() }).await;
    let (ada, bob) = (server.user("ada"), server.user("bob"));
    let mut made = Vec::new();
    for text in ["one", "two", "three"] {
        made.push(thread_of(&ada.events(&create(text)).await));
    }
    assert_eq!(bob.ask("threads.list", json!({})).await.1, json!({"data": [], "has_more": false}));
    let (_, page) = ada.ask("threads.list", json!({"limit": 2})).await;
    let ids = |page: &Value| -> Vec<String> {
        let data = page["data"].as_array().unwrap().iter();
        data.map(|thread| thread["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&page), [made[2].clone(), made[1].clone()], "the newest first");
    assert_eq!((&page["has_more"], &page["after"]), (&json!(true), &json!(made[1])));
    assert_eq!(page["data"][0]["items"], json!({"data": [], "has_more": false}));
    let (_, rest) = ada.ask("threads.list", json!({"limit": 2, "after": made[1]})).await;
    assert_eq!(
        (ids(&rest), &rest["has_more"], rest.get("after")),
        (vec![made[0].clone()], &json!(false), None)
    );

    assert_eq!(ada.ask("threads.delete", json!({"thread_id": made[0]})).await, (200, json!({})));
    assert_eq!(ada.ask("threads.get_by_id", json!({"thread_id": made[0]})).await.0, 404);
    assert_eq!(types(&ada.items(&made[1]).await).len(), 2, "the others stay");
}

#[tokio::test]
async fn a_title_has_an_end() {
    let server = Server::start(Setup { agent: Some(parrot()), ..Setup::default() }).await;
    let ada = server.user("ada");
    let thread = thread_of(&ada.events(&create("hi")).await);
    let rename = |length: usize| json!({"thread_id": thread, "title": "é".repeat(length)});
    assert_eq!(ada.ask("threads.update", rename(500)).await.0, 200);
    let (status, refusal) = ada.ask("threads.update", rename(501)).await;
    assert_eq!((status, &refusal["error"]["code"]), (400, &json!("invalid_request")));
}

#[tokio::test]
async fn feedback_is_noted_for_items_that_are_there() {
    let server = Server::start(Setup { agent: Some(parrot()), ..Setup::default() }).await;
    let ada = server.user("ada");
    let thread = thread_of(&ada.events(&create("hi")).await);
    let answer = ada.items(&thread).await[1]["id"].clone();
    let feedback = |ids: Value| json!({"thread_id": thread, "item_ids": ids, "kind": "positive"});
    assert_eq!(ada.ask("items.feedback", feedback(json!([answer]))).await, (200, json!({})));
    assert_eq!(ada.ask("items.feedback", feedback(json!([answer, "msg_0"]))).await.0, 404);
}

#[tokio::test]
async fn feedback_for_very_many_items_at_once_is_refused() {
    let server = Server::start(Setup { agent: Some(parrot()), ..Setup::default() }).await;
    let ada = server.user("ada");
    let events = ada.events(&create("hi")).await;
    let feedback = |count: usize| {
        let ids = vec![events[1]["item"]["id"].clone(); count];
        json!({"thread_id": thread_of(&events), "item_ids": ids, "kind": "positive"})
    };
    assert_eq!(ada.ask("items.feedback", feedback(100)).await.0, 200);
    let (status, body) = ada.ask("items.feedback", feedback(101)).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_request")));
    assert!(body["message"].as_str().expect("it has one").contains("item_ids"), "{body}");
}
