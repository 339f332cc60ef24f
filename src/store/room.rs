//! How many bytes of files are in memory at once? [`Room`] counts what the requests to models hold.
//! Few bytes never wait. Whoever has many and finds no room left waits for a while until others
//! have sent what they hold; a user holds room for one request at a time, so that nobody waits for
//! one user's requests but that user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::user::UserId;

/// The bytes that there is room for. A request has its files twice while it is being sent.
const BYTES: usize = 128 * 1024 * 1024;
/// So many bytes of a request are not counted.
const FEW: usize = 1024 * 1024;
/// How long a request waits for room in all.
const PATIENCE: Duration = Duration::from_secs(30);

/// The room in memory for the files of this service.
#[derive(Debug, Clone)]
pub struct Room {
    left: Arc<Semaphore>,
    line: Arc<AsyncMutex<()>>,
    seats: Arc<Mutex<HashMap<UserId, Weak<AsyncMutex<()>>>>>,
}

/// One who takes room, file by file.
#[derive(Debug)]
pub struct Taker {
    room: Room,
    user: UserId,
    taken: usize,
    until: Option<Instant>,
    /// That of one of the user's requests.
    seat: Option<OwnedMutexGuard<()>>,
    /// There is one who waits at a time: two who have taken half of the room each would wait for
    /// each other for ever.
    alone: Option<OwnedMutexGuard<()>>,
    bytes: Option<OwnedSemaphorePermit>,
}

/// Room that is taken, until it is dropped.
#[derive(Debug)]
pub struct Held {
    _seat: Option<OwnedMutexGuard<()>>,
    _bytes: Option<OwnedSemaphorePermit>,
}

/// There was no room for too long.
#[derive(Debug, thiserror::Error)]
#[error("there was no room in memory for files within {} s", PATIENCE.as_secs())]
pub struct NoRoom;

impl Default for Room {
    fn default() -> Self {
        Self { left: Arc::new(Semaphore::new(BYTES)), line: Arc::default(), seats: Arc::default() }
    }
}

impl Room {
    /// One who takes room for a request of this user, and has none yet.
    #[must_use]
    pub fn taker(&self, user: &UserId) -> Taker {
        let (room, user) = (self.clone(), user.clone());
        Taker { room, user, taken: 0, until: None, seat: None, alone: None, bytes: None }
    }

    fn seat(&self, user: &UserId) -> Arc<AsyncMutex<()>> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seat) = seats.get(user).and_then(Weak::upgrade) {
            return seat;
        }
        seats.retain(|_, seat| seat.strong_count() > 0);
        let seat = Arc::default();
        seats.insert(user.clone(), Arc::downgrade(&seat));
        seat
    }
}

impl Taker {
    /// Waits until there is room for so many bytes more. There may be for as many as there are in
    /// all.
    ///
    /// # Errors
    /// When there is none for too long.
    pub async fn take(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.taken = self.taken.saturating_add(bytes);
        let needed = self.taken.saturating_sub(FEW).min(BYTES);
        let more = needed - self.bytes.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if more == 0 {
            return Ok(());
        }
        let until = *self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        timeout_at(until, self.wait_for(u32::try_from(more).unwrap_or(u32::MAX)))
            .await
            .map_err(|_| NoRoom)
    }

    async fn wait_for(&mut self, bytes: u32) {
        if self.seat.is_none() {
            self.seat = Some(self.room.seat(&self.user).lock_owned().await);
        }
        if self.alone.is_none() {
            self.alone = Some(Arc::clone(&self.room.line).lock_owned().await);
        }
        let Ok(more) = Arc::clone(&self.room.left).acquire_many_owned(bytes).await else { return };
        match &mut self.bytes {
            Some(held) => held.merge(more),
            None => self.bytes = Some(more),
        }
    }

    /// Lets others take room, and holds what is taken.
    #[must_use]
    pub fn done(self) -> Held {
        Held { _seat: self.seat, _bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_those_who_hold_it() {
        let room = Room::default();
        let mut first = room.taker(&user("ada"));
        first.take(BYTES / 2 + FEW).await.unwrap();
        assert!(
            room.taker(&user("bob")).take(2 * FEW).now_or_never().is_none(),
            "one takes at a time"
        );
        let first = first.done();
        let mut second = room.taker(&user("bob"));
        second.take(BYTES / 4 + FEW).await.unwrap();
        let mut more = Box::pin(second.take(BYTES / 2));
        assert!(futures_util::poll!(&mut more).is_pending(), "the first holds it");
        drop(first);
        more.await.unwrap();
        let second = second.done();
        let mut third = room.taker(&user("eve"));
        assert!(third.take(BYTES).now_or_never().is_none());
        drop((second, third));
        assert_eq!(room.left.available_permits(), BYTES, "who gives up waiting holds nothing");
        room.taker(&user("new")).take(2 * FEW).await.unwrap();
        assert_eq!(room.seats.lock().unwrap().len(), 1, "users who hold nothing are forgotten");
    }

    #[tokio::test]
    async fn nobody_waits_for_more_than_there_is() {
        let mut taker = Room::default().taker(&user("ada"));
        taker.take(BYTES / 2).await.unwrap();
        taker.take(usize::MAX).await.unwrap();
        taker.take(1).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn few_bytes_never_wait_and_a_user_stands_in_that_users_way_alone() {
        let room = Room::default();
        let mut first = room.taker(&user("ada"));
        first.take(43 * FEW).await.unwrap();
        let first = first.done();
        let mut second = room.taker(&user("ada"));
        let mut waiting = Box::pin(second.take(43 * FEW));
        assert!(
            futures_util::poll!(&mut waiting).is_pending(),
            "a user holds room for one request"
        );
        assert!(
            room.taker(&user("bob")).take(43 * FEW).now_or_never().is_some(),
            "another user has room"
        );
        let mut all = room.taker(&user("bob"));
        all.take(80 * FEW).await.unwrap();
        let all = all.done();
        let began = Instant::now();
        for name in ["ada", "bob", "eve"] {
            assert!(room.taker(&user(name)).take(FEW).now_or_never().is_some(), "{name} has few");
        }
        waiting.await.expect_err("the first holds it");
        assert_eq!(began.elapsed(), PATIENCE, "a wait has an end");
        drop((first, second));
        room.taker(&user("ada")).take(40 * FEW).now_or_never().expect("the line goes on").unwrap();
        drop(all);
    }
}
