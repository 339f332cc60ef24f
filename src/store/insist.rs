//! What if the store is away for a while? What an answer has to store is tried again, for a bounded
//! time: the answer waits, and nothing that people saw is lost.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Answer, StoreError};

/// How long one write is tried.
const PATIENCE: Duration = Duration::from_secs(15);
/// The pauses between two tries: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Writes until it succeeds. A write that is done twice must come to the same as once: one that
/// failed may have come through.
///
/// # Errors
/// The last one, when the store still fails after a quarter of a minute.
pub async fn insist<'a, T>(write: impl Fn() -> Answer<'a, T>) -> Result<T, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        match write().await {
            Err(error) if Instant::now() < deadline => {
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, "an answer could not be stored, and is tried again");
                }
            }
            done => return done,
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
