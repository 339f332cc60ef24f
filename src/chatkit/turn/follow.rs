//! What if another replica answers this request, or answered it and nobody heard the end? Then its answer is told from the
//! store once it is there; what was not finished is taken up again.

use tokio::time::Instant;

use super::{Place, Plan, Resumption, Stop, THREAD_GONE, Turn, TurnError};
use crate::chatkit::Chat;
use crate::ids::new_id;
use crate::protocol::{Event, Id, Item, ItemKind, StreamOptions, Thread, ThreadView};
use crate::store::{Claimed, Owner, StoreError, TurnClaim};

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
        let is_whole = claimed == Claimed::Yes;
        self.tell_or_resume(thread_id, is_created, is_whole, claim, deadline).await
    }

    async fn tell_or_resume(
        &self,
        thread_id: &Id,
        is_created: bool,
        is_whole: bool,
        claim: &mut TurnClaim,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        let Some(thread) = self.chat.store.thread(&self.asker.owner, thread_id).await? else {
            return Err(TurnError::Changed(THREAD_GONE));
        };
        let (anchor, answer) = self.last_exchange(thread_id).await?;
        let is_finished = is_whole
            && answer.last().is_some_and(|item| !matches!(item.kind, ItemKind::SdkHiddenContext { .. }));
        let preamble = preamble(&thread, self.chat.shown(&self.asker, anchor.clone()), is_created);
        if !is_finished {
            let resumption = Resumption { thread, preamble, anchor };
            return Box::pin(self.answer(Box::new(Plan::Resume(resumption)), claim, deadline)).await;
        }
        let stream_options = StreamOptions { allow_cancel: self.agent.allow_cancel() };
        let feed = &self.running.feed;
        preamble.iter().for_each(|event| feed.say(event));
        feed.say(&Event::StreamOptions { stream_options });
        for item in answer.into_iter().filter(|item| !item.is_hidden()) {
            feed.say(&Event::ItemDone { item: self.chat.shown(&self.asker, item) });
        }
        if thread.title.is_some() && is_created {
            feed.say(&Event::ThreadUpdated { thread: ThreadView::bare(&thread) });
        }
        Ok(())
    }

    /// The newest thing that a person brought, and what came after it, the oldest first.
    async fn last_exchange(&self, thread_id: &Id) -> Result<(Item, Vec<Item>), TurnError> {
        let mut newest = self.newest(thread_id, MOST_ITEMS).await?;
        let Some(place) = newest.iter().position(is_brought) else {
            return Err(TurnError::Stopped(Stop::TurnLost));
        };
        let anchor = newest.swap_remove(place);
        newest.truncate(place);
        newest.reverse();
        Ok((anchor, newest))
    }
}

/// Whether a person brought an item to the thread.
fn is_brought(item: &Item) -> bool {
    matches!(item.kind, ItemKind::UserMessage(_) | ItemKind::StructuredInput { .. })
        || matches!(&item.kind, ItemKind::ClientToolCall(_) if !super::begin::is_pending_call(item))
}

impl Chat {
    /// Whether the conversation has gone on since a turn: then its answer can't be made again without losing what came after.
    pub(in crate::chatkit) async fn has_gone_on(
        &self,
        owner: &Owner,
        place: &Place,
    ) -> Result<bool, StoreError> {
        // To answer an earlier message anew means to drop what came after it.
        if place.is_retry {
            return Ok(false);
        }
        let newest = self.newest_items(owner, &place.thread_id, MOST_ITEMS).await?;
        let last = newest.iter().find(|item| item.id == place.anchor_id || is_brought(item));
        Ok(last.is_none_or(|item| item.id != place.anchor_id))
    }
}

fn preamble(thread: &Thread, anchor: Item, is_created: bool) -> Vec<Event> {
    let created = is_created.then(|| {
        let thread = Thread { title: None, ..thread.clone() };
        Event::ThreadCreated { thread: ThreadView::bare(&thread) }
    });
    let brought = match anchor.kind {
        ItemKind::UserMessage(_) => Some(Event::ItemDone { item: anchor }),
        _ => None,
    };
    created.into_iter().chain(brought).collect()
}
