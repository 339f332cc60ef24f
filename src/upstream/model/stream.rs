//! How does an answer arrive? [`ModelStream`] is pulled: nothing is read from the model unless its
//! next event is asked for, and dropping it closes the connection, which ends the generation there.
//!
//! It is bounded in bytes ([`Bounds`]) and in silence ([`Waited`]).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::{Instant, timeout};

use super::error::{ModelError, ModelErrorKind, Trouble};
use super::event::ModelEvent;
use super::patience::{Patience, Waited};
use super::request::ModelRequest;
use crate::config::env::Secret;
use crate::upstream::link::text_of;
use crate::upstream::sse::Parser;

/// The largest single event. The last one holds the whole answer, with the instructions and the
/// tools.
const EVENT_CAP: usize = 10 * 1024 * 1024;
/// The largest one of a model that may draw: it holds an image in base64.
const IMAGE_EVENT_CAP: usize = 16 * 1024 * 1024;
/// The largest stream. It holds a text four times: in pieces, as a part, as a message, and as the
/// answer.
const STREAM_CAP: usize = 40 * 1024 * 1024;
/// The largest one of a model that may draw: it holds an image with its sketches, and once more at
/// its end.
const IMAGE_STREAM_CAP: usize = 96 * 1024 * 1024;
/// How long the end of a stream is waited for whose answer is over. It comes at once, as a rule in
/// a packet of its own, and a connection that was read to its end carries the next answer.
const LINGER: Duration = Duration::from_millis(100);

/// An adapter's half of a stream: what its frames mean.
pub(in crate::upstream) trait Reader: Send {
    /// Understands one frame and adds what it means to `events`. What was added before trouble
    /// still counts.
    fn read(
        &mut self,
        name: &str,
        data: &str,
        events: &mut VecDeque<ModelEvent>,
    ) -> Result<Progress, Trouble>;

    /// The stream has ended: by its own end, or because it was cut or fell silent. Whether the
    /// answer had ended before, or has now; if so, it adds what closes it.
    fn end(&mut self, is_own_end: bool, events: &mut VecDeque<ModelEvent>) -> bool;
}

/// How far an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Progress {
    /// In the middle.
    Going,
    /// Everything was said, and something may follow that is good to know.
    Said,
    /// A response is whole, and the server may go on with another one.
    Paused,
    /// Over: the last event is there.
    Complete,
}

/// The most bytes that are taken of one answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Of one event.
    event: usize,
    /// Of the whole stream.
    stream: usize,
}

impl Bounds {
    /// The bounds of the answer to a request: one that gives the tool to make images leaves room
    /// for them.
    pub(super) fn of(request: &ModelRequest) -> Self {
        let may_draw = request
            .hosted_tools
            .iter()
            .any(|tool| tool.get("type").is_some_and(|kind| kind == "image_generation"));
        if may_draw {
            Self { event: IMAGE_EVENT_CAP, stream: IMAGE_STREAM_CAP }
        } else {
            Self { event: EVENT_CAP, stream: STREAM_CAP }
        }
    }
}

/// The answer of a model, event by event.
#[expect(missing_debug_implementations, reason = "it holds the API key")]
pub struct ModelStream {
    /// The rest of the answer; its head is dropped, for it holds a buffer of the connection. None
    /// when the connection is given up.
    body: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    parser: Parser,
    reader: Box<dyn Reader>,
    progress: Progress,
    ready: VecDeque<ModelEvent>,
    /// What follows the events that are ready.
    failure: Option<ModelError>,
    received: usize,
    most: usize,
    patience: Patience,
    waited: Waited,
    own_key: Option<Secret>,
    request_id: Option<Box<str>>,
}

impl ModelStream {
    pub(super) fn new(
        response: reqwest::Response,
        reader: Box<dyn Reader>,
        bounds: Bounds,
        patience: Patience,
        own_key: Option<Secret>,
        request_id: Option<Box<str>>,
    ) -> Self {
        Self {
            body: Some(response.bytes_stream().boxed()),
            parser: Parser::new(bounds.event),
            reader,
            progress: Progress::Going,
            ready: VecDeque::new(),
            failure: None,
            received: 0,
            most: bounds.stream,
            patience,
            waited: Waited::default(),
            own_key,
            request_id,
        }
    }

    /// The server's id of the request, if it gave one.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The next event; none after [`ModelEvent::Completed`] or an error, one of which always comes.
    /// It may be cancelled: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<ModelEvent, ModelError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if let Some(error) = self.failure.take() {
                return Some(Err(error.with_request_id(self.request_id.clone())));
            }
            self.body.as_ref()?;
            if self.progress == Progress::Complete {
                self.read_out().await;
            } else if !self.read_frame() {
                self.receive().await;
            }
        }
    }

    /// Reads to the end of a stream that has nothing more to say, if it comes soon.
    async fn read_out(&mut self) {
        if let Some(body) = &mut self.body {
            let to_the_end = async { while let Some(Ok(_)) = body.next().await {} };
            let _ = timeout(LINGER, to_the_end).await;
        }
        self.body = None;
    }

    /// Understands one frame of what has arrived. Whether there was one.
    fn read_frame(&mut self) -> bool {
        let frame = match self.parser.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                if self.parser.has_seen_comment() {
                    self.waited.comment();
                }
                return false;
            }
            Err(too_large) => {
                self.fail(ModelError::new(ModelErrorKind::BadFrame, too_large.to_string()));
                return true;
            }
        };
        let before = self.progress;
        let read = self.reader.read(frame.name, &frame.data, &mut self.ready);
        self.went(read);
        // What is passed over after the answer does not hold its end up.
        if before == Progress::Going || self.progress != before {
            self.waited.event();
        }
        true
    }

    /// Waits for a piece of the stream, or for its end.
    async fn receive(&mut self) {
        let Some(body) = &mut self.body else { return };
        // The next piece may be long in coming: nothing is kept for its events.
        self.ready.shrink_to_fit();
        let patience = self.patience.left(self.progress, &self.waited);
        let began = Instant::now();
        let piece = timeout(patience, body.next()).await;
        self.waited.time(began.elapsed());
        let why = match piece {
            Ok(Some(Ok(piece))) => {
                self.received = self.received.saturating_add(piece.len());
                if self.received > self.most {
                    let cause = format!("an answer of more than {} bytes", self.most);
                    return self.fail(ModelError::new(ModelErrorKind::BadFrame, cause));
                }
                self.waited.bytes(piece.len());
                return self.parser.push(piece);
            }
            Ok(None) => {
                let cause = "the stream ended before the answer did";
                return self.end(true, ModelError::new(ModelErrorKind::Cut, cause));
            }
            Ok(Some(Err(error))) => {
                let cause =
                    format!("the connection broke before the answer ended: {}", text_of(error));
                ModelError::new(ModelErrorKind::Cut, cause)
            }
            Err(_) => ModelError::new(ModelErrorKind::Timeout, self.waited.cause(self.patience)),
        };
        self.end(false, why);
    }

    /// The stream is over, for this reason, which is an error unless the answer was over before.
    fn end(&mut self, is_own_end: bool, why: ModelError) {
        let mut is_own_end = is_own_end;
        if let Some(frame) = self.parser.finish() {
            match self.reader.read(frame.name, &frame.data, &mut self.ready) {
                // The end broke it off, and that is what there is to say.
                Err(Trouble::Unreadable(_)) => is_own_end = false,
                read => self.went(read),
            }
        }
        if self.body.is_some() {
            if self.progress == Progress::Complete || self.reader.end(is_own_end, &mut self.ready) {
                self.body = None;
            } else {
                self.fail(why);
            }
        }
    }

    fn went(&mut self, read: Result<Progress, Trouble>) {
        match read {
            Ok(progress) => self.progress = progress,
            Err(trouble) => {
                let own_key = self.own_key.as_ref().map_or("", Secret::expose);
                let error = ModelError::in_stream(trouble, own_key);
                self.fail(error);
            }
        }
    }

    fn fail(&mut self, error: ModelError) {
        self.failure = Some(error);
        self.body = None;
    }
}
