//! How is an answer made? A turn runs on the task tracker, not in the request: it takes the thread,
//! says what the protocol says first, lets the agent speak, stores what is final, and ends with a
//! last event, whatever happens.

mod begin;
mod claim;
mod draft;
mod follow;
mod panics;
mod plan;
mod speak;
mod title;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(super) use begin::{answered, is_pending_call};
pub use plan::{Place, Plan, Resumption};
pub(super) use speak::store_unheard;

use super::queues::Front;
use super::repeats::Running;
use super::{Asker, Chat};
use crate::agent::{Agent, AgentError};
use crate::limits::turns::TurnPlace;
use crate::protocol::{Event, Id};
use crate::store::{StoreError, TurnClaim};
use crate::telemetry::request::Failure;
use crate::user::Fingerprint;

use claim::{End, Taken};
use draft::SaveError;
use panics::caught;

const THREAD_GONE: &str = "This conversation was deleted.";
const GONE_ON: &str = "This conversation has gone on. Send the message again.";
const FILE_GONE: &str = "A file of this message was deleted or sent meanwhile. Upload it again, \
                         and send the message again.";
/// The longest that a turn may take.
pub(super) const LONGEST: Duration = Duration::from_secs(15 * 60);

/// One answer to one request.
#[expect(missing_debug_implementations, reason = "it holds what people say")]
pub struct Turn {
    /// Everything that a chat needs.
    pub chat: Arc<Chat>,
    /// Who asked.
    pub asker: Asker,
    /// Who answers.
    pub agent: Arc<dyn Agent>,
    /// What the request is known by.
    pub key: Fingerprint,
    /// Whether the client gave the request a key of its own: then its answer is remembered though
    /// it got through.
    pub is_keyed: bool,
    /// Whether the request came before. The store may still know the turn that was begun then.
    pub is_again: bool,
    /// What is said, and to whom.
    pub running: Arc<Running>,
    /// Its place among the answers under way, until it has ended.
    pub place: Option<TurnPlace>,
}

/// Why a turn ended without success.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Save(#[from] SaveError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The thread was changed between the request's check and its turn.
    #[error("{0}")]
    Changed(&'static str),
    #[error("{}", .0.cause())]
    Stopped(Stop),
    /// Something panicked, and this is what it said.
    #[error("{0}")]
    Panicked(String),
}

/// Who stopped a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    ClientLeft,
    Shutdown,
    TooLong,
    TurnLost,
}

impl Stop {
    fn cause(self) -> &'static str {
        match self {
            Self::ClientLeft => "the client left",
            Self::Shutdown => "the service is shutting down",
            Self::TooLong => "the turn took too long",
            Self::TurnLost => "the claim to the thread was lost",
        }
    }
}

impl TurnError {
    /// How it is counted.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Stopped(Stop::ClientLeft) => "cancelled",
            Self::Stopped(Stop::Shutdown) => "shutdown",
            Self::Store(_)
            | Self::Save(_)
            | Self::Agent(_)
            | Self::Changed(_)
            | Self::Panicked(_)
            | Self::Stopped(Stop::TooLong | Stop::TurnLost) => "failed",
        }
    }

    /// What the client is told: a safe text, and whether trying again makes sense.
    fn event(&self) -> Event {
        let (code, message, allow_retry) = match self {
            Self::Agent(AgentError::Told { message, allow_retry }) => {
                ("custom", Some(message.clone()), *allow_retry)
            }
            Self::Agent(AgentError::Declined { message }) => {
                ("custom", Some(message.clone()), false)
            }
            Self::Agent(AgentError::Failed { allow_retry, .. }) => {
                ("stream.error", None, *allow_retry)
            }
            Self::Changed(message) => ("custom", Some((*message).to_owned()), false),
            Self::Save(SaveError::ThreadGone | SaveError::TooDeep) => ("stream.error", None, false),
            Self::Store(_)
            | Self::Save(SaveError::Store(_))
            | Self::Agent(AgentError::Over)
            | Self::Panicked(_)
            | Self::Stopped(_) => ("stream.error", None, true),
        };
        Event::Error { code: code.to_owned(), message, allow_retry }
    }
}

impl Turn {
    /// Makes the answer. It resolves when the answer has got through, or was not fetched for a
    /// while.
    pub async fn run(mut self, plan: Box<Plan>) {
        if let Plan::Say { event, .. } = &*plan {
            self.running.feed.say(event);
            self.running.feed.end();
            self.place = None;
            return self.forget_in_time().await;
        }
        let mut thread_id = plan.thread_id().clone();
        let mut claim = self.new_claim(&plan);
        let deadline = Instant::now() + LONGEST;
        let mut front = None;
        let outcome =
            caught(self.take_and_answer(plan, &mut thread_id, &mut claim, &mut front, deadline))
                .await;
        let outcome = outcome.unwrap_or_else(|text| Err(TurnError::Panicked(text)));
        // Before the end is said: whoever hears it may ask the next thing at once.
        self.place = None;
        if outcome.is_ok() {
            self.running.is_whole();
        }
        if let Err(error) = &outcome {
            self.note(error);
            self.running.feed.say(&error.event());
        }
        self.running.feed.end();
        let end = match outcome {
            Ok(()) => End::Whole,
            Err(TurnError::Stopped(Stop::Shutdown)) => End::Interrupted,
            Err(_) => End::Failed,
        };
        if let Err(text) = caught(self.give_back(&thread_id, &mut claim, end)).await {
            tracing::warn!(error = text, "a claim could not be given back");
        }
        drop(front);
        self.forget_in_time().await;
    }

    /// Waits for the thread and carries out the plan, or tells what became of the same request
    /// before.
    async fn take_and_answer(
        &mut self,
        plan: Box<Plan>,
        thread_id: &mut Id,
        claim: &mut TurnClaim,
        front: &mut Option<Front>,
        deadline: Instant,
    ) -> Result<(), TurnError> {
        let taken = tokio::select! {
            biased;
            taken = async {
                *front = Some(self.chat.queues.front(thread_id).await);
                self.take(&plan, claim).await
            } => taken,
            stop = self.stopped(deadline) => Err(TurnError::Stopped(stop)),
        };
        match taken {
            Ok(Taken::Turn) => self.answer(plan, claim, deadline).await,
            Ok(Taken::Repeat(known)) => {
                (self.is_again, *thread_id) = (true, known.thread_id.clone());
                self.chat.metrics.repeated_request();
                Box::pin(self.follow(plan, known, claim, deadline)).await
            }
            Err(error) => {
                self.chat.metrics.turn_ended(&self.asker.owner.workflow, error.outcome());
                Err(error)
            }
        }
    }

    /// Resolves when the service ends, or the turn has taken too long.
    async fn stopped(&self, deadline: Instant) -> Stop {
        tokio::select! {
            () = self.chat.lifecycle.closing().cancelled() => Stop::Shutdown,
            () = tokio::time::sleep_until(deadline) => Stop::TooLong,
        }
    }

    /// Writes why the turn failed into the log line of its request. If the client left before, that
    /// line is written already, and the reason gets a line of its own.
    fn note(&self, error: &TurnError) {
        // Any client can ask an agent for what it does not do.
        let is_fault = !matches!(
            error,
            TurnError::Stopped(Stop::ClientLeft | Stop::Shutdown)
                | TurnError::Changed(_)
                | TurnError::Agent(AgentError::Declined { .. })
        );
        let context = &self.asker.context;
        let Err(Failure { cause, .. }) =
            context.note_failure(Failure { cause: error.to_string(), is_fault })
        else {
            return;
        };
        let (request_id, user) = (context.id(), self.asker.owner.user.fingerprint().hex());
        if is_fault {
            tracing::warn!(request_id, user, error = cause, "a turn failed");
        } else {
            tracing::info!(request_id, user, cause, "a turn was stopped");
        }
    }
}
