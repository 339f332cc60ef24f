//! Was this asked before? The same request of the same user hears the turn that answers it, as long as no answer of that turn
//! has got through to its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::feed::Feed;
use super::turn::Resumption;
use crate::store::Owner;
use crate::user::Fingerprint;

/// How long an answer that did not get through is remembered. Browsers repeat within half a minute.
pub const REMEMBERED: Duration = Duration::from_secs(120);

/// Which turn answers which request.
#[derive(Debug, Default)]
pub struct Repeats {
    by_key: Arc<Mutex<HashMap<Fingerprint, Arc<Slot>>>>,
}

/// The turn of one request, and its door: while somebody holds it, who asks the same waits to hear what becomes of it.
#[derive(Debug, Default)]
struct Slot {
    door: Arc<AsyncMutex<()>>,
    running: Mutex<Option<Arc<Running>>>,
}

/// A turn that was begun for a request.
#[derive(Debug)]
pub struct Running {
    /// What it says.
    pub feed: Arc<Feed>,
    /// The body that it answers. A key that the client chose may come with another one.
    pub body: Fingerprint,
    /// How the turn would be taken up again, once it was stopped because nobody listened.
    pub resumption: OnceLock<Resumption>,
    is_stopped: AtomicBool,
}

/// What there is for a request: the turn that was begun for it, if any. Whoever holds it decides alone.
#[derive(Debug)]
pub struct Found {
    key: Fingerprint,
    by_key: Arc<Mutex<HashMap<Fingerprint, Arc<Slot>>>>,
    slot: Arc<Slot>,
    _door: OwnedMutexGuard<()>,
}

impl Running {
    /// A turn that has said nothing yet.
    #[must_use]
    pub fn new(body: Fingerprint) -> Self {
        Self { feed: Arc::default(), body, resumption: OnceLock::new(), is_stopped: AtomicBool::new(false) }
    }

    /// Notes that the turn was stopped because nobody listened.
    pub fn stopped_unheard(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    /// How the turn is taken up again, if it was stopped because nobody listened.
    #[must_use]
    pub fn to_resume(&self) -> Option<Resumption> {
        if self.is_stopped.load(Ordering::Acquire) { self.resumption.get().cloned() } else { None }
    }
}

impl Repeats {
    /// Waits for those who asked the same before.
    pub async fn find(&self, key: Fingerprint) -> Found {
        loop {
            let slot = Arc::clone(lock(&self.by_key).entry(key).or_default());
            let door = Arc::clone(&slot.door).lock_owned().await;
            // It may have been forgotten while we waited.
            if lock(&self.by_key).get(&key).is_some_and(|known| Arc::ptr_eq(known, &slot)) {
                return Found { key, by_key: Arc::clone(&self.by_key), slot, _door: door };
            }
        }
    }

    /// Forgets a turn, unless another one has taken its place.
    pub fn forget(&self, key: Fingerprint, running: &Arc<Running>) {
        let mut by_key = lock(&self.by_key);
        let is_the_one = by_key.get(&key).is_some_and(|slot| {
            lock(&slot.running).as_ref().is_some_and(|known| Arc::ptr_eq(known, running))
        });
        if is_the_one {
            by_key.remove(&key);
        }
    }
}

impl Found {
    /// The turn that was begun.
    #[must_use]
    pub fn running(&self) -> Option<Arc<Running>> {
        lock(&self.slot.running).clone()
    }

    /// Notes the turn that is begun now.
    pub fn begin(self, running: Arc<Running>) {
        *lock(&self.slot.running) = Some(running);
    }
}

/// A request that was refused leaves nothing behind.
impl Drop for Found {
    fn drop(&mut self) {
        let mut by_key = lock(&self.by_key);
        let is_known = by_key.get(&self.key).is_some_and(|slot| Arc::ptr_eq(slot, &self.slot));
        if is_known && lock(&self.slot.running).is_none() {
            by_key.remove(&self.key);
        }
    }
}

/// What stands for a request: whose it is, and its body, or the key that the client gave it.
#[must_use]
pub fn key(owner: &Owner, what: &[u8]) -> Fingerprint {
    let (workflow, user) = (owner.workflow.as_bytes(), owner.user.as_str().as_bytes());
    // No name contains a NUL.
    Fingerprint::of(&[workflow, user, what].join(&0))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
