//! Which client secrets were revoked? They are remembered until the end of their life: in this process, and in Redis for the
//! other replicas where there is one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::redis_link::{Away, RedisLink};
use crate::user::Fingerprint;

/// How often what has ended is forgotten, at most.
const SWEEP_EVERY: u64 = 10;
/// How much longer Redis remembers: the clocks of replicas may differ.
const SKEW: Duration = Duration::from_secs(60);

/// The `jti`s of revoked client secrets, by their fingerprints.
///
/// While Redis is away, each replica knows what it has revoked itself and what it has met before; a secret that another
/// replica revoked is good here until Redis is back or its life ends.
#[derive(Debug)]
pub struct Revoked {
    here: Mutex<Here>,
    redis: Option<Arc<RedisLink>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Here {
    /// Each with the end of its life in Unix seconds.
    ends: HashMap<Fingerprint, u64>,
    swept_at: u64,
}

impl Revoked {
    /// Nothing is revoked in this process yet.
    #[must_use]
    pub fn new(redis: Option<Arc<RedisLink>>, clock: Arc<dyn Clock>) -> Self {
        Self { here: Mutex::default(), redis, clock }
    }

    /// Revokes a secret until the end of its life, in Unix seconds. It waits for Redis a quarter of a second at most.
    pub async fn add(&self, id: &str, ends_at: u64) {
        let id = Fingerprint::of(id.as_bytes());
        self.remember(id, ends_at);
        if let Some(redis) = &self.redis {
            // While Redis is away the other replicas don't learn of it.
            let _ = self.share(redis, id, ends_at).await;
        }
    }

    /// Whether a secret with this end of life was revoked.
    pub async fn has(&self, id: &str, ends_at: u64) -> bool {
        let id = Fingerprint::of(id.as_bytes());
        if self.here().ends.contains_key(&id) {
            return true;
        }
        let Some(redis) = &self.redis else { return false };
        let command = redis::Cmd::exists(key(id));
        let known =
            redis.run(|mut connection| async move { command.query_async(&mut connection).await }).await;
        let revoked = known.unwrap_or(false);
        if revoked {
            self.remember(id, ends_at);
        }
        revoked
    }

    /// How many are remembered in this process.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.here().ends.len()
    }

    fn here(&self) -> MutexGuard<'_, Here> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: Fingerprint, ends_at: u64) {
        let now = self.clock.unix_seconds();
        let mut here = self.here();
        if now.saturating_sub(here.swept_at) >= SWEEP_EVERY {
            here.swept_at = now;
            here.ends.retain(|_, ends_at| *ends_at > now);
        }
        if ends_at > now {
            here.ends.insert(id, ends_at);
        }
    }

    async fn share(&self, redis: &RedisLink, id: Fingerprint, ends_at: u64) -> Result<(), Away> {
        let left = Duration::from_secs(ends_at).saturating_sub(self.clock.now());
        if left.is_zero() {
            return Ok(());
        }
        let left = u64::try_from((left + SKEW).as_millis()).unwrap_or(u64::MAX);
        let command = redis::Cmd::pset_ex(key(id), 1, left);
        redis.run(|mut connection| async move { command.exec_async(&mut connection).await }).await
    }
}

fn key(id: Fingerprint) -> String {
    format!("chatkit:revoked:{}", id.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    const NOW: u64 = 1_800_000_000;

    #[tokio::test]
    async fn what_is_revoked_stays_so_and_is_forgotten_after_its_end() {
        let clock = Arc::new(TestClock::at(NOW));
        let revoked = Revoked::new(None, Arc::<TestClock>::clone(&clock));
        revoked.add("short", NOW + 60).await;
        revoked.add("long", NOW + 3600).await;
        revoked.add("over", NOW).await;
        assert!(revoked.has("short", NOW + 60).await && revoked.has("long", NOW + 3600).await);
        assert!(!revoked.has("other", NOW + 60).await);
        assert_eq!(revoked.remembered(), 2, "what is over needs no memory");
        clock.advance(Duration::from_secs(60));
        revoked.add("later", NOW + 600).await;
        assert_eq!(revoked.remembered(), 2, "the short one is forgotten");
        assert!(revoked.has("long", NOW + 3600).await);
    }
}
