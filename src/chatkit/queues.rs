//! Whose turn is it in a thread, within this process? They come in the order in which they asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::lock;
use crate::protocol::Id;

/// The queue of each thread in which a turn runs or waits.
#[derive(Debug, Default)]
pub struct Queues {
    by_thread: Arc<Mutex<HashMap<Id, Arc<AsyncMutex<()>>>>>,
}

/// The front of a thread's queue, until it is dropped.
#[derive(Debug)]
pub struct Front {
    thread_id: Id,
    by_thread: Arc<Mutex<HashMap<Id, Arc<AsyncMutex<()>>>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Queues {
    /// Waits until everybody who asked before is done.
    pub async fn front(&self, thread_id: &Id) -> Front {
        let queue = Arc::clone(lock(&self.by_thread).entry(thread_id.clone()).or_default());
        // From here on the queue is removed when it is empty, also if the wait is given up.
        let by_thread = Arc::clone(&self.by_thread);
        let mut front = Front { thread_id: thread_id.clone(), by_thread, guard: None };
        front.guard = Some(queue.lock_owned().await);
        front
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.guard = None;
        let mut by_thread = lock(&self.by_thread);
        // One that is in nobody's hands but the map's.
        if by_thread.get(&self.thread_id).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            by_thread.remove(&self.thread_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_of_a_thread_come_one_after_another_and_a_queue_ends_with_its_last() {
        let queues = Arc::new(Queues::default());
        let (thread, other): (Id, Id) = ("thr_1".into(), "thr_2".into());
        let first = queues.front(&thread).await;
        let _elsewhere = queues.front(&other).await;
        let mut second = Box::pin(queues.front(&thread));
        assert!(futures_util::poll!(&mut second).is_pending(), "the first is not done");
        drop(first);
        let second = second.await;
        drop(second);
        assert_eq!(lock(&queues.by_thread).len(), 1, "the other thread's queue is left");
    }

    #[tokio::test]
    async fn one_that_gives_up_waiting_leaves_nothing_behind() {
        let queues = Queues::default();
        let thread: Id = "thr_1".into();
        let first = queues.front(&thread).await;
        let mut second = Box::pin(queues.front(&thread));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        drop(second);
        assert!(lock(&queues.by_thread).is_empty(), "nobody waits any more");
    }
}
