//! How does a chat work when this server runs it? The ChatKit protocol at `POST /api/chatkit`.
//!
//! [`http`] lets a request in and reads it. A plain one is answered by a function of [`ops`]. A
//! streaming one becomes a plan ([`turn::Plan`]) there, or is refused; the plan is carried out by a
//! turn ([`turn`]), which runs by itself, saves as it goes, and says what happens to a
//! [`feed::Feed`]. The client hears that feed ([`sse`]). [`repeats`] knows the feeds by what was
//! asked, so that the same request again hears the same turn.

pub mod feed;
mod frames;
pub mod http;
pub mod links;
pub mod ops;
pub mod queues;
pub mod recordings;
pub mod repeats;
pub mod sse;
pub mod transcribe;
pub mod turn;
pub mod uploads;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::Agent;
use crate::clock::Clock;
use crate::config::features::History;
use crate::config::self_hosted::OnDisconnect;
use crate::error::{Error, Kind};
use crate::lifecycle::Lifecycle;
use crate::limits::client_ip::AddressKey;
use crate::limits::turns::TurnLimit;
use crate::protocol::{Id, Item, ItemUpdate, Timestamp};
use crate::store::{Owner, Store, StoreError};
use crate::telemetry::metrics::Metrics;

use crate::telemetry::request::RequestContext;

use links::Base;
use queues::Queues;
use recordings::Place;
use repeats::Repeats;
use transcribe::Speech;
use uploads::Uploads;

/// Everything that a chat needs.
#[expect(missing_debug_implementations, reason = "agents hold keys")]
pub struct Chat {
    /// Where threads live.
    pub store: Arc<dyn Store>,
    /// What becomes of files.
    pub uploads: Uploads,
    /// Who turns speech into text; nobody where dictation is off.
    pub speech: Option<Speech>,
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
    /// How many answers one user may have under way.
    pub turns: TurnLimit,
    /// The most bytes that a person, or a tool of the page, may say at once.
    pub max_message_bytes: usize,
}

/// Who asks, and how.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Whose threads they may see.
    pub owner: Owner,
    /// The language of the page.
    pub locale: Option<String>,
    /// What the log says of the request.
    pub context: Arc<RequestContext>,
    /// Where this service is for them, for links.
    pub base: Base,
    /// From where they ask.
    pub address: AddressKey,
}

impl Asker {
    /// Who dictates, when they do.
    fn speaker(&self) -> Place {
        Place { user: self.owner.user.clone(), address: self.address }
    }
}

impl Chat {
    /// Who answers whoever asks.
    fn agent(&self, asker: &Asker) -> Result<Arc<dyn Agent>, Error> {
        let agent = self.agents.get(&asker.owner.workflow).cloned();
        agent.ok_or_else(|| Error::internal("a workflow has no agent"))
    }

    /// An item on its way to a client, with fresh links.
    fn shown(&self, asker: &Asker, mut item: Item) -> Item {
        self.uploads.present_item(&mut item, &asker.base);
        item
    }

    /// An update of an item on its way to a client, with fresh links.
    fn shown_update(&self, asker: &Asker, mut update: ItemUpdate) -> ItemUpdate {
        if let ItemUpdate::ImageUpdated { image, .. } = &mut update {
            self.uploads.present_image(image, &asker.base);
        }
        update
    }

    /// What the time is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_epoch(self.clock.now())
    }
}

/// A request whose thread, item or file is not there, or is somebody else's: nobody can tell which.
fn not_found() -> Error {
    Error::new(Kind::NotFound, "There is nothing with this id.")
}

/// What a mutex holds, also after a panic of somebody who held it: nothing here is left half
/// changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let message = "The threads can't be reached right now. Try again in a moment.";
        match error {
            StoreError::Away(_) => Self::new(Kind::NotReady, message).because(error),
            StoreError::Failed(_) => Self::internal(error),
        }
    }
}
