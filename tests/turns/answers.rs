//! Does a turn say and keep what the protocol wants?

use std::sync::Arc;
use std::time::Duration;

use chatkit_server::clock::SystemClock;
use chatkit_server::store::{Claimed, Owner, TurnClaim, connect};
use chatkit_server::user::UserId;
use serde_json::{Value, json};

use crate::support::client::{add, create, text, thread_of, types};
use crate::support::parrot::parrot;
use crate::support::server::{Server, Setup};

async fn server() -> Server {
    Server::start(Setup { agent: Some(parrot()), ..Setup::default() }).await
}

#[tokio::test]
async fn a_first_message_makes_a_thread_and_is_answered_and_kept() {
    let server = server().await;
    let ada = server.user("ada");
    let events = ada.events(&create("hi\u{0} \u{1f469}\u{200d}\u{1f680}")).await;
    assert_eq!(
        types(&events),
        [
            "thread.created",
            "thread.item.done",
            "stream_options",
            "thread.item.added",
            "thread.item.updated",
            "thread.item.updated",
            "thread.item.updated",
            "thread.item.updated",
            "thread.item.updated",
            "thread.item.updated",
            "thread.item.done",
            "thread.updated",
        ]
    );
    let thread = thread_of(&events);
    assert_eq!(thread.len(), "thr_".len() + 32, "ids have 128 bits");
    let created = events[0]["thread"]["created_at"].as_str().unwrap();
    assert!(created.ends_with('Z'), "{created}");
    let (status, kept) = ada.ask("threads.get_by_id", json!({"thread_id": thread})).await;
    assert_eq!(
        (status, &kept["title"]),
        (200, &json!("hi \u{1f469}\u{200d}\u{1f680}")),
        "the first words"
    );
    assert_eq!(
        kept["items"]["data"],
        json!([events[1]["item"], events[10]["item"]]),
        "as they were said"
    );
    assert_eq!(kept["items"]["has_more"], json!(false));
    assert_eq!(kept["metadata"], json!({}));
}

#[tokio::test]
async fn an_answer_that_fails_ends_with_an_error_and_leaves_no_half_message() {
    let server = server().await;
    let ada = server.user("ada");
    let events = ada.events(&create("fail")).await;
    let error = json!({"type": "error", "code": "stream.error", "allow_retry": true});
    assert_eq!(events.last(), Some(&error));
    assert_eq!(types(&ada.items(&thread_of(&events)).await), ["user_message"]);
}

#[tokio::test]
async fn a_title_comes_after_the_answer_and_a_persons_own_is_kept() {
    let server = server().await;
    let ada = server.user("ada");
    let events = ada.events(&create("title please")).await;
    assert_eq!(events.last().unwrap()["thread"]["title"], "A fine title");
    let thread = thread_of(&events);
    let (status, renamed) =
        ada.ask("threads.update", json!({"thread_id": thread, "title": "Mine"})).await;
    assert_eq!((status, &renamed["title"]), (200, &json!("Mine")));
    let events = ada.events(&add(&thread, "title again")).await;
    assert_eq!(events.last().unwrap()["type"], "thread.item.done", "no title is proposed any more");
}

#[tokio::test]
async fn a_tool_of_the_page_is_called_and_its_output_goes_on_once() {
    let server = server().await;
    let ada = server.user("ada");
    let events = ada.events(&create("tool")).await;
    let call = events.last().unwrap();
    assert_eq!(call["item"]["status"], "pending", "{call}");
    let thread = thread_of(&events);
    let output = |result: Value| json!({"type": "threads.add_client_tool_output", "params": {"thread_id": thread, "result": result}});
    let events = ada.events(&output(json!({"x": null}))).await;
    assert_eq!(types(&events)[..2], ["stream_options", "thread.item.added"]);
    let items = ada.items(&thread).await;
    assert_eq!(
        types(&items),
        ["user_message", "assistant_message", "client_tool_call", "assistant_message"]
    );
    assert_eq!(
        (&items[2]["status"], &items[2]["output"]),
        (&json!("completed"), &json!({"x": null}))
    );

    assert_eq!(
        types(&ada.events(&output(json!({"x": null}))).await),
        ["stream_options"],
        "once more is ignored"
    );
    let (status, _) =
        ada.ask("threads.add_client_tool_output", json!({"thread_id": thread, "result": 2})).await;
    assert_eq!(status, 409, "another output was not asked for");
    assert_eq!(ada.items(&thread).await.len(), 4, "nothing came of either");
}

#[tokio::test]
async fn an_output_is_refused_when_a_message_came_after_its_call() {
    let server = server().await;
    let ada = server.user("ada");
    let thread = thread_of(&ada.events(&create("tool")).await);
    ada.events(&add(&thread, "never mind")).await;
    let (status, body) =
        ada.ask("threads.add_client_tool_output", json!({"thread_id": thread, "result": 1})).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("conflict")));
    assert_eq!(text(ada.items(&thread).await.last().unwrap()), "You said: never mind");
}

#[tokio::test]
async fn an_output_is_refused_when_a_message_got_its_turn_before_it() {
    let store = connect("sqlite::memory:", Arc::new(SystemClock)).await.expect("memory is there");
    let setup = Setup { agent: Some(parrot()), store: Some(store.clone()), ..Setup::default() };
    let server = Server::start(setup).await;
    let ada = server.user("ada");
    let thread = thread_of(&ada.events(&create("tool")).await);
    // Somebody has the thread, so that what comes now is checked first and waits then.
    let owner =
        Owner { workflow: "default".into(), user: UserId::parse("ada").expect("it is a name") };
    let (key, holder, lasts) = ("k".to_owned(), "h".to_owned(), Duration::from_secs(60));
    let claim = TurnClaim { key, holder, body: None, about: None, lasts };
    while store.take_turn(&owner, &thread, &claim).await.unwrap() != Claimed::Yes {
        tokio::task::yield_now().await;
    }
    let message = ada.stream(&add(&thread, "never mind")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let params = json!({"thread_id": thread, "result": 1});
    let output =
        ada.stream(&json!({"type": "threads.add_client_tool_output", "params": params})).await;
    store.end_turn(&owner, &thread, &claim, true).await.unwrap();
    let (message, output) = tokio::join!(message.rest(), output.rest());
    assert_eq!(types(&message)[0], "thread.item.done", "{message:#?}");
    assert_eq!(
        (types(&output), &output[0]["allow_retry"]),
        (vec!["error"], &json!(false)),
        "{output:#?}"
    );
    let items = ada.items(&thread).await;
    assert_eq!(
        (items.len(), &items[2]["status"]),
        (5, &json!("pending")),
        "nobody answers the call"
    );
}

#[tokio::test]
async fn questions_are_answered_once_and_every_one_of_them() {
    let server = server().await;
    let ada = server.user("ada");
    let events = ada.events(&create("ask")).await;
    let (thread, asking) = (thread_of(&events), events[events.len() - 2]["item"].clone());
    assert_eq!(asking["type"], "structured_input", "{asking}");
    let answer = |input: Value| {
        let params = json!({"thread_id": thread, "item_id": asking["id"], "input": input});
        json!({"type": "threads.add_structured_input", "params": params})
    };
    let given = json!({"answers": {"size": {"values": ["A", "B"]}, "unknown": {"values": ["x"]}}});
    let events = ada.events(&answer(given)).await;
    assert_eq!(types(&events)[..2], ["stream_options", "thread.item.replaced"]);
    let inputs = &events[1]["item"]["inputs"];
    assert_eq!(inputs[0]["answer"], json!({"values": ["A"], "skipped": false}), "one choice");
    assert_eq!(inputs[1]["answer"], json!({"values": [], "skipped": true}));
    assert_eq!(events[1]["item"]["status"], "answered");
    let again = ada.post(&answer(json!({"status": "skipped"})), &[]).await;
    assert_eq!(again.status(), 409);
}

#[tokio::test]
async fn a_retry_puts_a_new_answer_in_place_of_the_old_one() {
    let server = server().await;
    let ada = server.user("ada");
    let events = ada.events(&create("first")).await;
    let thread = thread_of(&events);
    ada.events(&add(&thread, "second")).await;
    let retry = json!({"type": "threads.retry_after_item",
        "params": {"thread_id": thread, "item_id": events[1]["item"]["id"]}});
    let events = ada.events(&retry).await;
    assert_eq!(types(&events)[..2], ["stream_options", "thread.item.added"]);
    let items = ada.items(&thread).await;
    assert_eq!(items.iter().map(text).collect::<Vec<_>>(), ["first", "You said: first"]);
    let answer = json!({"type": "threads.retry_after_item",
        "params": {"thread_id": thread, "item_id": items[1]["id"]}});
    assert_eq!(ada.post(&answer, &[]).await.status(), 400, "an answer has no answer");
}
