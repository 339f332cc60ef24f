//! What time is it? Everything that depends on the time of day asks a [`Clock`], so that tests can set it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of the time of day.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time since the Unix epoch.
    fn now(&self) -> Duration;

    /// Whole seconds since the Unix epoch: the unit of a JWT's `exp` and of OpenAI's `expires_at`.
    fn unix_seconds(&self) -> u64 {
        self.now().as_secs()
    }
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct TestClock(std::sync::atomic::AtomicU64);

impl TestClock {
    /// A clock that stands at this many seconds since the Unix epoch.
    #[must_use]
    pub fn at(seconds: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(seconds * 1000))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }
}
