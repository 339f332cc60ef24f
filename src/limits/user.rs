//! May this user ask? Counted after authentication, in this process or, with Redis, for all
//! replicas together.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use governor::Quota;
use governor::middleware::StateInformationMiddleware;
use redis::Script;

use super::{Buckets, Decision, seconds_up};
use crate::config::limits::Rate;
use crate::redis_link::{Away, RedisLink};
use crate::telemetry::request::RateLimit;
use crate::user::{Fingerprint, UserId};

/// Counts requests per user.
pub trait UserLimiter: Send + Sync + std::fmt::Debug {
    /// Counts one request of the user; one that is refused costs nothing.
    fn count<'a>(&'a self, user: &'a UserId) -> BoxFuture<'a, Decision>;

    /// Forgets users whose burst is whole again, as far as this process remembers them.
    fn sweep(&self);

    /// How many users this process remembers.
    fn keys(&self) -> usize;
}

/// Counts in this process alone.
pub struct LocalUserLimiter {
    rate: Rate,
    buckets: Buckets<Fingerprint>,
}

impl LocalUserLimiter {
    /// A limiter that has seen nobody.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let quota = Quota::per_minute(rate.per_minute).allow_burst(rate.burst);
        let buckets =
            governor::RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        Self { rate, buckets }
    }
}

impl std::fmt::Debug for LocalUserLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalUserLimiter")
            .field("rate", &self.rate)
            .field("keys", &self.keys())
            .finish()
    }
}

impl UserLimiter for LocalUserLimiter {
    fn count<'a>(&'a self, user: &'a UserId) -> BoxFuture<'a, Decision> {
        ready(Decision::local(&self.buckets, self.rate, &user.fingerprint())).boxed()
    }

    fn sweep(&self) {
        self.buckets.retain_recent();
        self.buckets.shrink_to_fit();
    }

    fn keys(&self) -> usize {
        self.buckets.len()
    }
}

/// The generic cell rate algorithm, as governor has it, in one atomic step and by Redis' own clock,
/// so that replicas need not agree on the time. The key holds the microsecond at which the whole
/// burst is back, and ends then.
///
/// KEYS: the user's key. ARGV: microseconds a request, burst. Returns: the wait in microseconds (0
/// when the request passes), what remains, microseconds until all is back.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local period, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
        local whole = tonumber(redis.call('GET', KEYS[1]) or now)
        -- Never later than an empty bucket: after a change of the rate or of the clock nobody is locked out for long.
        whole = math.min(math.max(whole, now), now + burst * period)
        local wait = whole + period - burst * period - now
        if wait > 0 then
            return {wait, 0, whole - now}
        end
        whole = whole + period
        redis.call('SET', KEYS[1], string.format('%.0f', whole), 'PX', math.ceil((whole - now) / 1000))
        return {0, math.floor(burst - (whole - now) / period), whole - now}
        ",
    )
});

/// Counts for all replicas that share a Redis; while it is away, in this process.
#[derive(Debug)]
pub struct SharedUserLimiter {
    link: Arc<RedisLink>,
    /// What the keys of this limit begin with.
    prefix: &'static str,
    rate: Rate,
    local: LocalUserLimiter,
}

impl SharedUserLimiter {
    /// A limiter on this link that falls back to `local`. Its keys begin with `prefix`: each limit
    /// has one of its own.
    #[must_use]
    pub fn new(
        link: Arc<RedisLink>,
        prefix: &'static str,
        rate: Rate,
        local: LocalUserLimiter,
    ) -> Self {
        Self { link, prefix, rate, local }
    }

    async fn count_shared(&self, user: &UserId) -> Result<Decision, Away> {
        let key = format!("{}{}", self.prefix, user.fingerprint().hex());
        let period = u64::try_from(self.rate.period().as_micros()).unwrap_or(u64::MAX);
        let limit = self.rate.burst.get();
        let (wait, remaining, whole): (u64, u32, u64) = self
            .link
            .run(|mut connection| async move {
                COUNT.key(key).arg(period).arg(limit).invoke_async(&mut connection).await
            })
            .await?;
        let reset = seconds_up(Duration::from_micros(whole));
        let retry_after = (wait > 0).then(|| Duration::from_micros(wait));
        Ok(Decision { rate: RateLimit { limit, remaining, reset }, retry_after })
    }
}

impl UserLimiter for SharedUserLimiter {
    fn count<'a>(&'a self, user: &'a UserId) -> BoxFuture<'a, Decision> {
        async move {
            match self.count_shared(user).await {
                Ok(decision) => decision,
                Err(Away) => self.local.count(user).await,
            }
        }
        .boxed()
    }

    fn sweep(&self) {
        self.local.sweep();
    }

    fn keys(&self) -> usize {
        self.local.keys()
    }
}
