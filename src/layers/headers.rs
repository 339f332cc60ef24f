//! Headers that every answer carries: what it is must not be guessed, and what is about a user must
//! not be kept.

use axum::http::header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};

/// Adds `X-Content-Type-Options: nosniff` and `Referrer-Policy: strict-origin-when-cross-origin`,
/// and, where `path` is one of the API's and nothing is said about caching, `Cache-Control:
/// no-store`.
pub fn secure(path: &str, headers: &mut HeaderMap) {
    // Room for these and for what the outer layers add, so that the map grows once.
    headers.reserve(8);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin"));
    if path.starts_with("/api/") && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
