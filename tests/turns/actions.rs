//! What if a person acts in a widget, stops that, and acts again? The agent acts again, and nothing
//! else is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::clock::SystemClock;
use chatkit_server::protocol::{Action, Item, ItemKind};
use chatkit_server::store::{Store, connect};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::support::client::{Client, create, thread_of, types};
use crate::support::server::{Server, Setup};

/// Answers with a widget. What is done in it shows progress, and is done once there is a permit.
struct Shop {
    answers: AtomicUsize,
    acts: AtomicUsize,
    permits: Semaphore,
    open: watch::Sender<usize>,
}

/// Counts an act as under way until it is dropped.
struct Open<'a>(&'a Shop);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Shop {
    fn new() -> Arc<Self> {
        let (answers, acts, permits) =
            (AtomicUsize::new(0), AtomicUsize::new(0), Semaphore::new(0));
        Arc::new(Self { answers, acts, permits, open: watch::Sender::new(0) })
    }

    fn counts(&self) -> (usize, usize) {
        (self.answers.load(Ordering::SeqCst), self.acts.load(Ordering::SeqCst))
    }

    async fn idle(&self) {
        self.open.subscribe().wait_for(|open| *open == 0).await.expect("the shop is there");
    }
}

impl Agent for Shop {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        self.answers.fetch_add(1, Ordering::SeqCst);
        let widget = json!({"type": "Card", "children": []});
        let item = turn.new_item(ItemKind::Widget { widget, copy_text: None });
        async move { turn.emit(AgentEvent::ItemDone(item)).await }.boxed()
    }

    fn act<'a>(
        &'a self,
        turn: &'a Turn,
        _: &'a Action,
        _: Option<&'a Item>,
    ) -> BoxFuture<'a, Result<(), AgentError>> {
        async move {
            self.acts.fetch_add(1, Ordering::SeqCst);
            self.open.send_modify(|open| *open += 1);
            let _open = Open(self);
            turn.emit(AgentEvent::Progress { text: "buying".to_owned(), icon: None }).await?;
            self.permits.acquire().await.map_err(AgentError::failed)?.forget();
            Ok(())
        }
        .boxed()
    }

    fn wants_titles(&self) -> bool {
        false
    }
}

async fn replica(shop: &Arc<Shop>, store: &Arc<dyn Store>) -> Server {
    let setup = Setup { agent: Some(shop.clone()), store: Some(store.clone()), ..Setup::default() };
    Server::start(setup).await
}

async fn store() -> Arc<dyn Store> {
    connect("sqlite::memory:", Arc::new(SystemClock)).await.expect("memory is there")
}

/// Shows a widget, and returns its thread and what a click in it asks for.
async fn shown(user: &Client) -> (String, Value) {
    let thread = thread_of(&user.events(&create("show")).await);
    let widget = user.items(&thread).await[1]["id"].clone();
    let params = json!({"thread_id": thread, "item_id": widget, "action": {"type": "buy"}});
    (thread, json!({"type": "threads.custom_action", "params": params}))
}

/// Clicks, and stops once the act is under way.
async fn click_and_stop(user: &Client, click: &Value, shop: &Shop) {
    let mut stream = user.stream(click).await;
    for expected in ["stream_options", "progress_update"] {
        assert_eq!(stream.next().await.expect("it goes on")["type"], expected);
    }
    drop(stream);
    shop.idle().await;
}

#[tokio::test]
async fn an_action_that_was_stopped_is_done_when_it_comes_again() {
    let (shop, store) = (Shop::new(), store().await);
    let server = replica(&shop, &store).await;
    let ada = server.user("ada");
    let (thread, click) = shown(&ada).await;
    let before = ada.items(&thread).await;
    click_and_stop(&ada, &click, &shop).await;
    shop.permits.add_permits(1);
    assert_eq!(types(&ada.events(&click).await), ["stream_options", "progress_update"]);
    assert_eq!((shop.counts(), ada.items(&thread).await), ((1, 2), before));
}

#[tokio::test]
async fn an_action_with_a_key_that_was_stopped_is_done_when_it_comes_again() {
    let (shop, store) = (Shop::new(), store().await);
    let server = replica(&shop, &store).await;
    let ada = server.user("ada");
    let (_, click) = shown(&ada).await;
    let key = [("Idempotency-Key", "click-1")];
    let mut stream = ada.stream_with(&click, &key).await;
    stream.next().await.expect("it begins");
    stream.next().await.expect("it goes on");
    drop(stream);
    shop.idle().await;
    shop.permits.add_permits(1);
    let heard = ada.stream_with(&click, &key).await.rest().await;
    assert_eq!((types(&heard), shop.counts()), (vec!["stream_options", "progress_update"], (1, 2)));
    assert_eq!(ada.stream_with(&click, &key).await.rest().await, heard, "and once more it is told");
    assert_eq!(shop.counts(), (1, 2));
}

#[tokio::test]
async fn an_action_that_was_stopped_on_one_replica_is_done_when_it_comes_again_on_another() {
    let (shop, store) = (Shop::new(), store().await);
    let (one, other) = (replica(&shop, &store).await, replica(&shop, &store).await);
    let (ada, also_ada) = (one.user("ada"), other.user("ada"));
    let (thread, click) = shown(&ada).await;
    let before = ada.items(&thread).await;
    click_and_stop(&ada, &click, &shop).await;
    shop.permits.add_permits(1);
    assert_eq!(types(&also_ada.events(&click).await), ["stream_options", "progress_update"]);
    assert_eq!(
        (shop.counts(), ada.items(&thread).await),
        ((1, 2), before),
        "no message was answered again"
    );
}
