//! What if an agent panics? Its turn ends like one that failed: with an event that says so, and a
//! thread that goes on.

use std::sync::Arc;
use std::time::Duration;

use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::protocol::{Action, Item, ItemKind, ItemUpdate, OutputText, UserMessage};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::client::{Client, add, create, text, thread_of, types};
use crate::support::server::{Server, Setup};

/// Panics as the message says: `soon` before it has a future, `late` in the middle of its second
/// message, `title` over the title.
struct Clumsy;

impl Agent for Clumsy {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        let asked = match turn.message.as_ref().map(|item| &item.kind) {
            Some(ItemKind::UserMessage(message)) => message.text(),
            _ => String::new(),
        };
        assert!(!asked.contains("soon"), "dropped the ball");
        async move {
            let part = OutputText { text: "whole".to_owned(), annotations: Vec::new() };
            let message = |content| turn.new_item(ItemKind::AssistantMessage { content });
            turn.emit(AgentEvent::ItemDone(message(vec![part.clone()]))).await?;
            if asked.contains("late") {
                let half = message(Vec::new());
                let (item_id, update) =
                    (half.id.clone(), ItemUpdate::PartAdded { content_index: 0, content: part });
                turn.emit(AgentEvent::ItemAdded(half)).await?;
                turn.emit(AgentEvent::ItemUpdated { item_id, update }).await?;
                panic!("dropped the {}", "ball");
            }
            Ok(())
        }
        .boxed()
    }

    fn act<'a>(
        &'a self,
        _: &'a Turn,
        _: &'a Action,
        _: Option<&'a Item>,
    ) -> BoxFuture<'a, Result<(), AgentError>> {
        async { panic!("dropped the ball") }.boxed()
    }

    fn title<'a>(&'a self, message: &'a UserMessage) -> BoxFuture<'a, Option<String>> {
        async move {
            assert!(!message.text().contains("title"), "dropped the ball");
            None
        }
        .boxed()
    }
}

async fn clumsy() -> Server {
    Server::start(Setup { agent: Some(Arc::new(Clumsy)), ..Setup::default() }).await
}

/// The whole stream, which must come to its end.
async fn heard(user: &Client, body: &Value) -> Vec<Value> {
    timeout(Duration::from_secs(10), user.events(body)).await.expect("the stream ends")
}

fn failed() -> Value {
    json!({"type": "error", "code": "stream.error", "allow_retry": true})
}

#[tokio::test]
async fn an_agent_that_panics_ends_its_stream_with_an_error_and_keeps_what_was_whole() {
    let server = clumsy().await;
    let ada = server.user("ada");
    for (message, kept) in
        [("soon", &["user_message"][..]), ("late", &["user_message", "assistant_message"])]
    {
        let first = heard(&ada, &create(message)).await;
        assert_eq!(first.last(), Some(&failed()), "{message}");
        let thread = thread_of(&first);
        assert_eq!(types(&ada.items(&thread).await), *kept, "{message}");

        let again = heard(&ada, &create(message)).await;
        assert_eq!(again.last(), Some(&failed()), "{message}");
        assert_ne!(
            thread_of(&again),
            thread,
            "{message}: the error got through, so this is a new request"
        );

        heard(&ada, &add(&thread, "go on")).await;
        assert_eq!(
            text(ada.items(&thread).await.last().unwrap()),
            "whole",
            "{message}: the thread goes on"
        );
    }
}

#[tokio::test]
async fn an_action_that_panics_ends_its_stream_with_an_error() {
    let server = clumsy().await;
    let ada = server.user("ada");
    let thread = thread_of(&heard(&ada, &create("hi")).await);
    let params = json!({"thread_id": thread, "action": {"type": "buy"}});
    let events = heard(&ada, &json!({"type": "threads.custom_action", "params": params})).await;
    assert_eq!((types(&events), events.last()), (vec!["stream_options", "error"], Some(&failed())));
}

#[tokio::test]
async fn a_title_that_panics_leaves_the_answer_whole_and_the_first_words_in_its_place() {
    let server = clumsy().await;
    let events = heard(&server.user("ada"), &create("a title please")).await;
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["thread"]["title"]),
        (&json!("thread.updated"), &json!("a title please"))
    );
}

#[tokio::test]
async fn a_service_whose_agent_panicked_ends_by_itself() {
    let server = clumsy().await;
    heard(&server.user("ada"), &create("soon")).await;
    server.stop();
    assert!(timeout(Duration::from_secs(5), server.ended()).await.expect("nothing holds it up"));
}
