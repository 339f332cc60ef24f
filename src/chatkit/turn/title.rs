//! How does a thread get its title? After its first answer, from the agent, or from the message's
//! first words; never against a title that it has.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::panics::caught;
use super::{Turn, TurnError};
use crate::agent;
use crate::agent::title::fallback_title;
use crate::protocol::{Event, ItemKind, Order, Thread, ThreadView, UserMessage};
use crate::store::{Audience, PageQuery, ThreadChange, TitleChange};

use super::begin::is_pending_call;

/// How long an agent may think about a title while the stream is open.
const THINKING: Duration = Duration::from_secs(5);
/// The first message of a person stands among the first few items.
const FIRST: u32 = 10;

impl Turn {
    /// A title that doesn't come is no failure of the answer.
    pub(super) async fn give_title(
        &self,
        turn: &agent::Turn,
        thread: &Thread,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        if thread.title.is_some() || !self.agent.wants_titles() {
            return Ok(());
        }
        let Some(message) = self.first_message(turn).await? else { return Ok(()) };
        let thought =
            caught(async { timeout(THINKING, self.agent.title(&message)).await.ok().flatten() });
        let proposed = tokio::select! {
            proposed = thought => proposed.unwrap_or_else(|error| {
                tracing::warn!(error, "no title was proposed");
                None
            }),
            _ = self.stopped(deadline) => None,
        };
        let Some(title) = proposed.or_else(|| fallback_title(&message)) else { return Ok(()) };
        let change =
            ThreadChange { title: Some(TitleChange::Suggest(title)), ..ThreadChange::default() };
        let changed = self.chat.store.change_thread(&self.asker.owner, &thread.id, &change).await?;
        if let Some(changed) = changed
            && changed.title != thread.title
        {
            self.running.feed.say(&Event::ThreadUpdated { thread: ThreadView::bare(&changed) });
        }
        Ok(())
    }

    /// What the thread began with. None while a call waits for the page: the answer is not there
    /// yet.
    async fn first_message(&self, turn: &agent::Turn) -> Result<Option<UserMessage>, TurnError> {
        if self.newest(&turn.thread.id, 1).await?.first().is_none_or(is_pending_call) {
            return Ok(None);
        }
        if let Some(ItemKind::UserMessage(message)) = turn.message.as_ref().map(|item| &item.kind) {
            return Ok(Some(message.clone()));
        }
        let page = PageQuery { limit: FIRST, order: Order::Asc, after: None };
        let items =
            self.chat.store.items(&turn.owner, &turn.thread.id, &page, Audience::Model).await?;
        let mut kinds = items.unwrap_or_default().data.into_iter().map(|item| item.kind);
        Ok(kinds.find_map(|kind| match kind {
            ItemKind::UserMessage(message) => Some(message),
            _ => None,
        }))
    }
}
