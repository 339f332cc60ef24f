//! What is an agent given to answer with? A [`Turn`]: the thread, what was said in it, and a way to say more.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{AgentError, AgentEvent};
use crate::clock::Clock;
use crate::ids::new_id;
use crate::protocol::{Id, Item, ItemKind, Order, Page, Thread, Timestamp};
use crate::store::files::Files;
use crate::store::{Audience, Owner, PageQuery, Store};

/// One answer of an agent in a thread.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds what people say")]
pub struct Turn {
    /// The thread.
    pub thread: Thread,
    /// Whose it is.
    pub owner: Owner,
    /// The user's message that is answered. None when a client tool's output or answers to questions are.
    pub message: Option<Item>,
    /// The language of the page, as `Accept-Language` has it.
    pub locale: Option<String>,
    /// The item that counts as the newest: what stands behind it is being replaced by a new answer.
    pub newest: Option<Id>,
    /// Where threads live.
    pub store: Arc<dyn Store>,
    /// Where files live.
    pub files: Arc<Files>,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// Who hears what the agent says. Events are boxed because a channel keeps room for 32 of them while it is empty.
    pub events: mpsc::Sender<Box<AgentEvent>>,
}

impl Turn {
    /// Says something. It waits while whoever stores it is behind.
    ///
    /// # Errors
    /// [`AgentError::Over`] when the turn is over.
    pub async fn emit(&self, event: AgentEvent) -> Result<(), AgentError> {
        self.events.send(Box::new(event)).await.map_err(|_| AgentError::Over)
    }

    /// An item of this thread, with an id of its own and made now.
    #[must_use]
    pub fn new_item(&self, kind: ItemKind) -> Item {
        new_item(&self.thread.id, self.now(), kind)
    }

    /// What the time is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_epoch(self.clock.now())
    }

    /// What stands in the thread, hidden items too: the newest first, at most `limit` of it, behind `after` or from the end.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn items(&self, limit: u32, after: Option<&Id>) -> Result<Page<Item>, AgentError> {
        let page = |limit, after| PageQuery { limit, order: Order::Desc, after };
        let (owner, thread_id) = (&self.owner, &*self.thread.id);
        let first = match (after, &self.newest) {
            (None, Some(newest)) => {
                self.store.item(owner, thread_id, newest).await.map_err(AgentError::failed)?
            }
            _ => None,
        };
        let rest = match &first {
            Some(item) => page(limit.saturating_sub(1).max(1), Some(item.id.clone())),
            None => page(limit, after.cloned()),
        };
        let items = self.store.items(owner, thread_id, &rest, Audience::Model).await;
        let mut items = items.map_err(AgentError::failed)?.unwrap_or_default();
        items.data.splice(0..0, first);
        Ok(items)
    }

    /// The bytes of a file that a message carries. `None` when they are gone.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn file(&self, attachment_id: &str) -> Result<Option<Bytes>, AgentError> {
        self.files.read(attachment_id).await.map_err(AgentError::failed)
    }
}

/// An item of a thread, with an id of its own.
#[must_use]
pub fn new_item(thread_id: &Id, created_at: Timestamp, kind: ItemKind) -> Item {
    let prefix = match &kind {
        ItemKind::ClientToolCall(_) => "tc_",
        ItemKind::Workflow { .. } => "wf_",
        ItemKind::Task { .. } => "tsk_",
        ItemKind::SdkHiddenContext { .. } => "shcx_",
        ItemKind::UserMessage(_)
        | ItemKind::AssistantMessage { .. }
        | ItemKind::Widget { .. }
        | ItemKind::GeneratedImage { .. }
        | ItemKind::StructuredInput { .. }
        | ItemKind::EndOfTurn
        | ItemKind::HiddenContextItem { .. } => "msg_",
    };
    Item { id: new_id(prefix), thread_id: thread_id.clone(), created_at, kind }
}
