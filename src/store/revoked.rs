//! Which client secrets were revoked? The database knows; of a good one it is asked again after a
//! few seconds.
//!
//! No clock is compared with another. Each secret says the user's last revocation that it comes
//! after, as the database told it when the secret was made, and is no good once the database tells
//! of a later one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Store, StoreError};
use crate::protocol::Timestamp;
use crate::user::{Fingerprint, UserId};

/// How long a secret counts as good without a further question: so much later the other replicas
/// know of a revocation.
const GOOD_FOR: Duration = Duration::from_secs(3);

/// How many good secrets are known at a time. Past that, all are asked for again.
const MOST: usize = 50_000;

/// How often what has long ended is deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);

/// Revokes client secrets, and tells which were revoked.
///
/// A secret that counts as good stays so while the database is away, until it is asked for again.
/// Then nobody can tell, and nobody is let in.
#[expect(missing_debug_implementations, reason = "a store need not have one")]
pub struct Revoked {
    store: Arc<dyn Store>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By the fingerprint of the secret's id.
    good: HashMap<Fingerprint, Good>,
    /// How many revocations there were here: what was asked before one is no news after it.
    revocations: u64,
}

struct Good {
    user: Fingerprint,
    asked_at: Instant,
}

impl Revoked {
    /// What the database knows of revocations.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// Revokes one secret of a user, by its id.
    ///
    /// # Errors
    /// When the database does not take it: then the secret may still be good.
    pub async fn revoke(&self, user: &UserId, id: &str) -> Result<(), StoreError> {
        let outcome = self.store.revoke(user, Some(id)).await;
        let mut known = self.known();
        known.revocations += 1;
        known.good.remove(&Fingerprint::of(id.as_bytes()));
        outcome
    }

    /// Revokes all secrets that a user got until now.
    ///
    /// # Errors
    /// When the database does not take it: then they may still be good.
    pub async fn revoke_all(&self, user: &UserId) -> Result<(), StoreError> {
        let outcome = self.store.revoke(user, None).await;
        let print = user.fingerprint();
        let mut known = self.known();
        known.revocations += 1;
        known.good.retain(|_, good| good.user != print);
        outcome
    }

    /// The last time that all secrets of a user were revoked, which a new one comes after. Zero is
    /// never.
    ///
    /// # Errors
    /// When the database can't tell.
    pub async fn last(&self, user: &UserId) -> Result<Timestamp, StoreError> {
        self.store.last_revocation(user).await
    }

    /// Whether a secret of this user, with this id, was revoked. It comes after that revocation of
    /// all of them.
    ///
    /// # Errors
    /// When the database can't tell.
    pub async fn has(&self, user: &UserId, id: &str, after: Timestamp) -> Result<bool, StoreError> {
        let print = Fingerprint::of(id.as_bytes());
        let asked_at = Instant::now();
        let revocations = {
            let known = self.known();
            let is_good =
                |good: &Good| asked_at.saturating_duration_since(good.asked_at) < GOOD_FOR;
            if known.good.get(&print).is_some_and(is_good) {
                return Ok(false);
            }
            known.revocations
        };
        let is_revoked = self.store.is_revoked(user, id, after).await?;
        let mut known = self.known();
        if !is_revoked && known.revocations == revocations {
            if known.good.len() >= MOST {
                known.good.clear();
            }
            known.good.insert(print, Good { user: user.fingerprint(), asked_at });
        }
        Ok(is_revoked)
    }

    /// Deletes what has long ended, on a timer, until `shutdown`.
    pub fn keep_swept(self: &Arc<Self>, tasks: &TaskTracker, shutdown: CancellationToken) {
        let revoked = Arc::clone(self);
        tasks.spawn(async move {
            let mut timer = tokio::time::interval(SWEEP_EVERY);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
                revoked.sweep().await;
            }
        });
    }

    async fn sweep(&self) {
        self.known().good.retain(|_, good| good.asked_at.elapsed() < GOOD_FOR);
        if let Err(error) = self.store.sweep_revocations().await {
            tracing::warn!(%error, "old revocations could not be swept");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
