//! How do bytes come in? As `multipart/form-data` with one file, straight to disk, within a size and a patience.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use hyper::body::Frame;
use tokio::time::timeout;

use super::{kind, too_large};
use crate::error::{Error, Kind};
use crate::store::files::{Files, Incoming};

/// How long a client may send nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a file may take in all.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// What stands around the file in the body, and other fields, may have so many bytes.
const FRAME: u64 = 64 * 1024;
/// So many bytes may wait in memory to be made sense of.
const MOST_WAITING: u64 = 1024 * 1024;

/// A file that has come in.
#[derive(Debug)]
pub(super) struct Received {
    /// Its bytes, on disk. They go away with it unless they are told to stay.
    pub(super) file: Incoming,
    /// What the client calls it.
    pub(super) name: String,
    /// What the client says of it.
    pub(super) declared: Option<String>,
    /// How it begins.
    pub(super) head: Vec<u8>,
    /// How many bytes it has.
    pub(super) size: u64,
}

/// Reads the one file of a body, of at most `limit` bytes.
pub(super) async fn receive(files: &Files, parts: Parts, body: Body, limit: u64) -> Result<Received, Error> {
    let announced = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit.saturating_add(FRAME)) {
        return Err(too_large(limit));
    }
    let waiting = Arc::new(AtomicU64::new(0));
    let paced = Paced { body, rested: true, waiting: Arc::clone(&waiting) };
    let request = Request::from_parts(parts, Body::new(paced));
    let reading = async {
        let multipart = Multipart::from_request(request, &()).await.map_err(|rejection| {
            let message = "Send the file as `multipart/form-data`, in the field `file`.";
            Error::new(Kind::UnsupportedMediaType, message).because(rejection)
        })?;
        Form { multipart, files, waiting: &waiting, limit }.read().await
    };
    let late = |_| Err(too_slow("The file took over an hour to arrive."));
    timeout(LONGEST, reading).await.unwrap_or_else(late)
}

/// A body that is being read.
struct Form<'a> {
    multipart: Multipart,
    files: &'a Files,
    waiting: &'a AtomicU64,
    limit: u64,
}

impl Form<'_> {
    async fn read(mut self) -> Result<Received, Error> {
        let mut received = None;
        let mut skipped = 0;
        while let Some(mut field) = patiently(self.multipart.next_field()).await? {
            let is_file = field.name() == Some("file");
            if is_file && received.is_some() {
                return Err(Error::invalid("Send one file at a time."));
            }
            if is_file {
                received = Some(save(&mut field, self.files, self.waiting, self.limit).await?);
            } else {
                skip(&mut field, self.waiting, &mut skipped).await?;
            }
        }
        received.ok_or_else(|| Error::invalid("The form has no field `file`."))
    }
}

async fn save(
    field: &mut Field<'_>,
    files: &Files,
    waiting: &AtomicU64,
    limit: u64,
) -> Result<Received, Error> {
    let mut received = Received {
        file: files.begin().await.map_err(Error::internal)?,
        name: field.file_name().unwrap_or_default().to_owned(),
        declared: field.content_type().map(str::to_owned),
        head: Vec::with_capacity(kind::HEAD),
        size: 0,
    };
    while let Some(chunk) = next_chunk(field, waiting).await? {
        received.size += chunk.len() as u64;
        if received.size > limit {
            return Err(too_large(limit));
        }
        let wanted = kind::HEAD - received.head.len();
        received.head.extend_from_slice(&chunk[..wanted.min(chunk.len())]);
        received.file.write(&chunk).await.map_err(Error::internal)?;
    }
    Ok(received)
}

/// Reads a field that is not asked for.
async fn skip(field: &mut Field<'_>, waiting: &AtomicU64, skipped: &mut u64) -> Result<(), Error> {
    while let Some(chunk) = next_chunk(field, waiting).await? {
        *skipped += chunk.len() as u64;
        if *skipped > FRAME {
            return Err(Error::invalid("What the form has besides `file` is over 64 KiB."));
        }
    }
    Ok(())
}

async fn next_chunk(field: &mut Field<'_>, waiting: &AtomicU64) -> Result<Option<Bytes>, Error> {
    let chunk = patiently(field.chunk()).await?;
    if let Some(chunk) = &chunk {
        waiting.fetch_sub(chunk.len() as u64, Ordering::Relaxed);
    }
    Ok(chunk)
}

async fn patiently<T>(reading: impl Future<Output = Result<T, MultipartError>>) -> Result<T, Error> {
    match timeout(PATIENCE, reading).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
            Err(Error::invalid("The form is not complete, or can't be read. Send it again.").because(cause))
        }
        Err(_) => Err(too_slow("Nothing of the file came for 30 seconds.")),
    }
}

fn too_slow(message: &'static str) -> Error {
    Error::new(Kind::RequestTimeout, message)
}

/// A body that gives one chunk at a time: the reader of forms takes all that it can get before it hands on anything. When
/// too much waits there (a head of a field that never ends), the body fails.
struct Paced {
    body: Body,
    rested: bool,
    waiting: Arc<AtomicU64>,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !std::mem::replace(&mut self.rested, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.rested = false;
            let added = frame.data_ref().map_or(0, Bytes::len) as u64;
            if self.waiting.fetch_add(added, Ordering::Relaxed) + added > MOST_WAITING {
                let error = axum::Error::new("too much of the form can't be made sense of");
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(frame)
    }
}
