//! How does a chat work when this server runs it? The ChatKit protocol at `POST /api/chatkit`.
//!
//! [`http`] lets a request in and reads it. A plain one is answered by a function of [`ops`]. A streaming one becomes a plan
//! ([`turn::Plan`]) there, or is refused; the plan is carried out by a turn ([`turn`]), which runs by itself, saves as it
//! goes, and says what happens to a [`feed::Feed`]. The client hears that feed ([`sse`]). [`repeats`] knows the feeds by what
//! was asked, so that the same request again hears the same turn.

pub mod feed;
pub mod http;
pub mod ops;
pub mod queues;
pub mod repeats;
pub mod sse;
pub mod turn;

use std::collections::HashMap;
use std::sync::Arc;

use crate::agent::Agent;
use crate::clock::Clock;
use crate::config::features::History;
use crate::config::self_hosted::OnDisconnect;
use crate::error::Error;
use crate::lifecycle::Lifecycle;
use crate::protocol::{Id, Timestamp};
use crate::store::files::Files;
use crate::store::{Owner, Store, StoreError};
use crate::telemetry::metrics::Metrics;

use queues::Queues;
use repeats::Repeats;

/// Everything that a chat needs.
#[expect(missing_debug_implementations, reason = "agents hold keys")]
pub struct Chat {
    /// Where threads live.
    pub store: Arc<dyn Store>,
    /// Where files live.
    pub files: Arc<Files>,
    /// Who answers, by the workflows' names.
    pub agents: HashMap<Id, Arc<dyn Agent>>,
    /// What becomes of an answer whose reader has left.
    pub on_disconnect: OnDisconnect,
    /// Which threads are listed.
    pub history: History,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// Who waits for turns, and ends them.
    pub lifecycle: Lifecycle,
    /// What is counted.
    pub metrics: Metrics,
    /// Which turn answers which request.
    pub repeats: Repeats,
    /// Who waits for which thread.
    pub queues: Queues,
}

/// Who asks, and how.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Whose threads they may see.
    pub owner: Owner,
    /// The language of the page.
    pub locale: Option<String>,
    /// The request's id, for the log.
    pub request_id: String,
}

impl Chat {
    /// Who answers whoever asks.
    fn agent(&self, asker: &Asker) -> Result<Arc<dyn Agent>, Error> {
        let agent = self.agents.get(&asker.owner.workflow).cloned();
        agent.ok_or_else(|| Error::internal("a workflow has no agent"))
    }

    /// What the time is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_epoch(self.clock.now())
    }
}

/// A request whose thread, item or file is not there, or is somebody else's: nobody can tell which.
fn not_found() -> Error {
    Error::new(crate::error::Kind::NotFound, "There is nothing with this id.")
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}
