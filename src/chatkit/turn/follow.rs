//! What if another replica answers this request, or answered it and nobody heard the end? Then its
//! answer is told from the store once it is there; what was not finished is taken up again.

use std::ops::ControlFlow;

use tokio::time::Instant;

use super::begin::is_pending_call;
use super::claim::Known;
use super::{GONE_ON, Place, Plan, Resumption, THREAD_GONE, Turn, TurnError};
use crate::chatkit::Chat;
use crate::ids::new_id;
use crate::protocol::{
    Event, Item, ItemKind, Order, StreamOptions, StructuredInputStatus, Thread, ThreadView,
};
use crate::store::{Audience, Claimed, Owner, PageQuery, StoreError, TurnAbout, TurnClaim};

/// No answer has more items.
const MOST_ITEMS: u32 = 200;
/// A longer answer is not told again: it would be in memory whole.
const MOST_BYTES: usize = 8 * 1024 * 1024;
const TOO_LONG: &str = "The answer is too long to be told again. Load the conversation again.";

/// What a request brought, and what came of it.
struct Exchange {
    preamble: Vec<Event>,
    /// What the answer stands behind.
    anchor: Item,
    /// The oldest first.
    answer: Vec<Item>,
    /// Whether nobody has brought anything since.
    is_last: bool,
}

impl Turn {
    pub(super) async fn follow(
        &self,
        plan: Box<Plan>,
        known: Known,
        claim: &mut TurnClaim,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        // Under a key of its own, the claim waits for that turn's end.
        (claim.key, claim.about) = (new_id("after_").to_string(), None);
        let claimed = tokio::select! {
            claimed = self.wait_for(&known.thread_id, claim) => claimed?,
            stop = self.stopped(deadline) => return Err(TurnError::Stopped(stop)),
        };
        let lost = match claimed {
            Claimed::NotFound | Claimed::FileGone => return Err(TurnError::Changed(THREAD_GONE)),
            Claimed::Abandoned { about } => about,
            Claimed::Yes | Claimed::Busy | Claimed::Repeat { .. } | Claimed::Reused => None,
        };
        let Some(thread) = self.chat.store.thread(&self.asker.owner, &known.thread_id).await?
        else {
            return Err(TurnError::Changed(THREAD_GONE));
        };
        let Some(about) = self.about(&known).await? else {
            return Err(TurnError::Changed(GONE_ON));
        };
        let (about, is_lost) = match lost {
            Some(lost) if is_same(&lost, &about) => (lost, true),
            _ => (about, false),
        };
        // Nothing in the thread says what became of an action.
        if about == TurnAbout::Act {
            return Box::pin(self.answer(plan, claim, deadline)).await;
        }
        match self.exchange(&thread, &about, known.is_created, is_lost).await? {
            Some(exchange) => {
                self.tell_or_resume(thread, exchange, known.is_created, is_lost, claim, deadline)
                    .await
            }
            // Whoever began it was lost before anything was stored.
            None if is_lost && !known.is_created => {
                Box::pin(self.answer(plan, claim, deadline)).await
            }
            None => Err(TurnError::Changed(GONE_ON)),
        }
    }

    async fn tell_or_resume(
        &self,
        thread: Thread,
        exchange: Exchange,
        is_created: bool,
        is_lost: bool,
        claim: &mut TurnClaim,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        let Exchange { preamble, anchor, answer, is_last } = exchange;
        let is_answered = answer
            .last()
            .is_some_and(|item| !matches!(item.kind, ItemKind::SdkHiddenContext { .. }));
        if is_lost || (is_last && !is_answered) {
            let resumption = Resumption { thread, preamble, anchor };
            return Box::pin(self.answer(Box::new(Plan::Resume(resumption)), claim, deadline))
                .await;
        }
        if !is_answered {
            return Err(TurnError::Changed(GONE_ON));
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

    /// What the other turn answers. A turn that made its thread answers the thread's first item.
    /// The store no longer says so: a later turn has overwritten the note.
    async fn about(&self, known: &Known) -> Result<Option<TurnAbout>, TurnError> {
        if !known.is_created {
            return Ok(known.about.clone());
        }
        let page = PageQuery { limit: 1, order: Order::Asc, after: None };
        let first = self
            .chat
            .store
            .items(&self.asker.owner, &known.thread_id, &page, Audience::Model)
            .await?;
        let first = first.and_then(|mut page| page.data.pop());
        Ok(first.map(|item| TurnAbout::Message { item_id: item.id }))
    }

    /// What was brought, and what came of it. None when that is not stored: not yet, or not any
    /// more.
    async fn exchange(
        &self,
        thread: &Thread,
        about: &TurnAbout,
        is_created: bool,
        is_lost: bool,
    ) -> Result<Option<Exchange>, TurnError> {
        let (TurnAbout::Message { item_id }
        | TurnAbout::Output { item_id }
        | TurnAbout::Retry { item_id }
        | TurnAbout::Answers { item_id, .. }) = about
        else {
            return Ok(None);
        };
        let (store, owner) = (&self.chat.store, &self.asker.owner);
        let Some(item) = store.item(owner, &thread.id, item_id).await?.filter(is_brought) else {
            return Ok(None);
        };
        let anchor = match about {
            TurnAbout::Answers { behind: Some(behind), .. } => {
                store.item(owner, &thread.id, behind).await?
            }
            // Lost before it said a word.
            TurnAbout::Answers { behind: None, .. } if is_lost => {
                self.newest(&thread.id, 1).await?.pop()
            }
            TurnAbout::Answers { behind: None, .. } => None,
            _ => Some(item.clone()),
        };
        let Some(anchor) = anchor else { return Ok(None) };
        let page =
            PageQuery { limit: MOST_ITEMS, order: Order::Asc, after: Some(anchor.id.clone()) };
        let (mut answer, mut bytes, mut is_last) = (Vec::new(), 0_usize, true);
        let mut take = |item: Item, size| {
            is_last = !is_brought(&item);
            bytes = bytes.saturating_add(size);
            if !is_last || bytes > MOST_BYTES {
                return ControlFlow::Break(());
            }
            answer.push(item);
            ControlFlow::Continue(())
        };
        store.each_item(owner, &thread.id, &page, Audience::Model, &mut take).await?;
        if is_last && bytes > MOST_BYTES {
            return Err(TurnError::Changed(TOO_LONG));
        }
        let preamble = match about {
            TurnAbout::Message { .. } => {
                let created = is_created.then(|| created(thread));
                let brought = Event::ItemDone { item: self.chat.shown(&self.asker, item) };
                created.into_iter().chain([brought]).collect()
            }
            TurnAbout::Answers { .. } => vec![Event::ItemReplaced { item }],
            TurnAbout::Output { .. } | TurnAbout::Retry { .. } | TurnAbout::Act => Vec::new(),
        };
        Ok(Some(Exchange { preamble, anchor, answer, is_last }))
    }
}

/// Whether two claims are about the same thing. How far they had come may differ.
fn is_same(one: &TurnAbout, other: &TurnAbout) -> bool {
    match (one, other) {
        (TurnAbout::Answers { item_id: one, .. }, TurnAbout::Answers { item_id: other, .. }) => {
            one == other
        }
        (one, other) => one == other,
    }
}

/// The event that a thread was made, which had no title then.
fn created(thread: &Thread) -> Event {
    let thread = Thread { title: None, ..thread.clone() };
    Event::ThreadCreated { thread: ThreadView::bare(&thread) }
}

/// Whether a person brought an item to the thread, or what it says. What waits for that is the
/// agent's.
fn is_brought(item: &Item) -> bool {
    match &item.kind {
        ItemKind::UserMessage(_) => true,
        ItemKind::ClientToolCall(_) => !is_pending_call(item),
        ItemKind::StructuredInput { status, .. } => *status != StructuredInputStatus::Pending,
        _ => false,
    }
}

impl Chat {
    /// Whether the conversation has gone on since a turn: then its answer can't be made again
    /// without losing what came after.
    pub(in crate::chatkit) async fn has_gone_on(
        &self,
        owner: &Owner,
        place: &Place,
    ) -> Result<bool, StoreError> {
        // To answer an earlier message anew means to drop what came after it.
        if place.is_retry {
            return Ok(false);
        }
        let page = PageQuery { limit: MOST_ITEMS, order: Order::Desc, after: None };
        let mut last = None;
        let mut look = |item: Item, _| {
            if item.id != place.anchor_id && !is_brought(&item) {
                return ControlFlow::Continue(());
            }
            last = Some(item.id);
            ControlFlow::Break(())
        };
        self.store.each_item(owner, &place.thread_id, &page, Audience::Model, &mut look).await?;
        Ok(last.as_ref() != Some(&place.anchor_id))
    }
}
