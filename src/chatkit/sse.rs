//! How does a client hear a turn? As `text/event-stream`: the first byte at once, a comment when nothing is said for a while.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::feed::Listener;
use crate::telemetry::metrics::Metrics;

/// Proxies cut connections on which nothing comes for a minute, some for half of one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A comment, which clients pass over. It makes proxies hand on the head.
const OPENING: Bytes = Bytes::from_static(b": open\n\n");
const STILL_HERE: Bytes = Bytes::from_static(b": still here\n\n");
/// nginx buffers answers unless this says no.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The answer that lets a client hear a feed to its end.
#[must_use]
pub fn stream(listener: Listener, metrics: &Metrics) -> Response {
    let opening = stream::iter([OPENING]);
    let held = metrics.stream_open();
    let frames = stream::unfold((listener, held), |(mut listener, held)| async move {
        let frames = match timeout(HEARTBEAT, listener.next()).await {
            Ok(frames) => frames?,
            Err(_) => STILL_HERE,
        };
        Some((frames, (listener, held)))
    });
    let body = Body::from_stream(opening.chain(frames).map(Ok::<_, std::convert::Infallible>));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}
