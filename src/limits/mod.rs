//! How often may they ask? Limits per client address and per user: token buckets, the burst at
//! once, then evenly by the minute's rate.

pub mod address;
pub mod client_ip;
pub mod connections;
mod hop;
pub mod turns;
pub mod user;

use std::sync::Arc;
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::limits::{LimitsConfig, Rate};
use crate::error::{Error, Kind};
use crate::redis_link::RedisLink;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::{RateLimit, RequestContext};
use crate::user::UserId;

use address::AddressLimit;
use user::{LocalUserLimiter, SharedUserLimiter, UserLimiter};

/// How often the limiters in this process forget callers whose burst is whole again.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// A limiter in this process that tells what is left.
type Buckets<K> =
    governor::RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// What the keys of the limits per user begin with in Redis: of what costs, and of reads.
const USER_KEYS: &str = "chatkit:limit:";
const READ_KEYS: &str = "chatkit:limit:reads:";

/// All limits of the service.
#[derive(Debug)]
pub struct Limits {
    address: AddressLimit,
    user: Option<PerUser>,
    reads: Option<PerUser>,
    metrics: Metrics,
}

/// A limit per user.
#[derive(Debug)]
struct PerUser {
    /// What the metrics call it.
    name: &'static str,
    limiter: Box<dyn UserLimiter>,
}

impl PerUser {
    fn new(
        name: &'static str,
        keys: &'static str,
        rate: Rate,
        redis: Option<&Arc<RedisLink>>,
    ) -> Self {
        let local = LocalUserLimiter::new(rate);
        let limiter: Box<dyn UserLimiter> = match redis {
            Some(link) => Box::new(SharedUserLimiter::new(Arc::clone(link), keys, rate, local)),
            None => Box::new(local),
        };
        Self { name, limiter }
    }

    async fn count(
        &self,
        user: &UserId,
        context: &RequestContext,
        metrics: &Metrics,
    ) -> Result<(), Error> {
        let decision = self.limiter.count(user).await;
        context.note_rate_limit(decision.rate);
        match decision.retry_after {
            None => Ok(()),
            Some(wait) => {
                metrics.rate_limited(self.name);
                Err(refusal(wait))
            }
        }
    }
}

impl Limits {
    /// The limits that the configuration asks for. With a link to Redis the per-user limits are
    /// shared by every replica; the per-address limit is always this process's own.
    #[must_use]
    pub fn new(config: &LimitsConfig, redis: Option<&Arc<RedisLink>>, metrics: &Metrics) -> Self {
        let user = config.user.map(|rate| PerUser::new("user", USER_KEYS, rate, redis));
        let reads = config.reads.map(|rate| PerUser::new("reads", READ_KEYS, rate, redis));
        Self {
            address: AddressLimit::new(config.address, metrics),
            user,
            reads,
            metrics: metrics.clone(),
        }
    }

    /// The limit per client address: its layer goes around `/api/chatkit` and what is below it,
    /// files aside.
    #[must_use]
    pub fn address(&self) -> &AddressLimit {
        &self.address
    }

    /// Counts one request of an authenticated user that costs something, and notes where the user
    /// stands: a session, a message, a retry, an action, answers to questions, an upload,
    /// dictation.
    ///
    /// # Errors
    /// 429 `rate_limited` when the user has used up the limit.
    pub async fn count_user(&self, user: &UserId, context: &RequestContext) -> Result<(), Error> {
        match &self.user {
            Some(limit) => limit.count(user, context, &self.metrics).await,
            None => Ok(()),
        }
    }

    /// Counts any other request of an authenticated user, and notes where the user stands.
    ///
    /// # Errors
    /// 429 `rate_limited` when the user has used up the limit.
    pub async fn count_read(&self, user: &UserId, context: &RequestContext) -> Result<(), Error> {
        match &self.reads {
            Some(limit) => limit.count(user, context, &self.metrics).await,
            None => Ok(()),
        }
    }

    /// Forgets callers whose burst is whole again, and sets the gauges of how many are remembered.
    pub fn sweep(&self) {
        self.address.sweep();
        self.metrics.set_limiter_keys("address", self.address.keys());
        for PerUser { name, limiter } in self.user.iter().chain(&self.reads) {
            limiter.sweep();
            self.metrics.set_limiter_keys(name, limiter.keys());
        }
    }

    /// Sweeps on a timer until `shutdown`.
    pub fn keep_swept(self: &Arc<Self>, tasks: &TaskTracker, shutdown: CancellationToken) {
        let limits = Arc::clone(self);
        tasks.spawn(async move {
            let mut timer = tokio::time::interval(SWEEP_EVERY);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
                limits.sweep();
            }
        });
    }
}

/// What a limiter says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Where the caller stands after it.
    pub rate: RateLimit,
    /// When refused: how long until the next one may pass.
    pub retry_after: Option<Duration>,
}

impl Decision {
    /// The request passes, and so many more may come now. The time until the whole burst is back is
    /// counted in whole requests, because governor tells no more than that.
    fn pass(rate: Rate, remaining: u32) -> Self {
        let limit = rate.burst.get();
        let reset = seconds_up(rate.period() * limit.saturating_sub(remaining));
        Self { rate: RateLimit { limit, remaining, reset }, retry_after: None }
    }

    /// The request is refused until `wait` has passed.
    fn refuse(rate: Rate, wait: Duration) -> Self {
        let limit = rate.burst.get();
        let reset = seconds_up(wait + rate.period() * (limit - 1));
        Self { rate: RateLimit { limit, remaining: 0, reset }, retry_after: Some(wait) }
    }

    /// Counts one request under a key in this process.
    fn local<K>(buckets: &Buckets<K>, rate: Rate, key: &K) -> Self
    where
        K: std::hash::Hash + Eq + Clone,
    {
        use governor::clock::Clock;
        match buckets.check_key(key) {
            Ok(snapshot) => Self::pass(rate, snapshot.remaining_burst_capacity()),
            Err(until) => Self::refuse(rate, until.wait_time_from(DefaultClock::default().now())),
        }
    }
}

/// Whole seconds, rounded up: a client that comes back after them is not turned away again.
fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The answer to a caller who asks too often.
fn refusal(wait: Duration) -> Error {
    let seconds = seconds_up(wait).max(1);
    let unit = if seconds == 1 { "second" } else { "seconds" };
    Error::new(Kind::RateLimited, format!("Too many requests: try again in {seconds} {unit}."))
        .retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rate(per_minute: u32, burst: u32) -> Rate {
        Rate {
            per_minute: NonZeroU32::new(per_minute).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(seconds_up(Duration::from_millis(millis)), seconds, "{millis} ms");
        }
    }

    #[test]
    fn the_reset_is_the_time_until_the_whole_burst_is_back() {
        let two_a_second = rate(120, 30);
        assert_eq!(
            Decision::pass(two_a_second, 29).rate,
            RateLimit { limit: 30, remaining: 29, reset: 1 },
            "one to come back: half a second"
        );
        assert_eq!(Decision::pass(two_a_second, 0).rate.reset, 15);
        let refused = Decision::refuse(two_a_second, Duration::from_millis(400));
        assert_eq!(
            refused.rate,
            RateLimit { limit: 30, remaining: 0, reset: 15 },
            "0.4 s and 29 halves"
        );
        assert_eq!(refused.retry_after, Some(Duration::from_millis(400)));
    }

    #[test]
    fn the_largest_rates_overflow_nothing() {
        for rate in [rate(1, 1_000_000), rate(1_000_000, 1_000_000), rate(1_000_000, 1), rate(1, 1)]
        {
            let limiter = LocalUserLimiter::new(rate);
            let user = UserId::parse("ada").unwrap();
            let decision = futures_util::FutureExt::now_or_never(limiter.count(&user)).unwrap();
            assert_eq!(decision.rate.remaining, rate.burst.get() - 1);
            assert_eq!(decision.retry_after, None);
        }
    }
}
