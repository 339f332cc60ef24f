//! When is a call made again, and after how long? The rules of OpenAI's own SDKs, under one
//! deadline.

use std::time::{Duration, UNIX_EPOCH};

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use tokio::time::Instant;

/// A longer wait than this is not worth telling a client; it also keeps absurd values out of the
/// arithmetic.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The moment by which one request of a client must be answered, whatever number of calls it takes.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline this long from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    pub(super) fn instant(self) -> Instant {
        self.0
    }

    /// Whether there is time left after a wait.
    pub(super) fn allows(self, wait: Duration) -> bool {
        Instant::now() + wait < self.0
    }
}

/// Whether a refusal is worth another try: `x-should-retry` decides, else the status.
pub(super) fn is_worth_retrying(status: StatusCode, headers: &HeaderMap) -> bool {
    match headers.get("x-should-retry").map(|value| value.as_bytes()) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => matches!(status.as_u16(), 408 | 409 | 429 | 500..),
    }
}

/// How long the server asks us to wait: `retry-after-ms`, else `Retry-After` in seconds or as a
/// date. `now` is the time since the Unix epoch. A value that can't be read, or a date that has
/// passed, counts as none.
pub(super) fn asked_wait(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let seconds =
            text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)? / unit;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT))
    };
    let until = |text: &str| {
        let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        date.checked_sub(now)
    };
    text("retry-after-ms")
        .and_then(|text| seconds(text, 1000.0))
        .or_else(|| {
            text(RETRY_AFTER.as_str()).and_then(|text| seconds(text, 1.0).or_else(|| until(text)))
        })
        .map(|wait| wait.min(LONGEST_WAIT))
}

/// Our own wait after the n-th try (from 0): half a second, doubled each time up to 8 s, less up to
/// a quarter by chance.
pub(super) fn backoff(tries: u32) -> Duration {
    let seconds = f64::from(1_u32 << tries.min(4)) * 0.5;
    Duration::from_secs_f64(seconds * (1.0 - 0.25 * chance()))
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness the wait is the longest one, which is still right.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_wait_is_read_in_milliseconds_seconds_or_as_a_date() {
        // 2015-10-21 07:28:00 UTC
        let date = Duration::from_secs(1_445_412_480);
        let soon = date - Duration::from_secs(30);
        for (pairs, expected) in [
            (&[("retry-after-ms", "1500.5"), ("retry-after", "9")][..], Some(1500.5)),
            (&[("retry-after-ms", "soon"), ("retry-after", "9")], Some(9000.0)),
            (&[("retry-after", "0.25")], Some(250.0)),
            (&[("retry-after", "0")], Some(0.0)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], Some(30_000.0)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:27:00 GMT")], None),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "1e300")], Some(86_400_000.0)),
            (&[], None),
        ] {
            let wait = asked_wait(&headers(pairs), soon).map(|wait| wait.as_secs_f64() * 1000.0);
            assert_eq!(wait, expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_header_decides_and_else_the_status() {
        let retried = |status: u16, pairs: &[(&'static str, &'static str)]| {
            is_worth_retrying(StatusCode::from_u16(status).unwrap(), &headers(pairs))
        };
        for status in [408, 409, 429, 500, 502, 503, 504, 529] {
            assert!(retried(status, &[]), "{status}");
            assert!(!retried(status, &[("x-should-retry", "false")]), "{status}");
        }
        for status in [400, 401, 403, 404, 410, 422] {
            assert!(!retried(status, &[]), "{status}");
            assert!(retried(status, &[("x-should-retry", "true")]), "{status}");
        }
    }

    #[test]
    fn the_backoff_doubles_up_to_8_seconds_less_a_quarter_at_most() {
        for (tries, longest) in
            [(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (40, 8.0)]
        {
            let wait = backoff(tries).as_secs_f64();
            assert!((longest * 0.75..=longest).contains(&wait), "{tries}: {wait}");
        }
    }
}
