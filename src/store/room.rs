//! How many bytes of files are in memory at once? [`Room`] counts what the requests to models hold. Whoever finds no room left waits
//! until others have sent what they hold.

use std::sync::Arc;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// The bytes that there is room for. A request has its files twice while it is being sent.
const BYTES: usize = 128 * 1024 * 1024;

/// The room in memory for the files of this service.
#[derive(Debug, Clone)]
pub struct Room {
    left: Arc<Semaphore>,
    taker: Arc<AsyncMutex<()>>,
}

/// One who takes room, file by file. There is one at a time: two who have taken half of it each would wait for each other for ever.
#[derive(Debug)]
pub struct Taker {
    left: Arc<Semaphore>,
    _alone: OwnedMutexGuard<()>,
    held: Option<OwnedSemaphorePermit>,
}

/// Room that is taken, until it is dropped.
#[derive(Debug, Default)]
pub struct Held {
    _bytes: Option<OwnedSemaphorePermit>,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: Arc::new(Semaphore::new(BYTES)), taker: Arc::default() }
    }
}

impl Room {
    /// Waits until nobody else takes room.
    pub async fn taker(&self) -> Taker {
        let alone = Arc::clone(&self.taker).lock_owned().await;
        Taker { left: Arc::clone(&self.left), _alone: alone, held: None }
    }
}

impl Taker {
    /// Waits until there is room for so many bytes more. There is, in the end, for as many as there are in all.
    pub async fn take(&mut self, bytes: usize) {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let bytes = u32::try_from(bytes.min(BYTES - held)).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.left).acquire_many_owned(bytes).await else { return };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
    }

    /// Lets others take room, and holds what is taken.
    #[must_use]
    pub fn done(self) -> Held {
        Held { _bytes: self.held }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_waits_for_those_who_hold_it() {
        let room = Room::default();
        let mut first = room.taker().await;
        first.take(BYTES / 2).await;
        assert!(room.taker().now_or_never().is_none(), "one takes at a time");
        let first = first.done();
        let mut second = room.taker().await;
        second.take(BYTES / 4).await;
        let mut more = Box::pin(second.take(BYTES / 2));
        assert!(futures_util::poll!(&mut more).is_pending(), "the first holds it");
        drop(first);
        more.await;
        let second = second.done();
        let mut third = room.taker().await;
        assert!(third.take(BYTES).now_or_never().is_none());
        drop((second, third));
        assert_eq!(room.left.available_permits(), BYTES, "who gives up waiting holds nothing");
    }

    #[tokio::test]
    async fn nobody_waits_for_more_than_there_is() {
        let mut taker = Room::default().taker().await;
        taker.take(BYTES / 2).await;
        taker.take(usize::MAX).await;
        taker.take(1).await;
    }
}
