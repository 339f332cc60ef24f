//! Was this asked before? The same request of the same user hears the turn that answers it, as long
//! as no answer of that turn has got through to its end.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::feed::Feed;
use super::lock;
use super::turn::{Place, Resumption};
use crate::store::Owner;
use crate::user::Fingerprint;

/// How long an answer that did not get through is remembered. Browsers repeat within half a minute.
pub const REMEMBERED: Duration = Duration::from_secs(120);

/// What is said of a client's key that came with another body before.
pub const REUSED_KEY: &str =
    "This `Idempotency-Key` came with another request before. Use a new key for a new request.";

/// The most bytes of turns that are remembered after their end. Past it the oldest are forgotten
/// early.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Which turn answers which request.
#[derive(Debug, Default)]
pub struct Repeats {
    by_key: Arc<Mutex<HashMap<Fingerprint, Arc<Slot>>>>,
    ended: Mutex<Ended>,
}

/// Turns that are remembered though they have ended, the oldest first.
#[derive(Debug, Default)]
struct Ended {
    turns: VecDeque<(Fingerprint, Weak<Running>, usize)>,
    bytes: usize,
}

/// The turn of one request, and its door: while somebody holds it, who asks the same waits to hear
/// what becomes of it.
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
    resumption: Mutex<Option<Resumption>>,
    place: OnceLock<Place>,
    is_stopped: AtomicBool,
}

/// What becomes of a request for which a turn was begun.
#[derive(Debug)]
pub enum Standing {
    /// It hears that turn, which runs, or came to an end of its own.
    Heard,
    /// That turn was stopped because nobody listened, and is taken up again.
    Resumed(Box<Resumption>),
    /// It was stopped, and nothing of it can be taken up, as with what was done in a widget: it is
    /// done anew.
    Anew,
}

/// What there is for a request: the turn that was begun for it, if any. Whoever holds it decides
/// alone.
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
        let (resumption, place, is_stopped) =
            (Mutex::default(), OnceLock::new(), AtomicBool::new(false));
        Self { feed: Arc::default(), body, resumption, place, is_stopped }
    }

    /// Notes how the turn would be taken up again; the first to say so is right.
    pub fn resumable(&self, place: Place, resumption: Resumption) {
        if self.place.set(place).is_ok() {
            *lock(&self.resumption) = Some(resumption);
        }
    }

    /// Where the turn stands in its thread, once it has begun.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.get()
    }

    /// Notes that the answer is whole, so that the turn will not be taken up again.
    pub fn is_whole(&self) {
        *lock(&self.resumption) = None;
    }

    /// The bytes that it takes to remember the turn.
    fn size(&self) -> usize {
        // What would be taken up again holds the message twice.
        let copies = if lock(&self.resumption).is_some() { 3 } else { 1 };
        self.feed.size() * copies
    }

    /// Notes that the turn was stopped because nobody listened.
    pub fn stopped_unheard(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    /// What becomes of the same request once more.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if !self.is_stopped.load(Ordering::Acquire) {
            return Standing::Heard;
        }
        match lock(&self.resumption).clone() {
            Some(resumption) => Standing::Resumed(Box::new(resumption)),
            None => Standing::Anew,
        }
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

    /// Remembers a turn that has ended, for as long as there is room.
    pub fn remember(&self, key: Fingerprint, running: &Arc<Running>) {
        let bytes = running.size();
        let mut ended = lock(&self.ended);
        ended.bytes += bytes;
        ended.turns.push_back((key, Arc::downgrade(running), bytes));
        let mut early = Vec::new();
        while ended.bytes > MOST_BYTES
            && let Some((key, running, bytes)) = ended.turns.pop_front()
        {
            ended.bytes -= bytes;
            early.push((key, running));
        }
        drop(ended);
        for (key, running) in early {
            self.forget_slot(key, &running);
        }
    }

    /// Forgets a turn, unless another one has taken its place.
    pub fn forget(&self, key: Fingerprint, running: &Weak<Running>) {
        let mut ended = lock(&self.ended);
        if let Some(place) = ended.turns.iter().position(|(_, known, _)| known.ptr_eq(running))
            && let Some((_, _, bytes)) = ended.turns.remove(place)
        {
            ended.bytes -= bytes;
        }
        drop(ended);
        self.forget_slot(key, running);
    }

    fn forget_slot(&self, key: Fingerprint, running: &Weak<Running>) {
        let mut by_key = lock(&self.by_key);
        let is_the_one = by_key.get(&key).is_some_and(|slot| {
            lock(&slot.running).as_ref().is_some_and(|known| Arc::as_ptr(known) == running.as_ptr())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Event, NoticeLevel};

    fn turn(bytes: usize) -> Arc<Running> {
        let running = Arc::new(Running::new(Fingerprint([0; 16])));
        let message = "x".repeat(bytes);
        running.feed.say(&Event::Notice { level: NoticeLevel::Info, message, title: None });
        running
    }

    #[tokio::test]
    async fn past_the_most_bytes_the_oldest_turns_are_forgotten_and_let_go() {
        let repeats = Repeats::default();
        let mut turns = Vec::new();
        for number in 0..5 {
            let (key, running) = (Fingerprint([number; 16]), turn(MOST_BYTES / 4));
            repeats.find(key).await.begin(Arc::clone(&running));
            repeats.remember(key, &running);
            turns.push((key, Arc::downgrade(&running)));
        }
        let known: Vec<bool> = turns.iter().map(|(_, turn)| turn.upgrade().is_some()).collect();
        assert_eq!(known, [false, false, true, true, true]);
        for (key, turn) in &turns {
            repeats.forget(*key, turn);
        }
        assert!(lock(&repeats.by_key).is_empty(), "nothing is known any more");
        assert_eq!(lock(&repeats.ended).bytes, 0);
    }
}
