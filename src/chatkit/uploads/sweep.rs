//! What is thrown away by itself? Files that nobody sent within a day, what never came to its end,
//! bytes that nobody knows, and threads that nobody has touched for longer than they are kept.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Uploads;
use crate::protocol::{Id, Timestamp};
use crate::store::{Answer, StoreError};

const EVERY: Duration = Duration::from_secs(60 * 60);
/// How long a file waits to be sent.
const UNSENT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a file may be coming in without a byte: longer than any upload waits.
const STRAY: Duration = Duration::from_secs(60 * 60);
/// How long bytes stay whose description is gone, because the process was killed before it removed
/// them.
const UNKNOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// So many are deleted at a time, or fewer if that takes too long, so that nobody waits long for
/// the database.
const AT_A_TIME: u32 = 100;

/// Sweeps now and every hour until `shutdown`. Threads untouched for longer than `retention` go
/// too; `None` keeps them.
pub fn keep_swept(
    uploads: Uploads,
    retention: Option<Duration>,
    tasks: &TaskTracker,
    shutdown: CancellationToken,
) {
    tasks.spawn(async move {
        let mut timer = tokio::time::interval(EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
            sweep(&uploads, retention, &shutdown).await;
        }
    });
}

/// Sweeps once. What fails is logged, and is tried again the next time.
pub async fn sweep(uploads: &Uploads, retention: Option<Duration>, shutdown: &CancellationToken) {
    let now = uploads.clock.now();
    match uploads.files.sweep(now.saturating_sub(STRAY)).await {
        Ok(0) => {}
        Ok(strays) => tracing::info!(strays, "removed files that never came to their end"),
        Err(error) => tracing::warn!(%error, "the folder of uploads could not be swept"),
    }
    match sweep_unsent(uploads, before(now, UNSENT), shutdown).await {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "removed files that nobody sent"),
        Err(error) => tracing::warn!(%error, "files that nobody sent could not be swept"),
    }
    match sweep_unknown(uploads, now.saturating_sub(UNKNOWN), shutdown).await {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "removed files that are in no thread and no list"),
        Err(error) => tracing::warn!(%error, "files that nobody knows could not be swept"),
    }
    let Some(retention) = retention else { return };
    match sweep_threads(uploads, before(now, retention), shutdown).await {
        Ok(0) => {}
        Ok(threads) => tracing::info!(threads, "deleted threads that were kept long enough"),
        Err(error) => tracing::warn!(%error, "old threads could not be swept"),
    }
}

fn before(now: Duration, age: Duration) -> Timestamp {
    Timestamp::from_epoch(now.saturating_sub(age))
}

async fn sweep_unsent(
    uploads: &Uploads,
    before: Timestamp,
    shutdown: &CancellationToken,
) -> Result<u64, StoreError> {
    let delete = |limit| {
        async move {
            let files = uploads.store.sweep_attachments(before, limit).await?;
            uploads.remove_files(&files).await;
            Ok(files.len() as u64)
        }
        .boxed()
    };
    in_batches(shutdown, delete).await
}

/// Removes bytes that were written before a time (since the Unix epoch) and have no description:
/// that is always there first. Where not one of the files has a description, the folder and the
/// database don't belong together, and all stays.
async fn sweep_unknown(
    uploads: &Uploads,
    before: Duration,
    shutdown: &CancellationToken,
) -> Result<usize, String> {
    let old = uploads.files.older_than(before).await.map_err(|error| error.to_string())?;
    let mut unknown: Vec<Id> = Vec::new();
    for ids in old.chunks(AT_A_TIME as usize) {
        if shutdown.is_cancelled() {
            return Ok(0);
        }
        let known =
            uploads.store.known_attachments(ids).await.map_err(|error| error.to_string())?;
        let known: HashSet<Id> = known.into_iter().collect();
        unknown.extend(ids.iter().filter(|id| !known.contains(*id)).cloned());
    }
    if unknown.len() == old.len() {
        return Ok(0);
    }
    uploads.remove_files(&unknown).await;
    Ok(unknown.len())
}

async fn sweep_threads(
    uploads: &Uploads,
    before: Timestamp,
    shutdown: &CancellationToken,
) -> Result<u64, StoreError> {
    let delete = |limit| {
        async move {
            let (threads, files) = uploads.store.sweep_threads(before, limit).await?;
            uploads.remove_files(&files).await;
            Ok(threads)
        }
        .boxed()
    };
    in_batches(shutdown, delete).await
}

/// Deletes until nothing is left, and says how much there was. `delete` is given the most that it
/// may delete, and returns how much it did. A batch that fails is tried again with half as much: a
/// few threads of many thousand items take longer than the store may, and all of their batch stays
/// then, now and the next time.
async fn in_batches<'a>(
    shutdown: &CancellationToken,
    mut delete: impl FnMut(u32) -> Answer<'a, u64>,
) -> Result<u64, StoreError> {
    let (mut swept, mut most) = (0, AT_A_TIME);
    while !shutdown.is_cancelled() {
        match delete(most).await {
            Ok(0) => break,
            Ok(deleted) => swept += deleted,
            Err(_) if most > 1 => most /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a store deletes in batches of these sizes that can delete so many things before it is
    /// late, and how it ends.
    async fn batches(mut things: u64, in_time: u32) -> (Vec<u32>, Option<u64>) {
        let mut asked = Vec::new();
        let delete = |limit: u32| {
            asked.push(limit);
            let deleted = things.min(limit.into());
            let outcome = match limit <= in_time {
                true => Ok(deleted),
                false => Err(StoreError::Failed("no answer within 10 s".to_owned())),
            };
            things -= outcome.as_ref().map_or(0, |deleted| *deleted);
            std::future::ready(outcome).boxed()
        };
        let swept = in_batches(&CancellationToken::new(), delete).await.ok();
        (asked, swept)
    }

    #[tokio::test]
    async fn a_batch_that_is_too_much_is_halved() {
        assert_eq!(batches(150, 100).await, (vec![100, 100, 100], Some(150)));
        assert_eq!(batches(60, 30).await, (vec![100, 50, 25, 25, 25, 25], Some(60)));
        assert_eq!(batches(2, 1).await, (vec![100, 50, 25, 12, 6, 3, 1, 1, 1], Some(2)));
    }

    #[tokio::test]
    async fn a_store_that_deletes_nothing_at_all_is_left_alone() {
        assert_eq!(batches(2, 0).await, (vec![100, 50, 25, 12, 6, 3, 1], None));
    }
}
