//! What is an agent given to answer with? A [`Turn`]: the thread, what was said in it, and a way to
//! say more.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{AgentError, AgentEvent};
use crate::clock::Clock;
use crate::ids::new_id;
use crate::protocol::{
    Attachment, AttachmentKind, GeneratedImage, Id, Item, ItemKind, Order, Page, Thread, Timestamp,
};
use crate::store::files::Files;
use crate::store::{Audience, Owner, PageQuery, Store, StoredAttachment, insist};
use crate::telemetry::request::RequestContext;

/// One answer of an agent in a thread.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds what people say")]
pub struct Turn {
    /// The thread.
    pub thread: Thread,
    /// Whose it is.
    pub owner: Owner,
    /// The user's message that is answered. None when a client tool's output or answers to
    /// questions are.
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
    /// What the log line of the request will say.
    pub request: Arc<RequestContext>,
    /// Who hears what the agent says. Events are boxed because a channel keeps room for 32 of them
    /// while it is empty.
    pub events: mpsc::Sender<Box<AgentEvent>>,
}

impl Turn {
    /// Says something. It waits while whoever stores it is behind.
    ///
    /// # Errors
    /// [`AgentError::Over`] when the turn is over.
    pub fn emit(
        &self,
        event: AgentEvent,
    ) -> impl Future<Output = Result<(), AgentError>> + Send + '_ {
        // Boxed here and not in the future, which an agent keeps room for as long as it speaks.
        let event = Box::new(event);
        async move { self.events.send(event).await.map_err(|_| AgentError::Over) }
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

    /// What stands in the thread, hidden items too: the newest first, at most `limit` of it, behind
    /// `after` or from the end. Where these take more than a mebibyte, there are fewer, and one in
    /// any case.
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

    /// Hands over what stands in the thread, hidden items too, the newest first, until `each` has
    /// enough.
    pub(super) async fn each_item(
        &self,
        each: &mut (dyn FnMut(Item) -> ControlFlow<()> + Send),
    ) -> Result<(), AgentError> {
        let (owner, thread_id) = (&self.owner, &*self.thread.id);
        let mut after = None;
        if let Some(newest) = &self.newest {
            let item =
                self.store.item(owner, thread_id, newest).await.map_err(AgentError::failed)?;
            if let Some(item) = item {
                after = Some(item.id.clone());
                if each(item).is_break() {
                    return Ok(());
                }
            }
        }
        let page = PageQuery { limit: u32::MAX, order: Order::Desc, after };
        let rest = self
            .store
            .each_item(owner, thread_id, &page, Audience::Model, &mut |item, _| each(item))
            .await;
        rest.map(drop).map_err(AgentError::failed)
    }

    /// The bytes of a file that a message or a generated image carries. `None` when they are gone.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn file(&self, attachment_id: &str) -> Result<Option<Bytes>, AgentError> {
        self.files.read(attachment_id).await.map_err(AgentError::failed)
    }

    /// Keeps the bytes of an image (`image/png`, `image/jpeg`, `image/webp` or `image/gif`) as a
    /// file of its own, so that the item that shows it stays small: a client gets a link to them.
    /// They go with the thread; without an item that shows them, after a day. `id` is what clients
    /// know the image by.
    ///
    /// # Errors
    /// When the store fails, or the bytes can't be written.
    pub async fn save_image(
        &self,
        id: String,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<GeneratedImage, AgentError> {
        let attachment = Attachment {
            id: new_id("atc_"),
            name: format!("image.{}", media_type.rsplit('/').next().unwrap_or_default()),
            mime_type: media_type.to_owned(),
            upload_descriptor: None,
            thread_id: None,
            kind: AttachmentKind::Image { preview_url: String::new() },
        };
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let stored =
            StoredAttachment { attachment, size, is_uploaded: true, created_at: self.now() };
        let attachment_id = &stored.attachment.id;
        // Described before its bytes are in their place: bytes without a description are nobody's,
        // and are swept.
        let save = || self.store.save_attachment(&self.owner, &stored);
        insist(save).await.map_err(AgentError::failed)?;
        self.files.save(attachment_id, bytes).await.map_err(AgentError::failed)?;
        Ok(GeneratedImage::kept(id, attachment_id))
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
