//! How does an answer get out? As a stream at its pace or in one piece, counted as long as it is
//! under way.
//!
//! A stream has no task and no queue of its own: the connection asks for the next event, which is
//! made then.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::time::Instant;

use super::cues::{MAX_DELAY, MAX_DELTAS};
use super::error::ApiError;
use super::script::Bounds;
use super::tally::Open;

/// A streamed answer in one of OpenAI's two forms: a list of beats, some of which are said in
/// pieces.
pub(super) trait Wire: Send + Sync + 'static {
    /// One event, or as many as there are pieces of its text.
    type Beat: Copy + Send + 'static;

    /// What comes in which order.
    fn plan(&self) -> Vec<Self::Beat>;

    /// The text that is said in pieces, if this beat is one that is.
    fn text(&self, beat: Self::Beat) -> Option<(&str, Grain)>;

    /// The event with this number.
    fn write(&self, beat: Self::Beat, piece: &str, number: u64) -> Bytes;
}

/// How a text is taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Grain {
    Words,
    /// Fragments of a few characters, as the arguments of a call come.
    Fragments,
}

impl Grain {
    fn first(self, text: &str) -> &str {
        let end = match self {
            Self::Words => text.find(' ').map(|at| at + 1),
            Self::Fragments => text.char_indices().nth(8).map(|(at, _)| at),
        };
        &text[..end.unwrap_or(text.len())]
    }
}

/// How an answer is brought forward.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The pause before each piece.
    pub(super) delay: Duration,
    /// The connection ends before the answer does.
    pub(super) cut: bool,
    #[expect(dead_code, reason = "it is there to be dropped with the rest")]
    pub(super) open: Open,
}

/// Answers with a stream of events.
pub(super) fn stream<W: Wire>(wire: W, delivery: Delivery) -> Response {
    let plan = wire.plan().into_iter();
    let live = Live { wire, plan, current: None, number: 0, due: Instant::now(), delivery };
    let body = Body::from_stream(stream::unfold(live, async |mut live| {
        let (bytes, is_piece) = match live.next() {
            Some(next) => next,
            None if live.delivery.cut => {
                live.delivery.cut = false;
                return Some((Err(broken().await), live));
            }
            None => return None,
        };
        if is_piece && !live.delivery.delay.is_zero() {
            live.due += live.delivery.delay;
            tokio::time::sleep_until(live.due).await;
        }
        Some((Ok(bytes), live))
    }));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, body).into_response()
}

/// Answers with one object, after the time that its pieces would have taken.
pub(super) async fn whole(object: &impl Serialize, pieces: usize, delivery: Delivery) -> Response {
    tokio::time::sleep(delivery.delay.saturating_mul(u32::try_from(pieces).unwrap_or(u32::MAX)))
        .await;
    let Ok(mut json) = serde_json::to_vec(object) else {
        return ApiError::server_error().into_response();
    };
    let json_type = [(header::CONTENT_TYPE, "application/json")];
    if delivery.cut {
        json.truncate(json.len() / 2);
        let half = stream::once(async { Ok(Bytes::from(json)) });
        let torn = half.chain(stream::once(async { Err(broken().await) }));
        return (json_type, Body::from_stream(torn)).into_response();
    }
    (json_type, json).into_response()
}

/// The pace that the headers of a request ask for.
pub(super) fn bounds(headers: &HeaderMap) -> Result<Bounds, ApiError> {
    let longest = u64::try_from(MAX_DELAY.as_millis()).unwrap_or(u64::MAX);
    let delay = number(headers, "x-sandbox-delay-ms", longest)?.map(Duration::from_millis);
    let deltas = number(headers, "x-sandbox-deltas", MAX_DELTAS as u64)?;
    let deltas = deltas.and_then(|count| usize::try_from(count).ok()).map(|count| count.max(1));
    Ok(Bounds { tokens: None, deltas, delay })
}

fn number(headers: &HeaderMap, name: &'static str, max: u64) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number =
        value.to_str().ok().and_then(|text| text.parse().ok()).filter(|number| *number <= max);
    number.map(Some).ok_or_else(|| {
        let message = format!("The header '{name}' must be a whole number up to {max}.");
        ApiError::invalid(StatusCode::BAD_REQUEST, message)
    })
}

/// The bytes of an event of a server-sent stream (HTML, 9.2); without a name it is data alone.
#[expect(clippy::expect_used, reason = "the data are strings, numbers and maps with string keys")]
pub(super) fn event(name: Option<&str>, data: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(256);
    if let Some(name) = name {
        bytes.extend_from_slice(b"event: ");
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut bytes, data)
        .expect("such data are JSON, and a vector takes every byte");
    bytes.extend_from_slice(b"\n\n");
    bytes.into()
}

/// What OpenAI pads a delta with, so that its length does not give the word away.
pub(super) fn padding(piece: &str) -> &'static str {
    const PADDING: &str = "Pq7zXw2mKd9RtVbN";
    &PADDING[piece.len().min(PADDING.len())..]
}

/// The end of a connection, after a moment in which what was said gets out: hyper drops what it
/// still holds.
async fn broken() -> io::Error {
    tokio::time::sleep(Duration::from_millis(10)).await;
    io::Error::new(io::ErrorKind::ConnectionAborted, "the answer was to be cut here")
}

struct Live<W: Wire> {
    wire: W,
    plan: std::vec::IntoIter<W::Beat>,
    /// The beat whose text is being said, and how far it got.
    current: Option<(W::Beat, usize)>,
    number: u64,
    /// When the latest piece was due: a stream that fell behind catches up.
    due: Instant,
    delivery: Delivery,
}

impl<W: Wire> Live<W> {
    /// The next event, and whether it is one piece of a text.
    fn next(&mut self) -> Option<(Bytes, bool)> {
        loop {
            let (beat, at) = match self.current.take() {
                Some(current) => current,
                None => (self.plan.next()?, 0),
            };
            let Some((text, grain)) = self.wire.text(beat) else {
                let bytes = self.wire.write(beat, "", self.number);
                self.number += 1;
                return Some((bytes, false));
            };
            let piece = grain.first(&text[at..]);
            if piece.is_empty() {
                continue;
            }
            let (bytes, end) = (self.wire.write(beat, piece, self.number), at + piece.len());
            self.number += 1;
            self.current = Some((beat, end));
            return Some((bytes, true));
        }
    }
}
