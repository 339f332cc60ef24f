//! Who answers in these tests? An agent that repeats what was said to it, step by step when asked
//! to, and knows a few tricks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::protocol::{
    ClientToolCall, ClientToolCallStatus, Item, ItemKind, ItemUpdate, OutputText, Question,
    QuestionKind, StructuredInputStatus, UserMessage,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::{Notify, Semaphore};

/// Repeats what it is told. Words in a message change what it does: `step` waits for a permit
/// before each event, `fail` fails after the text, `tool` calls a tool of the page, `ask` asks a
/// question, `wait` says nothing until it is stopped.
#[derive(Debug)]
pub(crate) struct Parrot {
    pub(crate) steps: Semaphore,
    /// How many answers were begun.
    pub(crate) begun: AtomicUsize,
    open: AtomicUsize,
    changed: Notify,
}

impl Default for Parrot {
    fn default() -> Self {
        let (begun, open) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { steps: Semaphore::new(0), begun, open, changed: Notify::new() }
    }
}

/// Counts an answer as under way until it is dropped.
struct Open<'a>(&'a Parrot);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl Parrot {
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Resolves when no answer is under way.
    pub(crate) async fn idle(&self) {
        self.until(|| self.open.load(Ordering::SeqCst) == 0).await;
    }

    /// Resolves when so many answers were begun.
    pub(crate) async fn until_begun(&self, count: usize) {
        self.until(|| self.begun() >= count).await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds() {
                return;
            }
            changed.await;
        }
    }

    async fn say(&self, turn: &Turn) -> Result<(), AgentError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        let _open = Open(self);
        let text = match turn.message.as_ref().map(|item| &item.kind) {
            Some(ItemKind::UserMessage(message)) => message.text(),
            _ => "the output".to_owned(),
        };
        if text.contains("wait") {
            std::future::pending::<()>().await;
        }
        for event in events(turn, &text) {
            if text.contains("step") {
                self.steps.acquire().await.map_err(AgentError::failed)?.forget();
            }
            turn.emit(event).await?;
        }
        Ok(())
    }
}

fn events(turn: &Turn, text: &str) -> Vec<AgentEvent> {
    let item = turn.new_item(ItemKind::AssistantMessage { content: Vec::new() });
    let update = |update| AgentEvent::ItemUpdated { item_id: item.id.clone(), update };
    let part = |text: &str| OutputText { text: text.to_owned(), annotations: Vec::new() };
    let answer = format!("You said: {text}");
    let mut events = vec![
        AgentEvent::ItemAdded(item.clone()),
        update(ItemUpdate::PartAdded { content_index: 0, content: part("") }),
    ];
    for word in answer.split_inclusive(' ') {
        events.push(update(ItemUpdate::TextDelta { content_index: 0, delta: word.to_owned() }));
    }
    if text.contains("fail") {
        events.push(AgentEvent::Progress { text: "failing".to_owned(), icon: None });
        return events;
    }
    events.push(update(ItemUpdate::PartDone { content_index: 0, content: part(&answer) }));
    let kind = ItemKind::AssistantMessage { content: vec![part(&answer)] };
    events.push(AgentEvent::ItemDone(Item { kind, ..item.clone() }));
    if text.contains("tool") {
        let (status, arguments) = (ClientToolCallStatus::Pending, json!({"a": 1}));
        let (call_id, name) = ("call_1".to_owned(), "look".to_owned());
        let call = ClientToolCall { status, call_id, name, arguments, output: json!(null) };
        events.push(AgentEvent::ItemDone(turn.new_item(ItemKind::ClientToolCall(call))));
    }
    if text.contains("ask") {
        let question = |id: &str, kind| Question {
            id: id.to_owned(),
            question: "Which?".to_owned(),
            description: None,
            answer: None,
            kind,
        };
        let choice =
            QuestionKind::MultipleChoice { options: vec![json!({"value": "A"})], multiple: false };
        let inputs = vec![question("size", choice), question("notes", QuestionKind::Freeform)];
        let kind = ItemKind::StructuredInput { status: StructuredInputStatus::Pending, inputs };
        events.push(AgentEvent::ItemDone(turn.new_item(kind)));
    }
    events
}

impl Agent for Parrot {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        async move {
            self.say(turn).await?;
            let failing = matches!(
                turn.message.as_ref().map(|item| &item.kind),
                Some(ItemKind::UserMessage(message)) if message.text().contains("fail")
            );
            if failing { Err(AgentError::failed("it was told to")) } else { Ok(()) }
        }
        .boxed()
    }

    fn title<'a>(&'a self, message: &'a UserMessage) -> BoxFuture<'a, Option<String>> {
        let title = message.text().contains("title").then(|| "A fine title".to_owned());
        async move { title }.boxed()
    }
}

/// A new one.
pub(crate) fn parrot() -> Arc<Parrot> {
    Arc::default()
}
