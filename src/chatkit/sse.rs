//! How does a client hear a turn? As `text/event-stream`: the first byte at once, a comment when
//! nothing is said for a while.

use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout};

use super::feed::Listener;
use super::frames::frame;
use super::turn;
use crate::protocol::Event;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::Streams;

/// Proxies cut connections on which nothing comes for a minute, some for half of one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The longest that a stream may take: a turn, and what it takes to wind one up. Only one that got
/// stuck is still there then.
const LONGEST: Duration = turn::LONGEST.saturating_add(Duration::from_secs(60));
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
    let frames = frames(listener, LONGEST).inspect(move |_| {
        let _until_the_end = &held;
    });
    let body = Body::from_stream(opening.chain(frames).map(Ok::<_, std::convert::Infallible>));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    (Extension(Streams), headers, body).into_response()
}

/// What a listener hears, up to its end; one that has not come to it by then is told to try again.
fn frames(listener: Listener, longest: Duration) -> impl Stream<Item = Bytes> + Send {
    let end = Instant::now() + longest;
    stream::unfold(Some(listener), move |listener| async move {
        let mut listener = listener?;
        let now = Instant::now();
        if now >= end {
            let error =
                Event::Error { code: "stream.error".to_owned(), message: None, allow_retry: true };
            return Some((frame(&error), None));
        }
        let frames = match timeout(HEARTBEAT.min(end - now), listener.next()).await {
            Ok(frames) => frames?,
            Err(_) => STILL_HERE,
        };
        Some((frames, Some(listener)))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chatkit::feed::Feed;

    #[tokio::test]
    async fn a_stream_without_an_end_gets_one() {
        let feed = Arc::new(Feed::default());
        let heard = frames(feed.listen(), Duration::from_millis(20)).collect::<Vec<_>>();
        let heard = timeout(Duration::from_secs(5), heard).await.expect("it ends");
        let last = br#"data: {"type":"error","code":"stream.error","allow_retry":true}"#;
        assert_eq!(heard.last().map(|frame| frame.trim_ascii_end()), Some(&last[..]));
        timeout(Duration::from_secs(5), feed.settled()).await.expect("nobody listens any more");
    }
}
