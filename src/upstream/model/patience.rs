//! How long is an answer waited for? Silence counts from event to event, and not from byte to byte:
//! a server that sends a byte now and then says nothing. Comments are a sign of life for a while:
//! some servers send them while a model thinks for minutes.

use std::time::Duration;

use super::stream::Progress;

/// How long a server may take to say what an answer took, after the answer itself is whole.
const GRACE: Duration = Duration::from_secs(2);
/// How long a server may take to go on with another response, after one is whole and nothing of it
/// waits.
const PAUSE: Duration = Duration::from_secs(5);
/// So many bytes of an event are as good as an event: large ones take their time over slow lines.
const MUCH: usize = 64 * 1024;

/// How patient a stream is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without an event or a comment.
    pub(super) idle: Duration,
    /// Without an event, whatever comments there are.
    pub(super) quiet: Duration,
}

/// How long was waited in vain. Only waiting counts: whoever takes long to ask for the next event
/// does not make a server slow.
#[derive(Debug, Default)]
pub(super) struct Waited {
    for_life: Duration,
    for_event: Duration,
    /// Bytes since the last event.
    bytes: usize,
}

impl Patience {
    /// How much longer the next piece may take.
    pub(super) fn left(self, progress: Progress, waited: &Waited) -> Duration {
        let after = |most: Duration| (self.idle / 2).min(most).saturating_sub(waited.for_event);
        match progress {
            Progress::Said => after(GRACE),
            Progress::Paused => after(PAUSE),
            Progress::Going | Progress::Complete => {
                let for_life = self.idle.saturating_sub(waited.for_life);
                for_life.min(self.quiet.saturating_sub(waited.for_event))
            }
        }
    }
}

impl Waited {
    /// So long for a piece of the stream, or in vain.
    pub(super) fn time(&mut self, time: Duration) {
        self.for_life += time;
        self.for_event += time;
    }

    /// An event came.
    pub(super) fn event(&mut self) {
        *self = Self::default();
    }

    /// A comment came.
    pub(super) fn comment(&mut self) {
        self.for_life = Duration::ZERO;
    }

    /// So many bytes came.
    pub(super) fn bytes(&mut self, count: usize) {
        self.bytes += count;
        if self.bytes >= MUCH {
            *self = Self::default();
        }
    }

    /// Why no more is waited.
    pub(super) fn cause(&self, patience: Patience) -> String {
        if self.for_life >= patience.idle {
            format!("nothing came from the model for {} s", patience.idle.as_secs_f64())
        } else {
            format!("no event came from the model for {} s", self.for_event.as_secs_f64().round())
        }
    }
}
