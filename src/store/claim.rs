//! Whose turn is it in a thread? [`TurnClaim`] asks for it, [`Claimed`] is the answer.

use std::time::Duration;

use super::TurnAbout;
use crate::protocol::Id;

/// A claim to answer in a thread. One holder at a time has a thread's turn, over every replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnClaim {
    /// What was asked, as a fingerprint: the same request again has the same key.
    pub key: String,
    /// The body that came with a key of the client's choice, as a fingerprint.
    pub body: Option<String>,
    /// Who answers: an id of its own for each turn.
    pub holder: String,
    /// What the turn is about, for whoever asks the same elsewhere.
    pub about: Option<TurnAbout>,
    /// How long the claim holds from now on, by the database's clock: those of replicas differ.
    pub lasts: Duration,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The turn is the claimer's.
    Yes,
    /// The turn is the claimer's, and whoever had it before is lost: their answer is not whole.
    Abandoned {
        /// What it was about.
        about: Option<TurnAbout>,
    },
    /// Somebody else's turn is running.
    Busy,
    /// The same request is being answered, or was answered and its answer did not get through: in
    /// this thread.
    Repeat {
        /// The thread.
        thread_id: Id,
        /// Whether the answer is still being made.
        is_running: bool,
        /// What that turn is about. None when it made the thread: then it is about the thread's
        /// first item.
        about: Option<TurnAbout>,
    },
    /// The key is known, and came with another body.
    Reused,
    /// There is no such thread.
    NotFound,
    /// A file of the thread's first item is gone, or another item has it.
    FileGone,
}
