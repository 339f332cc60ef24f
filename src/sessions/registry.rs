//! Who holds which client secret? The registry of live sessions, so that a refresh can tell whose
//! secret it is given and a sign-out can cancel what was minted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::shelf::Shelf;
use crate::clock::Clock;
use crate::telemetry::metrics::Metrics;
use crate::user::Fingerprint;

/// How many sessions a process remembers: about 50 MB of them.
pub const CAPACITY: usize = 500_000;

/// How often ended sessions are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How many ended sessions are forgotten under one lock.
const SWEEP_AT_ONCE: usize = 4096;
/// How many ended sessions one new one pushes out, so that the registry shrinks even between
/// sweeps.
const FORGET_FOR_ONE: usize = 4;
/// How often a full registry complains.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A session that was minted for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The fingerprint of the user's id.
    pub user: Fingerprint,
    /// The mint's id of the session, with which it is cancelled.
    pub id: Box<str>,
    /// The end of its life in Unix seconds; from that second on it is forgotten.
    pub ends_at: u64,
}

/// Who holds which client secret. A secret is known by its fingerprint alone.
pub trait Registry: Send + Sync + std::fmt::Debug {
    /// Remembers a session until its end.
    fn remember(&self, secret: Fingerprint, session: Session) -> BoxFuture<'_, ()>;

    /// The live session of a secret, if it is known.
    fn find(&self, secret: Fingerprint) -> BoxFuture<'_, Option<Session>>;

    /// The live sessions of a user: the fingerprint of each secret and the mint's id.
    fn of_user(&self, user: Fingerprint) -> BoxFuture<'_, Vec<(Fingerprint, Box<str>)>>;

    /// Forgets a session that was cancelled.
    fn forget(&self, secret: Fingerprint) -> BoxFuture<'_, ()>;

    /// How many live sessions this process remembers itself.
    fn live(&self) -> usize;

    /// Forgets ended sessions in this process and sets the gauge of live ones.
    fn sweep(&self);
}

/// Sweeps the registry on a timer until `shutdown`.
pub fn keep_swept(registry: &Arc<dyn Registry>, tasks: &TaskTracker, shutdown: CancellationToken) {
    let registry = Arc::clone(registry);
    tasks.spawn(async move {
        let mut timer = tokio::time::interval(SWEEP_EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
            registry.sweep();
        }
    });
}

/// The sessions that this process minted, in memory.
///
/// It is bounded. At the bound the oldest session is forgotten for each new one: a refresh no
/// longer checks whose that secret was nor cancels it, and a sign-out does not cancel it either. It
/// dies by itself at the end of its life, within ten minutes. A metric counts such sessions, and a
/// warning a minute says so.
#[derive(Debug)]
pub struct LocalRegistry {
    kept: Mutex<Kept>,
    capacity: usize,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Kept {
    shelf: Shelf,
    warned_at: Option<Duration>,
}

impl LocalRegistry {
    /// A registry of at most `capacity` sessions (usually [`CAPACITY`]).
    #[must_use]
    pub fn new(capacity: usize, clock: Arc<dyn Clock>, metrics: &Metrics) -> Self {
        Self { kept: Mutex::default(), capacity: capacity.max(1), clock, metrics: metrics.clone() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember_now(&self, secret: Fingerprint, session: &Session) {
        let now = self.clock.unix_seconds();
        if session.ends_at <= now {
            return;
        }
        let ends_at = u32::try_from(session.ends_at).unwrap_or(u32::MAX);
        let mut kept = self.kept();
        forget_ended(&mut kept.shelf, now, FORGET_FOR_ONE);
        kept.shelf.remove(secret);
        if kept.shelf.len() >= self.capacity {
            kept.shelf.remove_oldest();
            self.metrics.registry_evicted(1);
            self.warn_full(&mut kept.warned_at);
        }
        kept.shelf.add(secret, session.user, &session.id, ends_at);
    }

    fn warn_full(&self, warned_at: &mut Option<Duration>) {
        let now = self.clock.now();
        if warned_at.is_none_or(|then| now.saturating_sub(then) >= WARN_EVERY) {
            *warned_at = Some(now);
            tracing::warn!(
                capacity = self.capacity,
                "The registry of sessions is full: the oldest live ones are forgotten, and \
                 sign-out can't cancel them"
            );
        }
    }

    fn find_now(&self, secret: Fingerprint) -> Option<Session> {
        let now = self.clock.unix_seconds();
        let kept = self.kept();
        let slot = kept.shelf.find(secret).filter(|slot| u64::from(slot.ends_at) > now)?;
        Some(Session { user: slot.user, id: slot.id.unpack(), ends_at: slot.ends_at.into() })
    }

    fn of_user_now(&self, user: Fingerprint) -> Vec<(Fingerprint, Box<str>)> {
        let now = self.clock.unix_seconds();
        let kept = self.kept();
        let live = kept.shelf.of_user(user).filter(|slot| u64::from(slot.ends_at) > now);
        live.map(|slot| (slot.secret, slot.id.unpack())).collect()
    }
}

impl Registry for LocalRegistry {
    fn remember(&self, secret: Fingerprint, session: Session) -> BoxFuture<'_, ()> {
        self.remember_now(secret, &session);
        ready(()).boxed()
    }

    fn find(&self, secret: Fingerprint) -> BoxFuture<'_, Option<Session>> {
        ready(self.find_now(secret)).boxed()
    }

    fn of_user(&self, user: Fingerprint) -> BoxFuture<'_, Vec<(Fingerprint, Box<str>)>> {
        ready(self.of_user_now(user)).boxed()
    }

    fn forget(&self, secret: Fingerprint) -> BoxFuture<'_, ()> {
        self.kept().shelf.remove(secret);
        ready(()).boxed()
    }

    fn live(&self) -> usize {
        let now = self.clock.unix_seconds();
        while forget_ended(&mut self.kept().shelf, now, SWEEP_AT_ONCE) == SWEEP_AT_ONCE {}
        self.kept().shelf.len()
    }

    fn sweep(&self) {
        self.metrics.set_registry_sessions(self.live());
    }
}

/// Forgets ended sessions from the oldest on, and says how many. They all live about as long, so
/// they end in the order in which they came; one that ends out of turn is hidden until its turn
/// comes.
fn forget_ended(shelf: &mut Shelf, now: u64, at_most: usize) -> usize {
    let mut forgotten = 0;
    while forgotten < at_most && shelf.oldest().is_some_and(|slot| u64::from(slot.ends_at) <= now) {
        shelf.remove_oldest();
        forgotten += 1;
    }
    forgotten
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry as Metered;

    use super::*;
    use crate::clock::TestClock;
    use crate::telemetry::metrics::render;

    const START: u64 = 1_800_000_000;

    fn registry(capacity: usize) -> (LocalRegistry, Arc<TestClock>, Metered) {
        let (metrics, metered) = Metrics::new(false);
        let clock = Arc::new(TestClock::at(START));
        (LocalRegistry::new(capacity, Arc::<TestClock>::clone(&clock), &metrics), clock, metered)
    }

    fn of(text: &str) -> Fingerprint {
        Fingerprint::of(text.as_bytes())
    }

    fn session(user: &str, id: &str, life: u64) -> Session {
        Session { user: of(user), id: id.into(), ends_at: START + life }
    }

    #[tokio::test]
    async fn a_session_is_found_by_its_secret_until_it_ends() {
        let (registry, clock, _) = registry(10);
        registry.remember(of("ek_1"), session("ada", "s1", 600)).await;
        assert_eq!(registry.find(of("ek_1")).await, Some(session("ada", "s1", 600)));
        assert_eq!(registry.find(of("ek_2")).await, None);
        clock.advance(Duration::from_secs(599));
        assert!(registry.find(of("ek_1")).await.is_some(), "a second before its end");
        clock.advance(Duration::from_secs(1));
        assert_eq!(registry.find(of("ek_1")).await, None, "at its end");
        assert_eq!(registry.live(), 0);
    }

    #[tokio::test]
    async fn a_session_that_ends_out_of_turn_is_never_shown_as_live() {
        let (registry, clock, _) = registry(10);
        registry.remember(of("ek_long"), session("ada", "long", 600)).await;
        registry.remember(of("ek_short"), session("ada", "short", 5)).await;
        registry.remember(of("ek_dead"), session("ada", "dead", 0)).await;
        clock.advance(Duration::from_secs(5));
        assert_eq!(registry.find(of("ek_short")).await, None);
        assert_eq!(registry.of_user(of("ada")).await, [(of("ek_long"), "long".into())]);
    }

    #[tokio::test]
    async fn a_user_has_their_own_live_sessions_and_no_others() {
        let (registry, _, _) = registry(10);
        for (secret, user, id) in
            [("ek_1", "ada", "s1"), ("ek_2", "bob", "s2"), ("ek_3", "ada", "s3")]
        {
            registry.remember(of(secret), session(user, id, 600)).await;
        }
        assert_eq!(
            registry.of_user(of("ada")).await,
            [(of("ek_3"), "s3".into()), (of("ek_1"), "s1".into())]
        );
        registry.forget(of("ek_3")).await;
        assert_eq!(registry.of_user(of("ada")).await, [(of("ek_1"), "s1".into())]);
        registry.forget(of("ek_1")).await;
        registry.forget(of("ek_never")).await;
        assert_eq!(registry.of_user(of("ada")).await, []);
        assert_eq!(registry.of_user(of("bob")).await, [(of("ek_2"), "s2".into())]);
    }

    #[tokio::test]
    async fn at_the_bound_the_oldest_is_forgotten_and_counted() {
        let (registry, _, metered) = registry(3);
        for number in 0..5 {
            registry.remember(of(&format!("ek_{number}")), session("ada", "s", 600)).await;
        }
        assert_eq!(registry.live(), 3);
        assert_eq!(registry.find(of("ek_1")).await, None);
        assert!(registry.find(of("ek_2")).await.is_some());
        registry.remember(of("ek_4"), session("ada", "again", 600)).await;
        assert_eq!(registry.live(), 3, "the same secret takes no second place");
        registry.sweep();
        let text = render(&metered);
        assert!(text.contains("chatkit_registry_evictions_total 2\n"), "{text}");
        assert!(text.contains("chatkit_registry_sessions 3\n"), "{text}");
    }

    #[tokio::test]
    async fn ended_sessions_make_room_before_live_ones_do() {
        let (registry, clock, metered) = registry(3);
        for number in 0..3 {
            registry.remember(of(&format!("ek_{number}")), session("ada", "s", 5)).await;
        }
        clock.advance(Duration::from_secs(5));
        registry.remember(of("ek_new"), session("ada", "new", 600)).await;
        assert_eq!(registry.live(), 1);
        assert!(render(&metered).contains("chatkit_registry_evictions_total 0\n"));
    }
}
