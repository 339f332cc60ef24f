//! Who hears a turn? A [`Feed`] is everything that a turn has said, in order; each [`Listener`]
//! reads it from the beginning at its own pace, so that a client that comes late or comes again
//! misses nothing, and one that is slow holds up nobody.
//!
//! What is said stays in memory until the feed is dropped. A text that grows is kept once, with the
//! ends of its pieces, and a state that takes the place of an earlier one (a task, a widget) lets
//! that go once everybody has read it who keeps up. Who is far behind in a row of states goes on
//! with the latest: a thought is said whole with each word that it grows by, and all of its states
//! would be the square of it.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;

use super::frames::{frame, text_head, write_piece};
use super::lock;
use crate::protocol::{Event, Id, ItemUpdate};

/// The most that is handed to a connection at once, but for a single larger event.
const BATCH: usize = 64 * 1024;
/// A reader that has this many bytes of unread states of one item is far behind. It gets the
/// newest state alone, because each state replaces the state before it.
const FAR_BEHIND: usize = 4 * BATCH;
/// A listener that leaves after it had unread events for this long counts as one that could not
/// read: its client is taken to have lost the connection.
const STALLED: Duration = Duration::from_secs(10);

/// Everything that a turn has said.
#[derive(Debug, Default)]
pub struct Feed {
    log: Mutex<Log>,
    /// Something was said, or the feed ended.
    said: Notify,
    /// A listener went away, or has heard the end.
    left: Notify,
}

#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    /// Where the last entries are states of one item: the index of the first of them that is kept.
    kept_from: usize,
    readers: Vec<Reader>,
    next_reader: u64,
    is_ended: bool,
    has_got_through: bool,
    has_stalled_reader: bool,
}

#[derive(Debug)]
enum Entry {
    /// A whole frame.
    Frame(Bytes),
    /// A frame that tells a whole state; a later one of the same place makes it needless. `end`
    /// counts the bytes of the states of that place in a row, up to here.
    State { key: StateKey, frame: Bytes, end: usize },
    /// A text that grows, boxed because most entries are none.
    Text(Box<Growing>),
    /// A state that was followed by a later one, and that nobody needs who keeps up.
    Gone,
}

/// A text in pieces. The frame of a piece is `head`, the piece as JSON, and a tail.
#[derive(Debug)]
struct Growing {
    item_id: Id,
    content_index: usize,
    head: Bytes,
    text: String,
    /// Where its pieces end.
    ends: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct StateKey(Id, usize);

#[derive(Debug)]
struct Reader {
    id: u64,
    at: Position,
    /// Since when there is something that it has not read, if there is.
    behind_since: Instant,
}

/// What was read: all entries before `entry`, and so many pieces of that one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    entry: usize,
    piece: usize,
}

/// Why nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The last client left: it stopped, reloaded, closed, or its connection broke.
    Left,
    /// The last client did not read what there was.
    Stalled,
}

impl Feed {
    /// Says something to everybody.
    pub fn say(&self, event: &Event) {
        let mut log = self.lock();
        if log.is_ended {
            return;
        }
        log.note_who_falls_behind();
        match event {
            Event::ItemUpdated {
                item_id,
                update: ItemUpdate::TextDelta { content_index, delta },
            } => {
                log.push_text(item_id, *content_index, delta);
            }
            event => log.push_event(event),
        }
        drop(log);
        self.said.notify_waiters();
    }

    /// The bytes that the feed keeps, roughly.
    #[must_use]
    pub fn size(&self) -> usize {
        let log = self.lock();
        let size = |entry: &Entry| match entry {
            Entry::Frame(frame) | Entry::State { frame, .. } => frame.len(),
            Entry::Text(growing) => growing.text.len() + size_of_val(&*growing.ends),
            Entry::Gone => 0,
        };
        log.entries.iter().map(size).sum::<usize>() + size_of_val(&*log.entries)
    }

    /// Nothing more will be said.
    pub fn end(&self) {
        self.lock().is_ended = true;
        self.said.notify_waiters();
    }

    /// Whether somebody has heard all of it, the end included.
    #[must_use]
    pub fn has_got_through(&self) -> bool {
        self.lock().has_got_through
    }

    /// Resolves when somebody has heard the end, or nobody listens.
    pub async fn settled(&self) {
        self.until(|log| log.has_got_through || log.readers.is_empty()).await;
    }

    /// Resolves when nobody listens, and says why.
    pub async fn abandoned(&self) -> Departure {
        self.until(|log| log.readers.is_empty()).await;
        if self.lock().has_stalled_reader { Departure::Stalled } else { Departure::Left }
    }

    /// Listens from the beginning.
    #[must_use]
    pub fn listen(self: &Arc<Self>) -> Listener {
        let mut log = self.lock();
        let id = log.next_reader;
        log.next_reader += 1;
        log.readers.push(Reader { id, at: Position::default(), behind_since: Instant::now() });
        drop(log);
        Listener { feed: Arc::clone(self), id }
    }

    async fn until(&self, holds: impl Fn(&Log) -> bool) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if holds(&self.lock()) {
                return;
            }
            left.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

impl Log {
    /// From now on there is something that they have not read.
    fn note_who_falls_behind(&mut self) {
        let Self { entries, readers, .. } = self;
        let now = Instant::now();
        for reader in readers.iter_mut().filter(|reader| !has_unread(entries, reader.at)) {
            reader.behind_since = now;
        }
    }

    fn push_text(&mut self, item_id: &Id, content_index: usize, delta: &str) {
        if let Some(Entry::Text(last)) = self.entries.last_mut()
            && (&last.item_id, last.content_index) == (item_id, content_index)
        {
            last.text.push_str(delta);
            last.ends.push(last.text.len());
            return;
        }
        let (item_id, text, ends) = (item_id.clone(), delta.to_owned(), vec![delta.len()]);
        let head = text_head(&item_id, content_index);
        self.entries.push(Entry::Text(Box::new(Growing {
            item_id,
            content_index,
            head,
            text,
            ends,
        })));
    }

    fn push_event(&mut self, event: &Event) {
        let frame = frame(event);
        let Some(key) = state_key(event) else {
            self.entries.push(Entry::Frame(frame));
            return;
        };
        let before = match self.entries.last() {
            Some(Entry::State { key: known, end, .. }) if *known == key => *end,
            _ => {
                self.kept_from = self.entries.len();
                0
            }
        };
        let end = before + frame.len();
        self.entries.push(Entry::State { key, frame, end });
        self.let_go(before);
    }

    /// Drops the states that a newer state of the same item replaces, unless a reader that keeps
    /// up still needs them. `before` counts the bytes of the states before the newest.
    fn let_go(&mut self, before: usize) {
        let last = self.entries.len() - 1;
        let keeps_up =
            |reader: &&Reader| match self.entries.get(reader.at.entry.max(self.kept_from)) {
                Some(Entry::State { frame, end, .. }) => {
                    before.saturating_sub(end - frame.len()) <= FAR_BEHIND
                }
                _ => true,
            };
        let needed = self.readers.iter().filter(keeps_up).map(|reader| reader.at.entry).min();
        let needed = needed.map_or(last, |needed| needed.clamp(self.kept_from, last));
        self.entries[self.kept_from..needed].fill_with(|| Entry::Gone);
        self.kept_from = needed;
    }

    /// What a reader has not read yet, up to a batch.
    fn read(&mut self, id: u64) -> Read {
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else {
            return Read::End;
        };
        let mut batch = BytesMut::new();
        while batch.len() < BATCH {
            match self.entries.get(reader.at.entry) {
                Some(Entry::Frame(frame) | Entry::State { frame, .. }) => {
                    batch.put_slice(frame);
                    reader.at = Position { entry: reader.at.entry + 1, piece: 0 };
                }
                Some(Entry::Gone) => reader.at = Position { entry: reader.at.entry + 1, piece: 0 },
                Some(Entry::Text(growing)) => {
                    let Growing { head, text, ends, .. } = &**growing;
                    if let Some(end) = ends.get(reader.at.piece) {
                        let start = reader.at.piece.checked_sub(1).map_or(0, |before| ends[before]);
                        write_piece(&mut batch, head, &text[start..*end]);
                        reader.at.piece += 1;
                    } else if reader.at.entry + 1 < self.entries.len() {
                        reader.at = Position { entry: reader.at.entry + 1, piece: 0 };
                    } else {
                        break;
                    }
                }
                None => break,
            }
        }
        match (batch.is_empty(), self.is_ended) {
            (false, _) => Read::Frames(batch.freeze()),
            (true, true) => Read::End,
            (true, false) => Read::Nothing,
        }
    }
}

fn has_unread(entries: &[Entry], at: Position) -> bool {
    match entries.get(at.entry) {
        None => false,
        Some(Entry::Text(growing)) => at.piece < growing.ends.len() || at.entry + 1 < entries.len(),
        Some(Entry::Frame(_) | Entry::State { .. } | Entry::Gone) => true,
    }
}

enum Read {
    Frames(Bytes),
    Nothing,
    End,
}

/// Somebody who hears a feed.
#[derive(Debug)]
pub struct Listener {
    feed: Arc<Feed>,
    id: u64,
}

impl Listener {
    /// The frames that were not heard yet; waits while there are none. `None` at the end, which
    /// counts as heard then.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let said = self.feed.said.notified();
            tokio::pin!(said);
            said.as_mut().enable();
            match self.feed.lock().read(self.id) {
                Read::Frames(frames) => return Some(frames),
                Read::End => break,
                Read::Nothing => {}
            }
            said.await;
        }
        self.feed.lock().has_got_through = true;
        self.feed.left.notify_waiters();
        None
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut log = self.feed.lock();
        if let Some(place) = log.readers.iter().position(|reader| reader.id == self.id) {
            let reader = log.readers.swap_remove(place);
            log.has_stalled_reader =
                has_unread(&log.entries, reader.at) && reader.behind_since.elapsed() >= STALLED;
        }
        drop(log);
        self.feed.left.notify_waiters();
    }
}

/// The place whose whole state an event tells.
fn state_key(event: &Event) -> Option<StateKey> {
    let Event::ItemUpdated { item_id, update } = event else { return None };
    match update {
        ItemUpdate::TaskUpdated { task_index, .. } => Some(StateKey(item_id.clone(), *task_index)),
        ItemUpdate::WidgetRootUpdated { .. } | ItemUpdate::ImageUpdated { .. } => {
            Some(StateKey(item_id.clone(), 0))
        }
        ItemUpdate::PartAdded { .. }
        | ItemUpdate::TextDelta { .. }
        | ItemUpdate::AnnotationAdded { .. }
        | ItemUpdate::PartDone { .. }
        | ItemUpdate::TaskAdded { .. }
        | ItemUpdate::WidgetTextDelta { .. }
        | ItemUpdate::WidgetComponentUpdated { .. } => None,
    }
}
