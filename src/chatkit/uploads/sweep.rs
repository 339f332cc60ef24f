//! What is thrown away by itself? Files that nobody sent within a day, what never came to its end, bytes that nobody knows,
//! and threads that nobody has touched for longer than they are kept.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Uploads;
use crate::protocol::{Id, Timestamp};
use crate::store::StoreError;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// How long a file waits to be sent.
const UNSENT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a file may be coming in without a byte: longer than any upload waits.
const STRAY: Duration = Duration::from_secs(60 * 60);
/// How long bytes stay whose description is gone, because the process was killed before it removed them.
const UNKNOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// So many are deleted at a time, so that nobody waits long for the database.
const AT_A_TIME: u32 = 100;

/// Sweeps now and every hour until `shutdown`. Threads untouched for longer than `retention` go too; `None` keeps them.
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
) -> Result<usize, StoreError> {
    let mut swept = 0;
    while !shutdown.is_cancelled() {
        let files = uploads.store.sweep_attachments(before, AT_A_TIME).await?;
        if files.is_empty() {
            break;
        }
        uploads.remove_files(&files).await;
        swept += files.len();
    }
    Ok(swept)
}

/// Removes bytes that were written before a time (since the Unix epoch) and have no description: that is always there first.
async fn sweep_unknown(
    uploads: &Uploads,
    before: Duration,
    shutdown: &CancellationToken,
) -> Result<usize, String> {
    let old = uploads.files.older_than(before).await.map_err(|error| error.to_string())?;
    let mut swept = 0;
    for ids in old.chunks(AT_A_TIME as usize) {
        if shutdown.is_cancelled() {
            break;
        }
        let known = uploads.store.known_attachments(ids).await.map_err(|error| error.to_string())?;
        let known: HashSet<Id> = known.into_iter().collect();
        let unknown: Vec<Id> = ids.iter().filter(|id| !known.contains(*id)).cloned().collect();
        uploads.remove_files(&unknown).await;
        swept += unknown.len();
    }
    Ok(swept)
}

async fn sweep_threads(
    uploads: &Uploads,
    before: Timestamp,
    shutdown: &CancellationToken,
) -> Result<u64, StoreError> {
    let mut swept = 0;
    while !shutdown.is_cancelled() {
        let (threads, files) = uploads.store.sweep_threads(before, AT_A_TIME).await?;
        if threads == 0 {
            break;
        }
        uploads.remove_files(&files).await;
        swept += threads;
    }
    Ok(swept)
}
