//! What if another replica answers this request, or answered it and nobody heard the end? Then its answer is told from the
//! store once it is there; what was not finished is taken up again.

use tokio::time::Instant;

use super::{Plan, Resumption, Stop, THREAD_GONE, Turn, TurnError};
use crate::ids::new_id;
use crate::protocol::{Event, Id, Item, ItemKind, StreamOptions, Thread, ThreadView};
use crate::store::{Claimed, TurnClaim};

/// No answer has more items.
const MOST_ITEMS: u32 = 200;

impl Turn {
    pub(super) async fn follow(
        &self,
        thread_id: &Id,
        is_created: bool,
        claim: &mut TurnClaim,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        // Under a key of its own, the claim waits for that turn's end.
        claim.key = new_id("after_").to_string();
        let claimed = tokio::select! {
            claimed = self.wait_for(thread_id, claim) => claimed?,
            stop = self.stopped(deadline) => return Err(TurnError::Stopped(stop)),
        };
        if claimed == Claimed::NotFound {
            return Err(TurnError::Changed(THREAD_GONE));
        }
        let told = self.tell_or_resume(thread_id, is_created, claim, deadline).await;
        self.give_back(thread_id, claim).await;
        told
    }

    async fn tell_or_resume(
        &self,
        thread_id: &Id,
        is_created: bool,
        claim: &mut TurnClaim,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        let Some(thread) = self.chat.store.thread(&self.asker.owner, thread_id).await? else {
            return Err(TurnError::Changed(THREAD_GONE));
        };
        let (anchor, answer) = self.last_exchange(thread_id).await?;
        let is_finished =
            answer.last().is_some_and(|item| !matches!(item.kind, ItemKind::SdkHiddenContext { .. }));
        let preamble = preamble(&thread, &anchor, is_created);
        if !is_finished {
            let resumption = Resumption { thread, preamble, anchor };
            return Box::pin(self.answer(Box::new(Plan::Resume(resumption)), claim, deadline)).await;
        }
        let stream_options = StreamOptions { allow_cancel: self.agent.allow_cancel() };
        let feed = &self.running.feed;
        preamble.iter().for_each(|event| feed.say(event));
        feed.say(&Event::StreamOptions { stream_options });
        for item in answer.into_iter().filter(|item| !item.is_hidden()) {
            feed.say(&Event::ItemDone { item });
        }
        if thread.title.is_some() && is_created {
            feed.say(&Event::ThreadUpdated { thread: ThreadView::bare(&thread) });
        }
        Ok(())
    }

    /// The newest thing that a person brought, and what came after it, the oldest first.
    async fn last_exchange(&self, thread_id: &Id) -> Result<(Item, Vec<Item>), TurnError> {
        let mut newest = self.newest(thread_id, MOST_ITEMS).await?;
        let is_brought = |item: &Item| {
            matches!(item.kind, ItemKind::UserMessage(_) | ItemKind::StructuredInput { .. })
                || matches!(&item.kind, ItemKind::ClientToolCall(_) if !super::begin::is_pending_call(item))
        };
        let Some(place) = newest.iter().position(is_brought) else {
            return Err(TurnError::Stopped(Stop::TurnLost));
        };
        let anchor = newest.swap_remove(place);
        newest.truncate(place);
        newest.reverse();
        Ok((anchor, newest))
    }
}

fn preamble(thread: &Thread, anchor: &Item, is_created: bool) -> Vec<Event> {
    let created = is_created.then(|| {
        let thread = Thread { title: None, ..thread.clone() };
        Event::ThreadCreated { thread: ThreadView::bare(&thread) }
    });
    let brought = match anchor.kind {
        ItemKind::UserMessage(_) => Some(Event::ItemDone { item: anchor.clone() }),
        _ => None,
    };
    created.into_iter().chain(brought).collect()
}
