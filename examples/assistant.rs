//! The service as a part of another program, with an agent of that program's own: `cargo run --example assistant`.
//!
//! The agent takes bookings. It streams its answer, shows a widget with a button, and does what the button asks for.
//! Open the address that it prints: everybody is a visitor there, and nobody has to sign in.

use std::collections::HashMap;
use std::sync::Arc;

use chatkit_server::agent::widget::Widget;
use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::config::Config;
use chatkit_server::config::env::Environment;
use chatkit_server::ids::new_id;
use chatkit_server::lifecycle;
use chatkit_server::protocol::{Action, Item, ItemKind, ItemUpdate, OutputText};
use chatkit_server::service::{Own, Service};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;

/// When there are tables.
const TIMES: [&str; 2] = ["18:00", "20:00"];

/// Takes bookings.
struct Bookings;

impl Agent for Bookings {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        async move {
            let Some(ItemKind::UserMessage(message)) = turn.message.as_ref().map(|item| &item.kind) else {
                return Ok(());
            };
            say(turn, &format!("You wrote \"{}\". These tables are free today:", message.text())).await?;
            let item = offer()?.into_item(turn, Some(TIMES.join(", ")));
            turn.emit(AgentEvent::ItemDone(item)).await
        }
        .boxed()
    }

    fn act<'a>(
        &'a self,
        turn: &'a Turn,
        action: &'a Action,
        sender: Option<&'a Item>,
    ) -> BoxFuture<'a, Result<(), AgentError>> {
        async move {
            // An action comes from a browser. What it holds is checked like any other input.
            let time = action.payload["time"].as_str().filter(|time| TIMES.contains(time));
            let (Some(time), Some(shown), "book") = (time, sender, action.kind.as_str()) else {
                let message = "There is no such table.".to_owned();
                return Err(AgentError::Told { message, allow_retry: false });
            };
            let kind = booked(time)?.into_item(turn, None).kind;
            turn.emit(AgentEvent::ItemReplaced(Item { kind, ..shown.clone() })).await?;
            say(turn, &format!("Your table is booked for {time}.")).await
        }
        .boxed()
    }
}

fn offer() -> Result<Widget, AgentError> {
    let button = |time: &&str| {
        let action = json!({"type": "book", "payload": {"time": time}});
        json!({"type": "Button", "label": format!("Book {time}"), "onClickAction": action})
    };
    let buttons: Vec<_> = TIMES.iter().map(button).collect();
    Widget::new(json!({"type": "Card", "children": [{"type": "Row", "children": buttons}]}))
        .map_err(AgentError::failed)
}

fn booked(time: &str) -> Result<Widget, AgentError> {
    let text = json!({"type": "Text", "value": format!("Booked: today at {time}")});
    Widget::new(json!({"type": "Card", "children": [text]})).map_err(AgentError::failed)
}

/// Says something word by word, as a model would.
async fn say(turn: &Turn, text: &str) -> Result<(), AgentError> {
    let item = turn.new_item(ItemKind::AssistantMessage { content: Vec::new() });
    let update = |update| AgentEvent::ItemUpdated { item_id: item.id.clone(), update };
    let part = |text: &str| OutputText { text: text.to_owned(), annotations: Vec::new() };
    turn.emit(AgentEvent::ItemAdded(item.clone())).await?;
    turn.emit(update(ItemUpdate::PartAdded { content_index: 0, content: part("") })).await?;
    for word in text.split_inclusive(' ') {
        turn.emit(update(ItemUpdate::TextDelta { content_index: 0, delta: word.to_owned() })).await?;
    }
    turn.emit(update(ItemUpdate::PartDone { content_index: 0, content: part(text) })).await?;
    let kind = ItemKind::AssistantMessage { content: vec![part(text)] };
    turn.emit(AgentEvent::ItemDone(Item { kind, ..item })).await
}

/// The variables of this process, and for those that are not set what makes a start without any of them.
fn environment() -> anyhow::Result<Environment> {
    let mut vars = Environment::of_process().map_err(|problem| anyhow::anyhow!("{problem}"))?;
    vars.set_default("HOST", "127.0.0.1");
    vars.set_default("CHATKIT_MODE", "self-hosted");
    vars.set_default("DATABASE_URL", "sqlite::memory:");
    vars.set_default("AUTH_ANONYMOUS", "on");
    vars.set_default("CHATKIT_COOKIE_KEY", &*new_id(""));
    vars.set_default("CHATKIT_SIGNING_KEY", &*new_id(""));
    // These make the agent `default`, in whose place the one above answers: no model is ever asked.
    vars.set_default("CHATKIT_MODEL", "none");
    vars.set_default("OPENAI_API_KEY", "none");
    Ok(vars)
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "an example talks to the one who runs it")]
async fn main() -> anyhow::Result<()> {
    let config = environment()?.read(Config::read).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let bookings: Arc<dyn Agent> = Arc::new(Bookings);
    let agents = HashMap::from([("default".to_owned(), bookings)]);
    let service = Service::bind(config, Own { agents, ..Own::default() }).await?;
    eprintln!("http://{}", service.local_addr());
    service.run(lifecycle::signals()?).await;
    Ok(())
}
