//! Who answers? An agent that needs no model: it repeats what it is told, shows a widget with a
//! button, and counts the clicks.

use std::fmt::Display;

use chatkit_server::agent::widget::{StreamedWidget, Widget};
use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::protocol::{Action, Item, ItemKind, ItemUpdate, OutputText};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;

/// The agent.
#[derive(Debug)]
pub(crate) struct Assistant;

impl Agent for Assistant {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        async move {
            let text = match turn.message.as_ref().map(|item| &item.kind) {
                Some(ItemKind::UserMessage(message)) => message.text(),
                _ => String::new(),
            };
            say(turn, &["You said: ", &text]).await?;
            show_counter(turn).await
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
            let item = counted(action, sender)?;
            turn.emit(AgentEvent::ItemReplaced(item)).await?;
            say(turn, &["That ", "was a click."]).await
        }
        .boxed()
    }

    fn act_now<'a>(
        &'a self,
        _: &'a Turn,
        action: &'a Action,
        sender: Option<&'a Item>,
    ) -> BoxFuture<'a, Result<Option<Item>, AgentError>> {
        async move { counted(action, sender).map(Some) }.boxed()
    }
}

/// Says a text in pieces, as a model would.
async fn say(turn: &Turn, pieces: &[&str]) -> Result<(), AgentError> {
    let item = turn.new_item(ItemKind::AssistantMessage { content: Vec::new() });
    turn.emit(AgentEvent::ItemAdded(item.clone())).await?;
    let update = |update| AgentEvent::ItemUpdated { item_id: item.id.clone(), update };
    let content_index = 0;
    turn.emit(update(ItemUpdate::PartAdded { content_index, content: OutputText::default() }))
        .await?;
    for delta in pieces {
        let delta = (*delta).to_owned();
        turn.emit(update(ItemUpdate::TextDelta { content_index, delta })).await?;
    }
    let content = OutputText { text: pieces.concat(), annotations: Vec::new() };
    turn.emit(update(ItemUpdate::PartDone { content_index, content: content.clone() })).await?;
    let kind = ItemKind::AssistantMessage { content: vec![content] };
    turn.emit(AgentEvent::ItemDone(Item { kind, ..item })).await
}

/// Shows a widget whose text grows: each state is given whole, and what changed is sent.
async fn show_counter(turn: &Turn) -> Result<(), AgentError> {
    let mut shown = StreamedWidget::begin(turn, counter("Click ", 0)?, None).await?;
    shown.show(counter("Click the button.", 0)?).await?;
    shown.finish().await
}

fn counter(text: &str, clicks: u64) -> Result<Widget, AgentError> {
    let action = json!({"type": "count", "payload": {"clicks": clicks}});
    let children = json!([
        {"type": "Text", "id": "text", "value": text},
        {"type": "Button", "label": "Count", "onClickAction": action},
    ]);
    Widget::new(json!({"type": "Card", "children": children})).map_err(wrong)
}

/// The widget after a click: another root under the same id. An action comes from a browser, so
/// what it holds is checked.
fn counted(action: &Action, sender: Option<&Item>) -> Result<Item, AgentError> {
    let clicks = action.payload["clicks"].as_u64();
    let (Some(sender), "count", Some(clicks)) = (sender, action.kind.as_str(), clicks) else {
        return Err(wrong("an action of no widget here"));
    };
    let clicks = clicks.saturating_add(1);
    let widget = counter(&format!("Clicks: {clicks}"), clicks)?.into();
    Ok(Item { kind: ItemKind::Widget { widget, copy_text: None }, ..sender.clone() })
}

fn wrong(cause: impl Display) -> AgentError {
    AgentError::Failed { cause: cause.to_string(), allow_retry: false }
}
