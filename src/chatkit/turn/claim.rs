//! Who has the thread? A turn claims it in the store, where every replica sees it, renews the
//! claim, and gives it back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Plan, Turn, TurnError};
use crate::chatkit::repeats::{REMEMBERED, REUSED_KEY};
use crate::ids::new_id;
use crate::protocol::Id;
use crate::store::{Claimed, StoreError, TurnAbout, TurnClaim};

/// A claim holds for so long unless it is renewed, which it is every three seconds. Whoever asks in
/// the thread of a replica that crashed waits no longer.
const LEASE: Duration = Duration::from_secs(10);
/// Whoever waits for another replica's turn asks again after so long, and then less and less often.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long a client may take to fetch the end before others may go on in the thread.
const FETCHING: Duration = Duration::from_secs(1);
/// How often it is tried to give a claim back. After that it ends by itself.
const ATTEMPTS: u32 = 5;
/// How long an answer is remembered whose request had a key of its own.
const KEYED: Duration = Duration::from_secs(600);

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The answer is whole.
    Whole,
    /// The service ended first. The client was told to try again.
    Interrupted,
    /// Anything else.
    Failed,
}

/// What became of the claim.
pub(super) enum Taken {
    /// It holds.
    Turn,
    /// Another turn answers, or answered, the same request.
    Repeat(Known),
}

/// Another turn that answers, or answered, the same request.
pub(super) struct Known {
    pub(super) thread_id: Id,
    /// Whether it made its thread.
    pub(super) is_created: bool,
    /// What it is about, unless it made its thread.
    pub(super) about: Option<TurnAbout>,
}

impl Turn {
    pub(super) fn new_claim(&self, plan: &Plan) -> TurnClaim {
        // The store remembers the key of a turn that did not get through: to take it up again, or
        // to answer the same anew, is another claim.
        let key = if self.is_again { new_id("again_").to_string() } else { self.key.hex() };
        let body = self.is_keyed.then(|| self.running.body.hex());
        TurnClaim { key, body, holder: new_id("").to_string(), about: plan.about(), lasts: LEASE }
    }

    /// Claims the thread of a plan, which for a new one means to make it. Waits while somebody else
    /// has it.
    pub(super) async fn take(&self, plan: &Plan, claim: &TurnClaim) -> Result<Taken, TurnError> {
        if let Plan::Create { thread, message } = plan {
            let (store, owner) = (&self.chat.store, &self.asker.owner);
            return match store.create_thread(owner, thread, message, claim).await? {
                Claimed::Repeat { thread_id, about, .. } => {
                    Ok(Taken::Repeat(Known { thread_id, is_created: true, about }))
                }
                Claimed::FileGone => Err(TurnError::Changed(super::FILE_GONE)),
                Claimed::Reused => Err(TurnError::Changed(REUSED_KEY)),
                Claimed::Yes | Claimed::Abandoned { .. } | Claimed::Busy | Claimed::NotFound => {
                    Ok(Taken::Turn)
                }
            };
        }
        match self.wait_for(plan.thread_id(), claim).await? {
            Claimed::Repeat { thread_id, about, .. } => {
                Ok(Taken::Repeat(Known { thread_id, is_created: false, about }))
            }
            Claimed::Yes | Claimed::Abandoned { .. } | Claimed::Busy => Ok(Taken::Turn),
            Claimed::NotFound | Claimed::FileGone => Err(TurnError::Changed(super::THREAD_GONE)),
            Claimed::Reused => Err(TurnError::Changed(REUSED_KEY)),
        }
    }

    /// Claims a thread, and waits while somebody else has it.
    pub(super) async fn wait_for(
        &self,
        thread_id: &Id,
        claim: &TurnClaim,
    ) -> Result<Claimed, StoreError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.chat.store.take_turn(&self.asker.owner, thread_id, claim).await? {
                Claimed::Busy => sleep(pause).await,
                claimed => return Ok(claimed),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Renews the claim. Returns whether it still holds: while the store doesn't answer, it is
    /// taken to.
    pub(super) async fn keep(&self, thread_id: &Id, claim: &TurnClaim) -> bool {
        match self.chat.store.keep_turn(&self.asker.owner, thread_id, claim).await {
            Ok(holds) => holds,
            Err(error) => {
                tracing::warn!(%error, "a claim could not be renewed");
                true
            }
        }
    }

    /// Makes a turn that is taken up again known by its request, so that it can be taken up once
    /// more. To take it, it had to have a name of its own.
    pub(super) async fn rename(&self, plan: &Plan, claim: &mut TurnClaim) {
        let key = self.key.hex();
        if claim.key != key {
            (claim.key, claim.about) = (key, plan.about());
            self.keep(plan.thread_id(), claim).await;
        }
    }

    /// Gives the thread back once somebody has heard the end, or soon. An answer that is not whole,
    /// and whose end nobody heard or was that of the service, is left as one whose holder is lost:
    /// the same request takes it up again.
    pub(super) async fn give_back(&self, thread_id: &Id, claim: &mut TurnClaim, end: End) {
        let feed = &self.running.feed;
        let _ = timeout(FETCHING, feed.settled()).await;
        let has_got_through = feed.has_got_through();
        let is_left = match end {
            End::Whole => false,
            End::Interrupted => true,
            End::Failed => !has_got_through,
        };
        claim.lasts = if is_left { Duration::ZERO } else { REMEMBERED };
        let (store, owner) = (&self.chat.store, &self.asker.owner);
        for _ in 0..ATTEMPTS {
            let given_back = if is_left {
                store.keep_turn(owner, thread_id, claim).await.map(drop)
            } else {
                store.end_turn(owner, thread_id, claim, has_got_through).await
            };
            match given_back {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "a claim could not be given back"),
            }
            sleep(LONGEST_PAUSE).await;
        }
    }

    /// Forgets the request when its answer has got through, or when nobody came for it in time.
    /// What only the turn needed is let go at once.
    pub(super) async fn forget_in_time(self) {
        let Self { chat, running, key, is_keyed, is_again, .. } = self;
        let remembered = async {
            running.feed.settled().await;
            match (is_keyed, is_again || !running.feed.has_got_through()) {
                (true, _) => Some(KEYED),
                (false, true) => Some(REMEMBERED),
                (false, false) => None,
            }
        };
        let stopping = chat.lifecycle.stopping();
        let remembered = stopping.run_until_cancelled(remembered).await.flatten();
        let (running, turn) = (Arc::downgrade(&running), running);
        if let Some(time) = remembered {
            chat.repeats.remember(key, &turn);
            drop(turn);
            stopping.run_until_cancelled(sleep(time)).await;
        }
        chat.repeats.forget(key, &running);
    }
}
