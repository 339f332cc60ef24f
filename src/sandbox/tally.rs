//! What was the stand-in asked for so far? Counts for tests that want to see the model stop, and
//! the last bodies for tests of what reaches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::Sandbox;
use super::sessions::lock;

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Responses,
    Completions,
    Transcriptions,
}

const ENDPOINTS: [(Endpoint, &str); 3] = [
    (Endpoint::Responses, "responses"),
    (Endpoint::Completions, "completions"),
    (Endpoint::Transcriptions, "transcriptions"),
];

/// The counts and the bodies.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The generations that are under way.
    pub(super) open: Arc<AtomicU64>,
    /// Requests so far, by endpoint.
    counts: [AtomicU64; 3],
    /// The last body that was JSON, by endpoint.
    last: [Mutex<Option<Bytes>>; 3],
}

impl Tally {
    /// Notes a request.
    pub(super) fn count(&self, endpoint: Endpoint) {
        self.counts[endpoint as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the body of a request, which is JSON.
    pub(super) fn remember(&self, endpoint: Endpoint, body: &Bytes) {
        *lock(&self.last[endpoint as usize]) = Some(body.clone());
    }
}

/// What one generation holds as long as it goes on. It ends with its response, however that ends.
#[derive(Debug)]
pub(super) struct Open(Arc<AtomicU64>);

impl Open {
    /// Counts one more generation.
    pub(super) fn one_of(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `GET /sandbox/stats`: `{"open":0,"responses":2,"completions":0,"transcriptions":0}`
pub(super) async fn show_stats(State(sandbox): State<Arc<Sandbox>>) -> Response {
    let tally = &sandbox.tally;
    let mut json = format!("{{\"open\":{}", tally.open.load(Ordering::Relaxed));
    for (endpoint, name) in ENDPOINTS {
        let count = tally.counts[endpoint as usize].load(Ordering::Relaxed);
        json.push_str(&format!(",\"{name}\":{count}"));
    }
    json.push('}');
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// `GET /sandbox/last`: the last body of each endpoint as it came, or null.
pub(super) async fn show_last(State(sandbox): State<Arc<Sandbox>>) -> Response {
    let mut json = Vec::new();
    for (endpoint, name) in ENDPOINTS {
        json.extend_from_slice(if json.is_empty() { b"{" } else { b"," });
        json.extend_from_slice(format!("\"{name}\":").as_bytes());
        let last = lock(&sandbox.tally.last[endpoint as usize]).clone();
        json.extend_from_slice(last.as_deref().unwrap_or(b"null"));
    }
    json.push(b'}');
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}
