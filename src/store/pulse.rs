//! Can the database be written to? What was stored a moment ago says so; otherwise a row is
//! written.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::StoreError;
use super::database::values;
use super::sql_store::SqlStore;

/// How long what was written says that the next write will go through.
const FRESH: Duration = Duration::from_secs(1);

/// How long a row may take that is written for this alone.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long a failure counts before it is tried again, however many ask.
const FAILED_FOR: Duration = Duration::from_millis(250);

/// What is known of the last writes.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    written_at: Mutex<Option<Instant>>,
    /// Held by the one who tries: when it failed the last time, and why.
    failed: tokio::sync::Mutex<Option<(Instant, String)>>,
}

impl Pulse {
    /// Something was written.
    pub(super) fn note_write(&self) {
        *self.written() = Some(Instant::now());
    }

    fn is_fresh(&self) -> bool {
        self.written().is_some_and(|at| at.elapsed() < FRESH)
    }

    fn written(&self) -> MutexGuard<'_, Option<Instant>> {
        self.written_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqlStore {
    /// Whether the database can be written to, within a few seconds however many wait for their
    /// turn to write.
    pub(super) async fn try_to_write(&self) -> Result<(), StoreError> {
        if self.pulse.is_fresh() {
            return self.database.read("select 1", values![]).await.map(drop);
        }
        let mut failed = self.pulse.failed.lock().await;
        if self.pulse.is_fresh() {
            return Ok(());
        }
        if let Some((at, why)) = &*failed
            && at.elapsed() < FAILED_FOR
        {
            return Err(StoreError::Away(why.clone()));
        }
        let late = |_| {
            Err(StoreError::Away(format!("nothing was written within {} s", DEADLINE.as_secs())))
        };
        let outcome = timeout(DEADLINE, self.write_a_row()).await.unwrap_or_else(late);
        // Somebody else's turn came while this one waited for its own.
        let outcome = if self.pulse.is_fresh() { Ok(()) } else { outcome };
        *failed = outcome.as_ref().err().map(|error| (Instant::now(), error.to_string()));
        outcome
    }

    async fn write_a_row(&self) -> Result<(), StoreError> {
        let sql = "insert into pulse (id, at) values (1, {now}) on conflict (id) do update set at \
                   = excluded.at";
        self.database.write(self.database.timed(sql), values![]).await?;
        self.pulse.note_write();
        Ok(())
    }
}
