//! What does a person do in a widget? The agent that showed it knows what it means.

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use std::time::Duration;

use super::writable_thread;
use crate::agent::AgentError;
use crate::chatkit::turn::{Plan, store_unheard};
use crate::chatkit::{Asker, Chat, not_found};
use crate::error::{Error, Kind};
use crate::protocol::{CustomAction, Event, Item, ItemKind, Thread};

/// What an agent may say while it handles an action that has no stream.
const MOST_EVENTS: usize = 256;
/// How long an action without a stream may take.
const LONGEST: Duration = Duration::from_secs(60);

/// An action that is answered with a stream.
pub(super) async fn act(chat: &Chat, asker: &Asker, params: CustomAction) -> Result<Plan, Error> {
    let (thread, sender) = sender(chat, asker, &params).await?;
    if sender.as_ref().is_some_and(|item| !is_widget(item)) {
        let event =
            Event::Error { code: "stream.error".to_owned(), message: None, allow_retry: false };
        return Ok(Plan::Say { thread, event: Box::new(event) });
    }
    Ok(Plan::Act { thread, sender, action: params.action })
}

/// What an action without a stream changed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::chatkit) struct ActedNow {
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_item: Option<Item>,
}

/// An action that is answered with JSON.
pub(super) async fn act_now(
    chat: &Chat,
    asker: &Asker,
    params: CustomAction,
) -> Result<ActedNow, Error> {
    let (thread, sender) = sender(chat, asker, &params).await?;
    if sender.as_ref().is_some_and(|item| !is_widget(item)) {
        return Err(Error::invalid("`params.item_id` must be the id of a widget."));
    }
    let agent = chat.agent(asker)?;
    let (said, mut events) = mpsc::channel(MOST_EVENTS);
    let turn = chat.agent_turn(asker, thread, None, None, said);
    let acted = timeout(LONGEST, agent.act_now(&turn, &params.action, sender.as_ref())).await;
    store_unheard(chat, &turn, &mut events).await?;
    let updated_item =
        acted.map_err(|_| Error::internal("the action took too long"))?.map_err(refusal)?;
    if let Some(item) = &updated_item
        && !chat.store.save_item(&asker.owner, item).await?
    {
        return Err(not_found());
    }
    Ok(ActedNow { updated_item: updated_item.map(|item| chat.shown(asker, item)) })
}

fn refusal(error: AgentError) -> Error {
    match error {
        AgentError::Told { message, .. } | AgentError::Declined { message } => {
            Error::new(Kind::InvalidRequest, message)
        }
        error @ (AgentError::Failed { .. } | AgentError::Over) => Error::internal(error),
    }
}

/// The thread, and the item that the action comes from.
async fn sender(
    chat: &Chat,
    asker: &Asker,
    params: &CustomAction,
) -> Result<(Thread, Option<Item>), Error> {
    let thread = writable_thread(chat, asker, &params.thread_id).await?;
    let Some(item_id) = &params.item_id else { return Ok((thread, None)) };
    let item = chat.store.item(&asker.owner, &thread.id, item_id).await?;
    let item = item.filter(|item| !item.is_hidden()).ok_or_else(not_found)?;
    Ok((thread, Some(item)))
}

fn is_widget(item: &Item) -> bool {
    matches!(item.kind, ItemKind::Widget { .. })
}
