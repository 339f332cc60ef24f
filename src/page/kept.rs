//! What of the CDN's answers is kept? Files that are whole in a moment, for as long as the CDN lets
//! us, and for some seconds that there is none; so many bytes of them, and each is asked for once
//! however many browsers want it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache;

use super::names_etag;
use crate::error::Error;
use crate::extract::out_of_range;

/// How many bytes are kept in all.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What an entry takes besides its file.
const ENTRY_BYTES: usize = 1024;

/// How long a file is kept whose age the CDN does not bound, and how long one is at the most.
const UNBOUNDED_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the CDN was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    /// The path at the CDN.
    pub(super) path: String,
    /// How the file may be compressed.
    pub(super) coding: Coding,
}

/// A compression that a browser takes, the best that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    Brotli,
    Gzip,
    None,
}

impl Coding {
    /// What the browser of these headers takes.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        let codings: Vec<_> = lines.flat_map(|line| line.split(',')).filter_map(accepted).collect();
        let takes = |name: &str| codings.iter().any(|coding| coding.eq_ignore_ascii_case(name));
        if takes("br") {
            Self::Brotli
        } else if takes("gzip") {
            Self::Gzip
        } else {
            Self::None
        }
    }

    /// The `Accept-Encoding` that says so.
    pub(super) fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Brotli => Some(HeaderValue::from_static("br")),
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::None => None,
        }
    }
}

/// The name of a coding that is not ruled out by `q=0`.
fn accepted(coding: &str) -> Option<&str> {
    let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
    let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
    weight.is_none_or(|weight| weight > 0.0).then(|| name.trim())
}

/// What the CDN answered.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// A file, whole.
    File(Arc<File>),
    /// There is no file, or the CDN fails.
    Refused(Error, Duration),
    /// A file that is too large to be kept, or comes too slowly.
    Flows,
}

/// A whole file.
#[derive(Debug)]
pub(super) struct File {
    /// The headers that are passed on.
    pub(super) headers: HeaderMap,
    /// Its bytes, as they came.
    pub(super) body: Bytes,
    /// When they came.
    pub(super) at: Instant,
}

/// The answers that are kept.
#[derive(Debug, Clone)]
pub(super) struct Kept(Cache<Asked, Answer>);

impl Default for Kept {
    fn default() -> Self {
        let weight = |asked: &Asked, answer: &Answer| {
            let body = if let Answer::File(file) = answer { file.body.len() } else { 0 };
            u32::try_from(body + asked.path.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self(
            Cache::builder()
                .max_capacity(MOST_BYTES)
                .weigher(weight)
                .expire_after(AsTheCdnSays)
                .build(),
        )
    }
}

impl Kept {
    /// The answer that is kept, or what `ask` finds out. Whoever wants the same meanwhile waits for
    /// it.
    pub(super) async fn get(&self, asked: Asked, ask: impl Future<Output = Answer>) -> Answer {
        self.0.get_with(asked, ask).await
    }
}

struct AsTheCdnSays;

impl Expiry<Asked, Answer> for AsTheCdnSays {
    fn expire_after_create(&self, _: &Asked, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(match answer {
            Answer::File(file) => life(&file.headers),
            Answer::Refused(_, life) => *life,
            Answer::Flows => Duration::ZERO,
        })
    }
}

/// How long a file with these headers may be kept (RFC 9111 section 5.2.2).
fn life(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives: Vec<_> = lines
        .flat_map(|line| line.split(','))
        .map(|part| part.trim().to_ascii_lowercase())
        .collect();
    if directives.iter().any(|name| matches!(name.as_str(), "no-store" | "no-cache" | "private")) {
        return Duration::ZERO;
    }
    let seconds = |name: &str| {
        let value =
            directives.iter().find_map(|part| part.strip_prefix(name)?.strip_prefix('='))?;
        value.trim_matches('"').parse::<u64>().ok()
    };
    let Some(most) = seconds("s-maxage").or_else(|| seconds("max-age")) else {
        return UNBOUNDED_LIFE;
    };
    Duration::from_secs(most.saturating_sub(age(headers))).min(LONGEST_LIFE)
}

fn age(headers: &HeaderMap) -> u64 {
    headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0)
}

impl File {
    /// The answer to a browser with these headers, of this body: the file's own, or what was made
    /// of it. `is_head` leaves the body out.
    pub(super) fn answer(
        &self,
        asked: &HeaderMap,
        body: Bytes,
        is_own: bool,
        is_head: bool,
    ) -> Response {
        let mut headers = self.headers.clone();
        let age = age(&headers).saturating_add(self.at.elapsed().as_secs());
        if age > 0 || headers.contains_key(AGE) {
            headers.insert(AGE, HeaderValue::from(age));
        }
        let range = asked.get(RANGE).filter(|_| is_own && self.may_be_cut(asked));
        let (status, body) = if self.is_known(asked) {
            headers.remove(CONTENT_LENGTH);
            (StatusCode::NOT_MODIFIED, None)
        } else if let Some(range) = range {
            match part(range, body.len()) {
                Part::Bytes(from, to) => {
                    let range = format!("bytes {from}-{to}/{}", body.len());
                    headers.extend(
                        HeaderValue::try_from(range).ok().map(|range| (CONTENT_RANGE, range)),
                    );
                    (StatusCode::PARTIAL_CONTENT, Some(body.slice(from..=to)))
                }
                Part::OutOfRange => {
                    let range = HeaderValue::try_from(format!("bytes */{}", body.len()));
                    return out_of_range(
                        &range.into_iter().map(|range| (CONTENT_RANGE, range)).collect(),
                    );
                }
                Part::Whole => (StatusCode::OK, Some(body)),
            }
        } else {
            (StatusCode::OK, Some(body))
        };
        if !is_own {
            headers.remove(ACCEPT_RANGES);
        }
        if let Some(body) = &body {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let mut response =
            Response::new(body.filter(|_| !is_head).map_or_else(Body::empty, Body::from));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Whether the browser has the file already (RFC 9110 section 13.2.2).
    fn is_known(&self, asked: &HeaderMap) -> bool {
        if asked.contains_key(IF_NONE_MATCH) {
            return self.headers.get(ETAG).is_some_and(|etag| names_etag(asked, etag));
        }
        self.is_named(asked, &IF_MODIFIED_SINCE, &LAST_MODIFIED)
    }

    /// Whether a part of the file is of use: `If-Range` names the file that the browser has the
    /// rest of.
    fn may_be_cut(&self, asked: &HeaderMap) -> bool {
        !asked.contains_key(IF_RANGE)
            || self.is_named(asked, &IF_RANGE, &ETAG)
            || self.is_named(asked, &IF_RANGE, &LAST_MODIFIED)
    }

    fn is_named(&self, asked: &HeaderMap, condition: &HeaderName, own: &HeaderName) -> bool {
        asked.get(condition).is_some_and(|value| self.headers.get(own) == Some(value))
    }
}

enum Part {
    Bytes(usize, usize),
    OutOfRange,
    Whole,
}

/// The one part that a `Range` names of a file of this length; several are answered with the whole
/// file.
fn part(range: &HeaderValue, length: usize) -> Part {
    let parsed =
        range.to_str().ok().and_then(|text| http_range_header::parse_range_header(text).ok());
    let Some(parsed) = parsed.filter(|parsed| parsed.ranges.len() == 1) else { return Part::Whole };
    let Ok(parts) = parsed.validate(length as u64) else { return Part::OutOfRange };
    let ends =
        parts.first().map(|part| (usize::try_from(*part.start()), usize::try_from(*part.end())));
    match ends {
        Some((Ok(from), Ok(to))) => Part::Bytes(from, to),
        _ => Part::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_file_is_kept_as_long_as_the_cdn_lets_us_and_a_day_at_the_most() {
        for (cache, seconds) in [
            ("public, max-age=300", 300),
            ("max-age=300, s-maxage=20", 20),
            ("public, max-age=31536000, immutable", 86_400),
            ("no-store", 0),
            ("private, max-age=300", 0),
            ("No-Cache", 0),
            ("max-age=0", 0),
            ("public", 60),
            ("max-age=soon", 60),
        ] {
            let found = life(&headers(&[(CACHE_CONTROL, cache)]));
            assert_eq!(found.as_secs(), seconds, "{cache}");
        }
        assert_eq!(life(&HeaderMap::new()), UNBOUNDED_LIFE);
        assert_eq!(life(&headers(&[(CACHE_CONTROL, "max-age=300"), (AGE, "290")])).as_secs(), 10);
        assert_eq!(life(&headers(&[(CACHE_CONTROL, "max-age=300"), (AGE, "900")])).as_secs(), 0);
    }

    #[test]
    fn the_best_coding_that_a_browser_takes_is_asked_for() {
        for (line, coding) in [
            ("gzip, deflate, br, zstd", Coding::Brotli),
            ("gzip;q=0.8", Coding::Gzip),
            ("br;q=0, gzip", Coding::Gzip),
            ("identity", Coding::None),
            ("br;q=0", Coding::None),
        ] {
            assert_eq!(Coding::of(&headers(&[(ACCEPT_ENCODING, line)])), coding, "{line}");
        }
        assert_eq!(Coding::of(&HeaderMap::new()), Coding::None);
    }

    #[test]
    fn a_part_is_answered_under_its_conditions() {
        let file = File {
            headers: headers(&[(ETAG, "\"v1\""), (LAST_MODIFIED, "Fri, 10 Oct 2025 00:00:00 GMT")]),
            body: Bytes::from_static(b"0123456789"),
            at: Instant::now(),
        };
        let status = |asked: &[(HeaderName, &'static str)]| {
            file.answer(&headers(asked), file.body.clone(), true, false).status().as_u16()
        };
        for (asked, expected) in [
            (&[(RANGE, "bytes=2-5")][..], 206),
            (&[(RANGE, "bytes=-3")], 206),
            (&[(RANGE, "bytes=10-")], 416),
            (&[(RANGE, "bytes=0-1,4-5")], 200),
            (&[(RANGE, "lines=1-2")], 200),
            (&[(RANGE, "bytes=2-5"), (IF_RANGE, "\"v1\"")], 206),
            (&[(RANGE, "bytes=2-5"), (IF_RANGE, "\"v0\"")], 200),
            (&[(RANGE, "bytes=2-5"), (IF_NONE_MATCH, "\"v1\"")], 304),
            (&[(IF_NONE_MATCH, "W/\"v1\"")], 304),
            (
                &[(IF_NONE_MATCH, "\"v0\""), (IF_MODIFIED_SINCE, "Fri, 10 Oct 2025 00:00:00 GMT")],
                200,
            ),
            (&[(IF_MODIFIED_SINCE, "Fri, 10 Oct 2025 00:00:00 GMT")], 304),
        ] {
            assert_eq!(status(asked), expected, "{asked:?}");
        }
    }
}
