//! How do bytes come in? As `multipart/form-data` with one file, straight to disk, within a size
//! and a patience.

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
use tokio::time::{Instant, timeout_at};

use super::{kind, not_written};
use crate::error::{Error, Kind};
use crate::store::files::{Files, Incoming};

/// How long a client may send nothing, and how far it may be behind the least rate.
const PATIENCE: Duration = Duration::from_secs(30);
/// What must come in a second, on the whole, in bytes.
const LEAST_RATE: u64 = 16 * 1024;
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

/// How large a file may be.
#[derive(Debug)]
pub(super) struct Limit {
    /// At most so many bytes.
    pub(super) most: u64,
    /// The refusal of one that is larger.
    pub(super) refusal: Error,
}

impl Limit {
    /// How many bytes the body says that the file has, about: other parts of the form count too.
    /// `None` when it doesn't say.
    ///
    /// # Errors
    /// The refusal, when that is too much.
    pub(super) fn announced(&self, parts: &Parts) -> Result<Option<u64>, Error> {
        let length: Option<u64> =
            parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        match length {
            Some(length) if length > self.most.saturating_add(FRAME) => Err(self.refusal.clone()),
            Some(length) => Ok(Some(length.saturating_sub(FRAME))),
            None => Ok(None),
        }
    }
}

/// Reads the one file of a body.
pub(super) async fn receive(
    files: &Files,
    parts: Parts,
    body: Body,
    limit: &Limit,
) -> Result<Received, Error> {
    let pace = Arc::new(Pace {
        began: Instant::now(),
        arrived: AtomicU64::new(0),
        waiting: AtomicU64::new(0),
    });
    let paced = Paced { body, rested: true, pace: Arc::clone(&pace) };
    let request = Request::from_parts(parts, Body::new(paced));
    let multipart = Multipart::from_request(request, &()).await.map_err(|rejection| {
        let message = "Send the file as `multipart/form-data`, in the field `file`.";
        Error::new(Kind::UnsupportedMediaType, message).because(rejection)
    })?;
    Form { multipart, files, pace: &pace, limit }.read().await
}

/// How fast a body comes.
#[derive(Debug)]
struct Pace {
    began: Instant,
    arrived: AtomicU64,
    /// What has come and is not made sense of yet.
    waiting: AtomicU64,
}

impl Pace {
    /// Waits for a part of the form as long as it may take.
    async fn wait<T>(
        &self,
        reading: impl Future<Output = Result<T, MultipartError>>,
    ) -> Result<T, Error> {
        let earned = Duration::from_secs(self.arrived.load(Ordering::Relaxed) / LEAST_RATE);
        let (silent, slow) = (Instant::now() + PATIENCE, self.began + PATIENCE + earned);
        let long = self.began + LONGEST;
        match timeout_at(silent.min(slow).min(long), reading).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => {
                let cause =
                    std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
                Err(Error::invalid("The form is not complete, or can't be read. Send it again.")
                    .because(cause))
            }
            Err(_) if long <= silent.min(slow) => {
                Err(too_slow("The file took over an hour to arrive."))
            }
            Err(_) if silent <= slow => Err(too_slow("Nothing of the file came for 30 seconds.")),
            Err(_) => Err(too_slow("The file came too slowly: 16 KiB a second are the least.")),
        }
    }
}

/// A body that is being read.
struct Form<'a> {
    multipart: Multipart,
    files: &'a Files,
    pace: &'a Pace,
    limit: &'a Limit,
}

impl Form<'_> {
    async fn read(mut self) -> Result<Received, Error> {
        let mut received = None;
        let mut skipped = 0;
        while let Some(mut field) = self.pace.wait(self.multipart.next_field()).await? {
            let is_file = field.name() == Some("file");
            if is_file && received.is_some() {
                return Err(Error::invalid("Send one file at a time."));
            }
            if is_file {
                received = Some(save(&mut field, self.files, self.pace, self.limit).await?);
            } else {
                skip(&mut field, self.pace, &mut skipped).await?;
            }
        }
        received.ok_or_else(|| Error::invalid("The form has no field `file`."))
    }
}

async fn save(
    field: &mut Field<'_>,
    files: &Files,
    pace: &Pace,
    limit: &Limit,
) -> Result<Received, Error> {
    let mut received = Received {
        file: files.begin().await.map_err(not_written)?,
        name: field.file_name().unwrap_or_default().to_owned(),
        declared: field.content_type().map(str::to_owned),
        head: Vec::with_capacity(kind::HEAD),
        size: 0,
    };
    while let Some(chunk) = next_chunk(field, pace).await? {
        received.size += chunk.len() as u64;
        if received.size > limit.most {
            return Err(limit.refusal.clone());
        }
        let wanted = kind::HEAD - received.head.len();
        received.head.extend_from_slice(&chunk[..wanted.min(chunk.len())]);
        received.file.write(&chunk).await.map_err(not_written)?;
    }
    received.file.flush().await.map_err(not_written)?;
    Ok(received)
}

/// Reads a field that is not asked for.
async fn skip(field: &mut Field<'_>, pace: &Pace, skipped: &mut u64) -> Result<(), Error> {
    while let Some(chunk) = next_chunk(field, pace).await? {
        *skipped += chunk.len() as u64;
        if *skipped > FRAME {
            return Err(Error::invalid("What the form has besides `file` is over 64 KiB."));
        }
    }
    Ok(())
}

async fn next_chunk(field: &mut Field<'_>, pace: &Pace) -> Result<Option<Bytes>, Error> {
    let chunk = pace.wait(field.chunk()).await?;
    if let Some(chunk) = &chunk {
        pace.waiting.fetch_sub(chunk.len() as u64, Ordering::Relaxed);
    }
    Ok(chunk)
}

fn too_slow(message: &'static str) -> Error {
    Error::new(Kind::RequestTimeout, message)
}

/// A body that gives one chunk at a time: the reader of forms takes all that it can get before it
/// hands on anything. When too much waits there (a head of a field that never ends), the body
/// fails.
struct Paced {
    body: Body,
    rested: bool,
    pace: Arc<Pace>,
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
            self.pace.arrived.fetch_add(added, Ordering::Relaxed);
            if self.pace.waiting.fetch_add(added, Ordering::Relaxed) + added > MOST_WAITING {
                let error = axum::Error::new("too much of the form can't be made sense of");
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::header::CONTENT_TYPE;
    use futures_util::stream;

    use super::*;
    use crate::ids::new_id;

    /// What becomes of a file of so many bytes of which so many come each `pause`, and how long
    /// that takes.
    async fn upload(
        bytes: usize,
        at_once: usize,
        pause: Duration,
    ) -> (Result<u64, Kind>, Duration) {
        let head = "--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n";
        let pieces = (0..bytes / at_once).map(move |_| vec![b'a'; at_once]);
        let whole = [head.into()].into_iter().chain(pieces).chain(["\r\n--b--\r\n".into()]);
        let dripping = stream::unfold(whole, move |mut whole| async move {
            tokio::time::sleep(pause).await;
            whole.next().map(|piece: Vec<u8>| (Ok::<_, Infallible>(piece), whole))
        });
        let request =
            Request::builder().header(CONTENT_TYPE, "multipart/form-data; boundary=b").body(());
        let (parts, ()) = request.expect("a request").into_parts();
        let folder = std::env::temp_dir().join(&*new_id("chatkit-slow-"));
        let limit = Limit { most: 1 << 30, refusal: Error::invalid("too large") };
        let began = Instant::now();
        let received =
            receive(&Files::new(&folder), parts, Body::from_stream(dripping), &limit).await;
        let outcome = received.map(|received| received.size).map_err(|error| error.kind());
        std::fs::remove_dir_all(&folder).expect("it is there");
        (outcome, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_comes_a_byte_at_a_time_is_given_up_soon() {
        let (outcome, took) = upload(1000, 1, Duration::from_secs(13)).await;
        assert_eq!(outcome, Err(Kind::RequestTimeout));
        assert!(took < Duration::from_secs(60), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_file_comes_to_its_end_if_it_is_fast_enough_on_the_whole() {
        let bytes = 3 * 512 * 1024;
        let (outcome, took) = upload(bytes, 16 * 1024, Duration::from_millis(940)).await;
        assert_eq!(outcome, Ok(bytes as u64));
        assert!(took > Duration::from_secs(80), "{took:?}");
        let (outcome, took) = upload(bytes, 16 * 1024, Duration::from_secs(2)).await;
        assert_eq!(outcome, Err(Kind::RequestTimeout));
        assert!(took < Duration::from_secs(90), "{took:?}");
    }
}
