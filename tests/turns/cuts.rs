//! What becomes of a turn whose client leaves, at whichever event, and of one that the service's
//! end overtakes?

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::protocol::{ItemKind, ItemUpdate, OutputText};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::client::{Client, Stream, add, create, text, thread_of, types};
use crate::support::parrot::{Parrot, parrot};
use crate::support::server::{Server, Setup};

/// The events of the answer to `step by step`, which come one by one: added, part, five words,
/// part, done.
const STEPS: usize = 9;

async fn server(parrot: &Arc<Parrot>, policy: &str) -> Server {
    let vars = vec![("CHATKIT_ON_DISCONNECT", policy.to_owned())];
    Server::start(Setup { agent: Some(parrot.clone()), vars, ..Setup::default() }).await
}

/// Reads the three events before the answer, and so many of it.
async fn read(stream: &mut Stream, parrot: &Parrot, steps: usize) -> Vec<Value> {
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(stream.next().await.expect("it goes on"));
    }
    for _ in 0..steps {
        parrot.steps.add_permits(1);
        events.push(stream.next().await.expect("it goes on"));
    }
    events
}

async fn the_thread_goes_on(ada: &Client, thread: &str) {
    let events = ada.events(&add(thread, "and now")).await;
    let item = events.iter().rfind(|event| event["type"] == "thread.item.done").expect("an answer");
    assert_eq!(text(&item["item"]), "You said: and now");
}

#[tokio::test]
async fn under_cancel_leaving_stops_the_agent_and_keeps_what_it_said() {
    for steps in 0..STEPS {
        let parrot = parrot();
        let server = server(&parrot, "cancel").await;
        let ada = server.user("ada");
        let mut stream = ada.stream(&create("step by step")).await;
        let events = read(&mut stream, &parrot, steps).await;
        let thread = thread_of(&events);
        parrot.until_begun(1).await;
        drop(stream);
        parrot.idle().await;

        the_thread_goes_on(&ada, &thread).await;
        let items = ada.items(&thread).await;
        let said: String =
            events.iter().filter_map(|event| event["update"]["delta"].as_str()).collect();
        if said.trim().is_empty() {
            assert_eq!(
                types(&items),
                ["user_message", "user_message", "assistant_message"],
                "after {steps}"
            );
        } else {
            assert_eq!(text(&items[1]), said, "after {steps}");
            assert_eq!(items.len(), 4, "after {steps}");
        }
    }
}

#[tokio::test]
async fn under_finish_leaving_changes_nothing() {
    for steps in 0..STEPS {
        let parrot = parrot();
        let server = server(&parrot, "finish").await;
        let ada = server.user("ada");
        let mut stream = ada.stream(&create("step by step")).await;
        let events = read(&mut stream, &parrot, steps).await;
        drop(stream);
        parrot.steps.add_permits(STEPS);
        let thread = thread_of(&events);
        the_thread_goes_on(&ada, &thread).await;
        let items = ada.items(&thread).await;
        assert_eq!(types(&items).len(), 4, "after {steps}");
        assert_eq!(text(&items[1]), "You said: step by step", "after {steps}");
        assert_eq!(parrot.begun.load(Ordering::SeqCst), 2, "one answer to each message");
    }
}

#[tokio::test]
async fn a_retry_that_is_cut_keeps_the_old_answer() {
    let parrot = parrot();
    let server = server(&parrot, "cancel").await;
    let ada = server.user("ada");
    parrot.steps.add_permits(STEPS);
    let events = ada.events(&create("step by step")).await;
    let thread = thread_of(&events);
    let before = ada.items(&thread).await;
    let retry = json!({"type": "threads.retry_after_item",
        "params": {"thread_id": thread, "item_id": events[1]["item"]["id"]}});
    let mut stream = ada.stream(&retry).await;
    parrot.steps.add_permits(4);
    for _ in 0..5 {
        stream.next().await.expect("it goes on");
    }
    drop(stream);
    parrot.idle().await;
    the_thread_goes_on(&ada, &thread).await;
    assert_eq!(ada.items(&thread).await[..2], before[..2]);
}

#[tokio::test]
async fn at_the_services_end_a_stream_invites_to_a_retry_and_what_was_said_is_kept() {
    let folder = tempdir();
    let url = format!("sqlite://{folder}/chatkit.db");
    let vars = || vec![("DATABASE_URL", url.clone()), ("SHUTDOWN_GRACE_SECONDS", "2".to_owned())];
    let parrot = parrot();
    let server =
        Server::start(Setup { agent: Some(parrot.clone()), vars: vars(), ..Setup::default() })
            .await;
    let ada = server.user("ada");
    let mut stream = ada.stream(&create("step by step")).await;
    let events = read(&mut stream, &parrot, 4).await;
    server.stop();
    let error = json!({"type": "error", "code": "stream.error", "allow_retry": true});
    assert_eq!(stream.rest().await, [error]);
    assert!(server.ended().await, "it ends by itself");

    let server =
        Server::start(Setup { agent: Some(parrot), vars: vars(), ..Setup::default() }).await;
    let items = server.user("ada").items(&thread_of(&events)).await;
    assert_eq!(text(&items[1]), "You said: ", "and no more");
    std::fs::remove_dir_all(folder).expect("it can be removed");
}

fn tempdir() -> String {
    let folder =
        std::env::temp_dir().join(format!("chatkit-turns-{}", chatkit_server::ids::new_id("")));
    folder.to_str().expect("it is text").to_owned()
}

/// Says parts of a message by numbers of its own, and waits.
struct Odd;

impl Agent for Odd {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        let item = turn.new_item(ItemKind::AssistantMessage { content: Vec::new() });
        let part = |text: &str| OutputText { text: text.to_owned(), annotations: Vec::new() };
        let updates = [
            ItemUpdate::PartAdded { content_index: 1, content: part("one") },
            ItemUpdate::TextDelta { content_index: 4, delta: "four".to_owned() },
            ItemUpdate::TextDelta { content_index: 1, delta: " and more".to_owned() },
        ];
        async move {
            let item_id = item.id.clone();
            turn.emit(AgentEvent::ItemAdded(item)).await?;
            for update in updates {
                turn.emit(AgentEvent::ItemUpdated { item_id: item_id.clone(), update }).await?;
            }
            turn.emit(AgentEvent::Progress { text: "that is all".to_owned(), icon: None }).await?;
            std::future::pending().await
        }
        .boxed()
    }
}

#[tokio::test]
async fn parts_are_kept_whatever_their_numbers() {
    let server = Server::start(Setup { agent: Some(Arc::new(Odd)), ..Setup::default() }).await;
    let ada = server.user("ada");
    let mut stream = ada.stream(&create("hi")).await;
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Value| event["type"] != "progress_update") {
        events.push(stream.next().await.expect("it goes on"));
    }
    drop(stream);
    let thread = thread_of(&events);
    let kept = async {
        loop {
            let items = ada.items(&thread).await;
            if let Some(message) = items.get(1) {
                return message["content"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let kept =
        tokio::time::timeout(Duration::from_secs(10), kept).await.expect("the message is kept");
    let texts: Vec<&Value> =
        kept.as_array().expect("parts").iter().map(|part| &part["text"]).collect();
    assert_eq!(texts, ["one and more", "four"]);
}
