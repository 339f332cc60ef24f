//! What if the same request comes again on another replica? It hears its own answer, or the very
//! same is answered again.

use std::sync::Arc;
use std::time::Duration;

use chatkit_server::clock::SystemClock;
use chatkit_server::store::{Owner, Store, connect};
use chatkit_server::user::UserId;
use serde_json::{Value, json};

use crate::support::client::{add, create, text, thread_of, types};
use crate::support::parrot::{Parrot, parrot};
use crate::support::server::{Server, Setup};

/// More steps than any test takes.
const PLENTY: usize = 1000;
const MIB: usize = 1024 * 1024;

/// Two services on one store, with one agent.
async fn two() -> (Arc<Parrot>, [Server; 2]) {
    two_on(&in_memory().await).await
}

async fn in_memory() -> Arc<dyn Store> {
    connect("sqlite::memory:", Arc::new(SystemClock)).await.expect("memory is there")
}

/// Two services on this store, with one agent.
async fn two_on(store: &Arc<dyn Store>) -> (Arc<Parrot>, [Server; 2]) {
    let agent = parrot();
    let setup =
        || Setup { agent: Some(agent.clone()), store: Some(Arc::clone(store)), ..Setup::default() };
    let servers = [Server::start(setup()).await, Server::start(setup()).await];
    (agent, servers)
}

/// Lets a request that has just been sent come to wait for its turn.
async fn queued() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// The texts of the messages that a stream brought whole.
fn said(events: &[Value]) -> Vec<&str> {
    let done = events.iter().filter(|event| event["type"] == "thread.item.done");
    done.map(|event| &event["item"])
        .filter(|item| item["type"] != "user_message")
        .map(text)
        .collect()
}

#[tokio::test]
async fn a_retry_of_an_older_message_that_was_stopped_is_taken_up_and_no_other() {
    let (parrot, [one, other]) = two().await;
    let (ada, also_ada) = (one.user("ada"), other.user("ada"));
    parrot.steps.add_permits(PLENTY);
    let thread = thread_of(&ada.events(&create("first step")).await);
    ada.events(&add(&thread, "second")).await;
    let first = ada.items(&thread).await[0]["id"].clone();
    parrot.steps.forget_permits(2 * PLENTY);
    let retry = json!({"type": "threads.retry_after_item", "params": {"thread_id": thread, "item_id": first}});
    let stream = ada.stream(&retry).await;
    parrot.until_begun(3).await;
    drop(stream);
    parrot.idle().await;
    assert_eq!(
        ada.items(&thread).await.len(),
        4,
        "what is there stays until there is a new answer"
    );

    parrot.steps.add_permits(PLENTY);
    let events = also_ada.events(&retry).await;
    assert_eq!(
        types(&events)[..2],
        ["stream_options", "thread.item.added"],
        "a retry brings nothing"
    );
    let items = ada.items(&thread).await;
    assert_eq!(items.iter().map(text).collect::<Vec<_>>(), ["first step", "You said: first step"]);
}

#[tokio::test]
async fn a_request_hears_its_own_answer_though_another_one_came_in_between() {
    let (parrot, [one, other]) = two().await;
    let ada = one.user("ada");
    let thread = thread_of(&ada.events(&create("hello")).await);
    let request = add(&thread, "one step");
    let first = ada.stream(&request).await;
    parrot.until_begun(2).await;
    let second = ada.stream(&add(&thread, "two")).await;
    let again = other.user("ada").stream(&request).await;
    queued().await;
    parrot.steps.add_permits(PLENTY);
    let (first, second, again) = tokio::join!(first.rest(), second.rest(), again.rest());
    assert_eq!((said(&first), said(&second)), (vec!["You said: one step"], vec!["You said: two"]));
    assert_eq!((said(&again), &again[0]), (said(&first), &first[0]), "its own message and answer");
    assert_eq!(
        (parrot.begun(), ada.items(&thread).await.len()),
        (3, 6),
        "nothing was answered twice"
    );
}

#[tokio::test]
async fn a_request_that_was_stopped_is_refused_once_another_one_came_in_between() {
    let (parrot, [one, other]) = two().await;
    let ada = one.user("ada");
    let thread = thread_of(&ada.events(&create("hello")).await);
    let request = add(&thread, "wait");
    let first = ada.stream(&request).await;
    parrot.until_begun(2).await;
    let second = ada.stream(&add(&thread, "two")).await;
    let again = other.user("ada").stream(&request).await;
    queued().await;
    drop(first);
    let (second, again) = tokio::join!(second.rest(), again.rest());
    assert_eq!(said(&second), ["You said: two"]);
    let refusal = again.last().expect("a stream has its last event");
    assert_eq!(
        (&refusal["type"], &refusal["allow_retry"]),
        (&json!("error"), &json!(false)),
        "{again:#?}"
    );
    let items = ada.items(&thread).await;
    let texts: Vec<_> = items.iter().map(text).collect();
    assert_eq!(
        texts,
        ["hello", "You said: hello", "wait", "two", "You said: two"],
        "nothing is lost"
    );
}

#[tokio::test]
async fn an_answer_that_ends_with_a_question_is_told_whole() {
    let (parrot, [one, other]) = two().await;
    let ada = one.user("ada");
    let request = create("ask me step by step");
    let first = ada.stream(&request).await;
    parrot.until_begun(1).await;
    let again = other.user("ada").stream(&request).await;
    queued().await;
    parrot.steps.add_permits(PLENTY);
    let (first, again) = tokio::join!(first.rest(), again.rest());
    let done = |events: &[Value]| -> Vec<Value> {
        let done = events.iter().filter(|event| event["type"] == "thread.item.done");
        done.map(|event| event["item"].clone()).collect()
    };
    assert_eq!(done(&first).len(), 3, "{first:#?}");
    assert_eq!((done(&again), parrot.begun()), (done(&first), 1));
}

#[tokio::test]
async fn an_answer_of_more_than_8_mib_is_not_told_again() {
    let store = in_memory().await;
    let (parrot, [one, other]) = two_on(&store).await;
    let ada = one.user("ada");
    let request = create("one step");
    let first = ada.stream(&request).await;
    parrot.until_begun(1).await;
    let again = other.user("ada").stream(&request).await;
    queued().await;
    let (_, list) = ada.ask("threads.list", json!({})).await;
    let thread = list["data"][0]["id"].as_str().expect("a thread");
    let owner = Owner { workflow: "default".into(), user: UserId::parse("ada").expect("a name") };
    for number in 0..9 {
        let content = json!({"type": "output_text", "text": "x".repeat(MIB), "annotations": []});
        let item = json!({"id": format!("msg_{number}"), "thread_id": thread, "content": [content],
            "created_at": "2026-11-20T22:38:48Z", "type": "assistant_message"});
        let item = serde_json::from_value(item).expect("an item");
        assert!(store.save_item(&owner, &item).await.expect("it is stored"));
    }
    parrot.steps.add_permits(PLENTY);
    let (first, again) = tokio::join!(first.rest(), again.rest());
    assert_eq!(said(&first), ["You said: one step"]);
    let refusal = again.last().expect("a stream has its last event");
    assert_eq!(refusal["type"], "error", "{refusal}");
    let message = refusal["message"].as_str().unwrap_or_default();
    assert!(message.contains("too long to be told again"), "{refusal}");
    assert_eq!((said(&again), parrot.begun()), (vec![], 1), "it is not answered twice");
}

#[tokio::test]
async fn a_key_that_is_in_use_elsewhere_is_good_for_no_other_request() {
    let (parrot, [one, other]) = two().await;
    let (ada, also_ada) = (one.user("ada"), other.user("ada"));
    let thread = thread_of(&ada.events(&create("hello")).await);
    for (key, request, another) in [
        (["k-1", "k-2"], create("a step"), create("something else")),
        (["k-3", "k-4"], add(&thread, "a step"), add(&thread, "something else")),
    ] {
        let (begun, in_use) = (parrot.begun(), [("Idempotency-Key", key[0])]);
        let first = ada.stream_with(&request, &in_use).await;
        parrot.until_begun(begun + 1).await;
        let refused = also_ada.post(&another, &in_use).await;
        assert_eq!(refused.status(), 422, "{another}");
        let body: Value = refused.json().await.expect("it is JSON");
        assert_eq!(body["error"]["code"], "idempotency_key_reused");
        let same = also_ada.stream_with(&request, &in_use).await;
        queued().await;
        parrot.steps.add_permits(PLENTY);
        let (first, same) = tokio::join!(first.rest(), same.rest());
        assert_eq!((said(&same), parrot.begun()), (said(&first), begun + 1), "{request}");
        parrot.steps.forget_permits(2 * PLENTY);
        let next =
            also_ada.stream_with(&another, &[("Idempotency-Key", key[1])]).await.rest().await;
        assert_eq!(said(&next), ["You said: something else"], "with a key of its own");
    }
}
