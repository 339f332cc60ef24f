//! What if the store fails? No stream ends without its last event, no browser is told to repeat,
//! and the thread goes on.

use std::sync::Arc;

use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::clock::SystemClock;
use chatkit_server::protocol::ItemKind;
use chatkit_server::store::{StoreError, connect};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::client::{Client, add, create, text, thread_of};
use crate::support::faulty::{Fault, Faulty};
use crate::support::parrot::parrot;
use crate::support::server::{Server, Setup};

const FAULTS: [Fault; 2] = [StoreError::Failed, StoreError::Away];

async fn faulty_server(fault: Fault) -> (Arc<Faulty>, Server) {
    let store = connect("sqlite::memory:", Arc::new(SystemClock)).await.expect("memory is there");
    let store = Arc::new(Faulty::new(store, fault));
    let setup = Setup { agent: Some(parrot()), store: Some(store.clone()), ..Setup::default() };
    (store, Server::start(setup).await)
}

/// A stream is whole: its answer is there, or it ends with an error that invites to try again.
fn assert_has_its_end(events: &[Value], call: usize) {
    let last = events.last().unwrap_or_else(|| panic!("call {call}: not one event"));
    let error = json!({"type": "error", "code": "stream.error", "allow_retry": true});
    let is_answered = events.iter().any(|event| {
        event["type"] == "thread.item.done" && event["item"]["type"] == "assistant_message"
    });
    assert!(is_answered || *last == error, "call {call}: {events:#?}");
}

async fn the_thread_goes_on(ada: &Client, thread: &str, call: usize) {
    let events = ada.events(&add(thread, "and now")).await;
    let answer =
        events.iter().rfind(|event| event["type"] == "thread.item.done").expect("an answer");
    assert_eq!(text(&answer["item"]), "You said: and now", "call {call}");
}

#[tokio::test]
async fn a_store_that_fails_at_any_call_of_a_first_turn_leaves_a_stream_with_its_end() {
    for fault in FAULTS {
        for call in 0.. {
            let (store, server) = faulty_server(fault).await;
            let ada = server.user("ada");
            store.fail_after(call);
            let events = ada.events(&create("hi")).await;
            let has_failed = store.has_failed();
            assert_has_its_end(&events, call);
            store.fail_after(usize::MAX);
            if events[0]["type"] == "thread.created" {
                the_thread_goes_on(&ada, &thread_of(&events), call).await;
            }
            if !has_failed {
                assert!(call > 3, "a turn makes more than {call} calls");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_at_any_call_of_a_further_turn_leaves_a_stream_with_its_end() {
    for (first, next) in [
        ("hi", "threads.add_user_message"),
        ("tool", "threads.add_client_tool_output"),
        ("hi", "threads.retry_after_item"),
    ] {
        for fault in FAULTS {
            fails_at_any_call(first, next, fault).await;
        }
    }
}

async fn fails_at_any_call(first: &str, next: &str, fault: Fault) {
    for call in 0.. {
        let (store, server) = faulty_server(fault).await;
        let ada = server.user("ada");
        let events = ada.events(&create(first)).await;
        let thread = thread_of(&events);
        let body = match next {
            "threads.add_user_message" => add(&thread, "more"),
            "threads.add_client_tool_output" => {
                json!({"type": next, "params": {"thread_id": thread, "result": 1}})
            }
            _ => {
                json!({"type": next, "params": {"thread_id": thread, "item_id": events[1]["item"]["id"]}})
            }
        };
        store.fail_after(call);
        let events = ada.events(&body).await;
        let has_failed = store.has_failed();
        assert_has_its_end(&events, call);
        store.fail_after(usize::MAX);
        the_thread_goes_on(&ada, &thread, call).await;
        if !has_failed {
            assert!(call > 3, "{next} makes more than {call} calls");
            break;
        }
    }
}

/// Draws one image.
struct Painter;

impl Agent for Painter {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        async {
            let image = turn.save_image("ours".to_owned(), "image/png", b"PNG").await?;
            let kind = ItemKind::GeneratedImage { image: Some(image) };
            turn.emit(AgentEvent::ItemDone(turn.new_item(kind))).await
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_store_that_fails_once_costs_no_answer_that_has_begun() {
    for fault in FAULTS {
        for call in 0.. {
            let store =
                connect("sqlite::memory:", Arc::new(SystemClock)).await.expect("memory is there");
            let store = Arc::new(Faulty::new(store, fault));
            let folder =
                std::env::temp_dir().join(format!("chatkit-faults-{}", std::process::id()));
            let vars = vec![("CHATKIT_UPLOADS_DIR", folder.to_str().expect("a path").to_owned())];
            let setup = Setup { agent: Some(Arc::new(Painter)), store: Some(store.clone()), vars };
            let server = Server::start(setup).await;
            store.fail_after(call);
            let events = server.user("ada").events(&create("hi")).await;
            let _ = std::fs::remove_dir_all(&folder);
            let has_begun = events.iter().any(|event| event["type"] == "stream_options");
            let is_drawn = |event: &Value| event["item"]["image"]["url"].is_string();
            assert_eq!(events.iter().any(is_drawn), has_begun, "call {call}: {events:#?}");
            assert!(
                !has_begun || events.iter().all(|event| event["type"] != "error"),
                "{events:#?}"
            );
            if !store.has_failed() {
                assert!(call > 3, "a turn makes more than {call} calls");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_of_a_plain_request_and_one_that_is_away_is_not_ready() {
    for (fault, status, code) in
        [(StoreError::Failed as Fault, 500, "internal_error"), (StoreError::Away, 503, "not_ready")]
    {
        let (store, server) = faulty_server(fault).await;
        let ada = server.user("ada");
        store.fail_after(0);
        let (answered, body) = ada.ask("threads.list", json!({})).await;
        assert_eq!((answered, &body["error"]["code"]), (status, &json!(code)));
        assert!(!body.to_string().contains("the test wants it"), "the cause is for the log");
    }
}
