//! How long may a client take to read? A stream that knows how long it had to wait for its client,
//! and ends when that is too long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long a client may take nothing of its answer.
const STALLED: Duration = Duration::from_secs(30);

/// How long a client may keep an answer waiting in all, before what it has taken counts.
const GRACE: Duration = Duration::from_secs(30);

/// What an answer must be taken at beyond that, in bytes a second.
const LEAST_RATE: u64 = 16 * 1024;

/// What a connection's stream and its service tell each other.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    head_began: AtomicBool,
    is_served: AtomicBool,
    answers: AtomicUsize,
    is_event_stream: AtomicBool,
}

impl Exchange {
    /// Whether something was read since anything was written: a head that began and was not
    /// answered.
    pub(super) fn head_began(&self) -> bool {
        self.head_began.load(Ordering::Relaxed)
    }

    /// A head was whole, and is answered by the service.
    pub(super) fn serve(&self) {
        self.is_served.store(true, Ordering::Relaxed);
    }

    /// Whether any head was whole. Before that only hyper has anything to say: what it says of a
    /// head that it can't read is left out, because it is said in our own words.
    pub(super) fn is_served(&self) -> bool {
        self.is_served.load(Ordering::Relaxed)
    }

    /// An answer begins. Events come when they come, so a stream of them has no least rate.
    pub(super) fn begin_answer(&self, is_event_stream: bool) {
        self.is_event_stream.store(is_event_stream, Ordering::Relaxed);
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// A client's stream.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    exchange: Arc<Exchange>,
    pace: Pace,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, exchange: Arc<Exchange>) -> Self {
        Self { stream, exchange, pace: Pace::default() }
    }

    /// The stream itself.
    pub(super) fn inner_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Passes on what a write came to. A client that takes nothing runs out of time.
    fn note(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.pace.begin(self.exchange.answers.load(Ordering::Relaxed));
        match written {
            Poll::Ready(written) => {
                self.pace.took(*written.as_ref().unwrap_or(&0));
                Poll::Ready(written)
            }
            Poll::Pending => {
                let is_event_stream = self.exchange.is_event_stream.load(Ordering::Relaxed);
                self.pace.poll_too_slow(is_event_stream, cx).map(|()| {
                    let error = "the client takes its answer too slowly";
                    Err(io::Error::new(io::ErrorKind::TimedOut, error))
                })
            }
        }
    }
}

/// How much a client took of one answer, and how long that had to wait for it. Time in which the
/// answer itself is not ready is not counted.
#[derive(Debug, Default)]
struct Pace {
    answer: usize,
    taken: u64,
    waited: Duration,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    end: Pin<Box<Sleep>>,
}

impl Pace {
    /// Another answer begins anew.
    fn begin(&mut self, answer: usize) {
        if self.answer != answer {
            (self.answer, self.taken, self.waited) = (answer, 0, Duration::ZERO);
        }
    }

    fn took(&mut self, bytes: usize) {
        if let Some(waiting) = self.waiting.take() {
            self.waited += waiting.since.elapsed();
        }
        self.taken += bytes as u64;
    }

    /// How much longer the client may take nothing.
    fn left(&self, is_event_stream: bool) -> Duration {
        if is_event_stream {
            return STALLED;
        }
        let allowed = GRACE + Duration::from_millis(self.taken.saturating_mul(1000) / LEAST_RATE);
        STALLED.min(allowed.saturating_sub(self.waited))
    }

    fn poll_too_slow(&mut self, is_event_stream: bool, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left(is_event_stream);
        let begin = || Waiting { since: Instant::now(), end: Box::pin(sleep(left)) };
        self.waiting.get_or_insert_with(begin).end.as_mut().poll(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.exchange.head_began.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.exchange.is_served() {
            return Poll::Ready(Ok(buf.len()));
        }
        self.exchange.head_began.store(false, Ordering::Relaxed);
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.exchange.is_served() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        self.exchange.head_began.store(false, Ordering::Relaxed);
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.exchange.is_served() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 16 * 1024;

    fn waited(seconds: u64, taken: usize) -> Pace {
        let mut pace = Pace { waited: Duration::from_secs(seconds), ..Pace::default() };
        pace.took(taken);
        pace
    }

    #[test]
    fn what_is_taken_earns_time_and_waiting_spends_it() {
        let left = |pace: &Pace| pace.left(false).as_secs();
        assert_eq!(left(&Pace::default()), 30, "a beginning");
        assert_eq!(left(&waited(29, 28)), 1, "a byte a second");
        assert_eq!(left(&waited(40, 5 * RATE)), 0, "35 seconds were earned");
        assert_eq!(left(&waited(40, 20 * RATE)), 10);
        assert_eq!(
            left(&waited(40, 4000 * RATE)),
            30,
            "nothing at all for 30 seconds is too long in any case"
        );
    }

    #[test]
    fn a_stream_of_events_may_be_read_as_slowly_as_they_come() {
        assert_eq!(waited(3000, 1).left(true), STALLED);
    }

    #[test]
    fn each_answer_of_a_connection_begins_anew() {
        let mut pace = waited(29, 0);
        pace.begin(0);
        assert_eq!(pace.left(false).as_secs(), 1, "still the same one");
        pace.begin(1);
        assert_eq!(pace.left(false).as_secs(), 30);
    }
}
