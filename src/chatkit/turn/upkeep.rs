//! What is done for a turn while it lasts? At each tick the messages under way are stored, and the
//! claim to the thread is renewed. A store that fails is tried again soon, and ends no answer: a
//! claim that ran out and that nobody else took is renewed like any other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::draft::Unsaved;
use crate::protocol::Id;
use crate::store::{Owner, Store, TurnClaim};

/// How often the messages under way are stored, and the claim renewed.
const TICK: Duration = Duration::from_secs(3);
/// How soon it is tried again when it failed.
const AGAIN: Duration = Duration::from_millis(500);

/// The upkeep of one turn.
pub(super) struct Upkeep<'a> {
    store: Arc<dyn Store>,
    owner: &'a Owner,
    thread_id: Id,
    claim: TurnClaim,
    ticks: Interval,
    work: Option<BoxFuture<'a, Kept>>,
}

/// What there is to do.
pub(super) enum Due {
    /// It is time to [`Upkeep::begin`].
    Tick,
    /// What was begun is done.
    Done(Kept),
}

/// What came of it.
pub(super) struct Kept {
    /// The messages that are stored, each as it was after so many changes.
    pub(super) saved: Vec<(Id, u64)>,
    /// Whether the thread is gone.
    pub(super) is_gone: bool,
    /// Whether the turn is still ours: while the store doesn't answer, it is taken to be.
    pub(super) holds: bool,
    has_failed: bool,
}

impl<'a> Upkeep<'a> {
    pub(super) fn new(
        store: Arc<dyn Store>,
        owner: &'a Owner,
        thread_id: Id,
        claim: TurnClaim,
    ) -> Self {
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { store, owner, thread_id, claim, ticks, work: None }
    }

    /// Waits for the next tick, or for the end of what was begun at the last one. It may be
    /// cancelled: nothing is lost.
    pub(super) async fn due(&mut self) -> Due {
        if let Some(kept) = self.finish().await {
            return Due::Done(kept);
        }
        self.ticks.tick().await;
        Due::Tick
    }

    /// Waits for the end of what was begun, if anything was. It may be cancelled.
    pub(super) async fn finish(&mut self) -> Option<Kept> {
        let kept = self.work.as_mut()?.await;
        self.work = None;
        if kept.has_failed {
            self.ticks.reset_after(AGAIN);
        }
        Some(kept)
    }

    /// Begins to store these messages and to renew the claim, beside the answer.
    pub(super) fn begin(&mut self, unsaved: Vec<Unsaved>) {
        let (store, owner) = (Arc::clone(&self.store), self.owner);
        let (thread_id, claim) = (self.thread_id.clone(), self.claim.clone());
        let work = async move {
            let mut kept =
                Kept { saved: Vec::new(), is_gone: false, holds: true, has_failed: false };
            for Unsaved { item, changes } in unsaved {
                match store.save_item(owner, &item).await {
                    Ok(true) => kept.saved.push((item.id, changes)),
                    Ok(false) => kept.is_gone = true,
                    Err(error) => {
                        kept.has_failed = true;
                        tracing::warn!(%error, "a message under way could not be stored, and is tried again");
                    }
                }
            }
            match store.keep_turn(owner, &thread_id, &claim).await {
                Ok(holds) => kept.holds = holds,
                Err(error) => {
                    kept.has_failed = true;
                    tracing::warn!(%error, "a claim could not be renewed, and is tried again");
                }
            }
            kept
        };
        self.work = Some(work.boxed());
    }
}
