//! How does an agent speak? Its events are stored and said one by one, until it is done, fails, or
//! is stopped.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::begin::Begun;
use super::draft::{Draft, SaveError};
use super::panics::caught;
use super::upkeep::{Due, Kept, Upkeep};
use super::{Plan, Stop, Turn, TurnError};
use crate::agent::turn::new_item;
use crate::agent::{self, AgentError, AgentEvent};
use crate::chatkit::feed::Departure;
use crate::config::self_hosted::OnDisconnect;
use crate::protocol::{Event, Item, ItemKind, Thread, ThreadView};
use crate::store::{StoreError, TurnClaim, insist};

/// What the model is told when the client left, word for word as the official server does.
const CANCELLED: &str = "The user cancelled the stream. Stop responding to the prior request.";
/// How long the end of a turn waits for the store when the service ends. Its goodbye takes two
/// seconds, or a quarter of a short grace.
const SETTLING: Duration = Duration::from_millis(400);

impl Turn {
    /// Carries out a plan in a thread that is ours.
    pub(super) async fn answer(
        &self,
        plan: Box<Plan>,
        claim: &mut TurnClaim,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        self.rename(&plan, claim).await;
        let metrics = &self.chat.metrics;
        let _running = metrics.turn_running();
        let outcome = caught(self.carry_out(plan, claim, deadline)).await;
        let outcome = outcome.unwrap_or_else(|text| Err(TurnError::Panicked(text)));
        let ended = outcome.as_ref().map_or_else(TurnError::outcome, |()| "done");
        metrics.turn_ended(&self.asker.owner.workflow, ended);
        outcome
    }

    async fn carry_out(
        &self,
        plan: Box<Plan>,
        claim: &mut TurnClaim,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        // Boxed like every step of a turn that is long over while the turn still waits.
        let Begun { agent_turn, mut events, mut draft, act } =
            Box::pin(self.begin(*plan, claim)).await?;
        let agent = &*self.agent;
        let answer = caught(async {
            match act.as_deref() {
                Some((action, sender)) => agent.act(&agent_turn, action, sender.as_ref()).await,
                None => agent.respond(&agent_turn).await,
            }
        });
        let answer = answer
            .map(|outcome| outcome.unwrap_or_else(|text| Err(AgentError::failed(text))))
            .boxed();
        let mut thread = agent_turn.thread.clone();
        let (store, owner) = (self.chat.store.clone(), &self.asker.owner);
        let mut upkeep = Upkeep::new(store, owner, thread.id.clone(), claim.clone());
        let spoken =
            self.speak(answer, &mut events, &mut draft, &mut thread, &mut upkeep, deadline).await;
        // What is stored from here on is newer. A shutdown does not wait long.
        if let Ok(Some(kept)) = timeout(SETTLING, upkeep.finish()).await {
            kept.saved.iter().for_each(|(id, changes)| draft.is_saved(id, *changes));
        }
        drop(upkeep);
        match spoken {
            Ok(()) => {
                draft.discard_pending().await?;
                draft.release().await?;
                if let Err(error) = Box::pin(self.give_title(&agent_turn, &thread, deadline)).await
                {
                    // The answer is whole without one.
                    tracing::warn!(%error, "a title could not be stored");
                }
                Ok(())
            }
            Err(error) => {
                if matches!(error, TurnError::Stopped(Stop::ClientLeft)) {
                    // Before anything is stored: who asks again meanwhile waits for the thread, and
                    // takes the turn up.
                    self.running.stopped_unheard();
                }
                Box::pin(self.wind_up(&mut draft, &error)).await;
                Err(error)
            }
        }
    }

    async fn speak(
        &self,
        mut answer: BoxFuture<'_, Result<(), AgentError>>,
        events: &mut tokio::sync::mpsc::Receiver<Box<AgentEvent>>,
        draft: &mut Draft<'_>,
        thread: &mut Thread,
        upkeep: &mut Upkeep<'_>,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        let mut silent_since = Some(Instant::now());
        let mut stopped = pin!(self.stopped(deadline));
        let mut left = pin!(self.client_left());
        let mut outcome: Option<Result<(), AgentError>> = None;
        loop {
            if let Some(outcome) = outcome {
                while let Ok(event) = events.try_recv() {
                    self.note_first(&mut silent_since);
                    Box::pin(self.hear_in_order(*event, draft, thread, upkeep)).await?;
                }
                return outcome.map_err(TurnError::from);
            }
            tokio::select! {
                biased;
                stop = &mut stopped => return Err(TurnError::Stopped(stop)),
                () = &mut left => return Err(TurnError::Stopped(Stop::ClientLeft)),
                due = upkeep.due() => match due {
                    Due::Tick => upkeep.begin(draft.unsaved()),
                    Due::Done(kept) => note_kept(&kept, draft)?,
                },
                Some(event) = events.recv() => {
                    self.note_first(&mut silent_since);
                    let heard = Box::pin(self.hear_in_order(*event, draft, thread, upkeep));
                    alongside(&mut answer, &mut outcome, heard).await?;
                }
                done = &mut answer => outcome = Some(done),
            }
        }
    }

    /// Hears an event. One that is stored comes after what is being stored, which may be an earlier
    /// state of the same item.
    async fn hear_in_order(
        &self,
        event: AgentEvent,
        draft: &mut Draft<'_>,
        thread: &mut Thread,
        upkeep: &mut Upkeep<'_>,
    ) -> Result<(), TurnError> {
        let is_stored = match &event {
            AgentEvent::ItemDone(_)
            | AgentEvent::ItemKept(_)
            | AgentEvent::ItemReplaced(_)
            | AgentEvent::ItemRemoved(_)
            | AgentEvent::ThreadChanged(_) => true,
            AgentEvent::ItemAdded(_)
            | AgentEvent::ItemUpdated { .. }
            | AgentEvent::Progress { .. }
            | AgentEvent::ClientEffect { .. }
            | AgentEvent::Notice { .. } => false,
        };
        if is_stored && let Some(kept) = upkeep.finish().await {
            note_kept(&kept, draft)?;
        }
        self.hear(event, draft, thread).await
    }

    /// Measures the time to the first event of the answer.
    fn note_first(&self, silent_since: &mut Option<Instant>) {
        if let Some(began) = silent_since.take() {
            self.chat.metrics.turn_first_event(began.elapsed());
        }
    }

    /// Resolves when the client has left and that ends the answer. One that only fails to read does
    /// not.
    async fn client_left(&self) {
        if self.chat.on_disconnect == OnDisconnect::Finish
            || self.running.feed.abandoned().await == Departure::Stalled
        {
            std::future::pending::<()>().await;
        }
    }

    /// Stores what an event says, then says it.
    async fn hear(
        &self,
        event: AgentEvent,
        draft: &mut Draft<'_>,
        thread: &mut Thread,
    ) -> Result<(), TurnError> {
        let event = match event {
            AgentEvent::ItemAdded(item) => {
                draft.begin(item.clone());
                Event::ItemAdded { item: self.chat.shown(&self.asker, item) }
            }
            AgentEvent::ItemUpdated { item_id, update } => {
                draft.update(&item_id, &update);
                Event::ItemUpdated { item_id, update: self.chat.shown_update(&self.asker, update) }
            }
            AgentEvent::ItemDone(item) => {
                draft.save(&item).await?;
                if item.is_hidden() {
                    return Ok(());
                }
                Event::ItemDone { item: self.chat.shown(&self.asker, item) }
            }
            AgentEvent::ItemKept(item) => return Ok(draft.save(&item).await?),
            AgentEvent::ItemReplaced(item) => {
                draft.save(&item).await?;
                Event::ItemReplaced { item: self.chat.shown(&self.asker, item) }
            }
            AgentEvent::ItemRemoved(item_id) => {
                draft.remove(&item_id).await?;
                Event::ItemRemoved { item_id }
            }
            AgentEvent::ThreadChanged(change) => {
                let owner = &self.asker.owner;
                let changed =
                    insist(|| self.chat.store.change_thread(owner, &thread.id, &change)).await?;
                let changed = changed.ok_or(SaveError::ThreadGone)?;
                if changed == *thread {
                    return Ok(());
                }
                *thread = changed;
                Event::ThreadUpdated { thread: ThreadView::bare(thread) }
            }
            AgentEvent::Progress { text, icon } => Event::ProgressUpdate { text, icon },
            AgentEvent::ClientEffect { name, data } => Event::ClientEffect { name, data },
            AgentEvent::Notice { level, message, title } => Event::Notice { level, message, title },
        };
        self.running.feed.say(&event);
        Ok(())
    }

    /// Leaves the thread as it should be after an answer that did not come to its end.
    async fn wind_up(&self, draft: &mut Draft<'_>, error: &TurnError) {
        let done = async {
            let stop = match error {
                TurnError::Stopped(stop) => Some(*stop),
                // What people saw is no worse for a store that was away.
                TurnError::Store(_) | TurnError::Save(SaveError::Store(_)) => None,
                _ => return draft.discard_pending().await,
            };
            if draft.is_replacing() || stop == Some(Stop::TurnLost) {
                // The earlier answer stays; or the thread is somebody else's by now.
                return Ok(());
            }
            draft.keep_messages().await?;
            if stop == Some(Stop::ClientLeft) {
                draft.save(&self.cancelled(draft.thread_id())).await?;
            }
            Ok(())
        };
        let is_shutdown = matches!(error, TurnError::Stopped(Stop::Shutdown));
        // The last event must go out before the service ends.
        let most = if is_shutdown { SETTLING } else { Duration::MAX };
        match timeout(most, done).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what was said so far could not be stored"),
            Err(_) => tracing::warn!("what was said so far could not be stored before the end"),
        }
    }

    fn cancelled(&self, thread_id: &crate::protocol::Id) -> Item {
        let content = CANCELLED.to_owned();
        new_item(thread_id, self.chat.now(), ItemKind::SdkHiddenContext { content })
    }
}

/// Notes what came of the upkeep.
///
/// # Errors
/// When the thread is gone, or somebody else's by now.
fn note_kept(kept: &Kept, draft: &mut Draft<'_>) -> Result<(), TurnError> {
    kept.saved.iter().for_each(|(id, changes)| draft.is_saved(id, *changes));
    if kept.is_gone {
        return Err(SaveError::ThreadGone.into());
    }
    if kept.holds { Ok(()) } else { Err(TurnError::Stopped(Stop::TurnLost)) }
}

/// Does some work while the agent goes on, and notes how its answer ends if it does. An agent that
/// stood still might hold the very connection to the database that the work waits for.
async fn alongside<T>(
    answer: &mut BoxFuture<'_, Result<(), AgentError>>,
    outcome: &mut Option<Result<(), AgentError>>,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            ended = &mut *answer, if outcome.is_none() => *outcome = Some(ended),
        }
    }
}

/// What an agent says outside a turn, by [`Agent::act_now`](agent::Agent::act_now), is stored and
/// heard by nobody.
pub(in crate::chatkit) async fn store_unheard(
    chat: &crate::chatkit::Chat,
    turn: &agent::Turn,
    events: &mut tokio::sync::mpsc::Receiver<Box<AgentEvent>>,
) -> Result<(), StoreError> {
    while let Some(Some(event)) = events.recv().now_or_never() {
        match *event {
            AgentEvent::ItemDone(item)
            | AgentEvent::ItemKept(item)
            | AgentEvent::ItemReplaced(item) => {
                chat.store.save_item(&turn.owner, &item).await?;
            }
            AgentEvent::ItemRemoved(item_id) => {
                chat.store.remove_items(&turn.owner, &turn.thread.id, &[item_id]).await?;
            }
            AgentEvent::ThreadChanged(change) => {
                chat.store.change_thread(&turn.owner, &turn.thread.id, &change).await?;
            }
            AgentEvent::ItemAdded(_)
            | AgentEvent::ItemUpdated { .. }
            | AgentEvent::Progress { .. }
            | AgentEvent::ClientEffect { .. }
            | AgentEvent::Notice { .. } => {}
        }
    }
    Ok(())
}
