//! Who hears a turn? A [`Feed`] is everything that a turn has said, in order; each [`Listener`] reads it from the beginning at its
//! own pace, so that a client that comes late or comes again misses nothing, and one that is slow holds up nobody.
//!
//! What is said stays in memory until the feed is dropped. A text that grows is kept once, with the ends of its pieces, and a
//! state that takes the place of an earlier one (a task, a widget) lets that go once everybody has read it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use tokio::sync::Notify;

use crate::protocol::{Event, Id, ItemUpdate};

/// The most that is handed to a connection at once, but for a single larger event.
const BATCH: usize = 64 * 1024;
/// A listener that has had something to read for so long, and did not, is one that can't: it did not leave because it wanted to.
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
    /// A frame that tells a whole state; a later one of the same place makes it needless.
    State(StateKey, Bytes),
    /// A text that grows: `ends` are where its pieces end. The frame of a piece is `head`, the piece as JSON, and `TAIL`.
    Text { item_id: Id, content_index: usize, head: Bytes, text: String, ends: Vec<usize> },
    /// A state that everybody has read and that was followed by a later one.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct StateKey(Id, usize);

const TAIL: &[u8] = b"}}\n\n";

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
            Event::ItemUpdated { item_id, update: ItemUpdate::TextDelta { content_index, delta } } => {
                log.push_text(item_id, *content_index, delta);
            }
            event => log.push_event(event),
        }
        drop(log);
        self.said.notify_waiters();
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
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
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
        if let Some(Entry::Text { item_id: id, content_index: index, text, ends, .. }) =
            self.entries.last_mut()
            && (&*id, *index) == (item_id, content_index)
        {
            text.push_str(delta);
            ends.push(text.len());
            return;
        }
        let (item_id, text, ends) = (item_id.clone(), delta.to_owned(), vec![delta.len()]);
        let head = text_head(&item_id, content_index);
        self.entries.push(Entry::Text { item_id, content_index, head, text, ends });
    }

    fn push_event(&mut self, event: &Event) {
        let frame = frame(event);
        let Some(key) = state_key(event) else {
            self.entries.push(Entry::Frame(frame));
            return;
        };
        let last = self.entries.len().saturating_sub(1);
        let all_read = self.readers.iter().all(|reader| reader.at.entry > last);
        if all_read
            && let Some(entry @ Entry::State(..)) = self.entries.last_mut()
            && matches!(entry, Entry::State(earlier, _) if *earlier == key)
        {
            *entry = Entry::Gone;
        }
        self.entries.push(Entry::State(key, frame));
    }

    /// What a reader has not read yet, up to a batch.
    fn read(&mut self, id: u64) -> Read {
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.id == id) else { return Read::End };
        reader.behind_since = Instant::now();
        let mut batch = BytesMut::new();
        while batch.len() < BATCH {
            match self.entries.get(reader.at.entry) {
                Some(Entry::Frame(frame) | Entry::State(_, frame)) => {
                    batch.put_slice(frame);
                    reader.at = Position { entry: reader.at.entry + 1, piece: 0 };
                }
                Some(Entry::Gone) => reader.at = Position { entry: reader.at.entry + 1, piece: 0 },
                Some(Entry::Text { head, text, ends, .. }) => {
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
        Some(Entry::Text { ends, .. }) => at.piece < ends.len() || at.entry + 1 < entries.len(),
        Some(Entry::Frame(_) | Entry::State(..) | Entry::Gone) => true,
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
    /// The frames that were not heard yet; waits while there are none. `None` at the end, which counts as heard then.
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

/// The frame of an event: `data: `, one line of JSON, a blank line.
fn frame(event: &Event) -> Bytes {
    let mut frame = Vec::with_capacity(256);
    frame.put_slice(b"data: ");
    write_json(&mut frame, event);
    frame.put_slice(b"\n\n");
    // It is kept as long as the turn runs: without the room that is left.
    frame.into_boxed_slice().into()
}

fn text_head(item_id: &Id, content_index: usize) -> Bytes {
    let mut head = BytesMut::with_capacity(192);
    head.put_slice(b"data: {\"type\":\"thread.item.updated\",\"item_id\":");
    write_json(&mut head, &**item_id);
    head.put_slice(b",\"update\":{\"type\":\"assistant_message.content_part.text_delta\",\"content_index\":");
    write_json(&mut head, &content_index);
    head.put_slice(b",\"delta\":");
    head.freeze()
}

fn write_piece(batch: &mut BytesMut, head: &[u8], piece: &str) {
    batch.put_slice(head);
    write_json(batch, piece);
    batch.put_slice(TAIL);
}

#[expect(clippy::expect_used, reason = "strings, numbers and maps with string keys always serialise")]
fn write_json<T: Serialize + ?Sized>(to: &mut impl BufMut, value: &T) {
    serde_json::to_writer(to.writer(), value)
        .expect("it is made of strings, numbers and maps with string keys");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{StatusIndicator, Task, TaskKind};

    fn delta(text: &str) -> Event {
        let update = ItemUpdate::TextDelta { content_index: 0, delta: text.to_owned() };
        Event::ItemUpdated { item_id: "msg_1".into(), update }
    }

    fn task(content: &str) -> Event {
        let kind = TaskKind::Thought { title: None, content: content.to_owned() };
        let task = Task { status_indicator: StatusIndicator::None, kind };
        Event::ItemUpdated { item_id: "wf_1".into(), update: ItemUpdate::TaskUpdated { task_index: 0, task } }
    }

    async fn all(mut listener: Listener) -> String {
        let mut heard = String::new();
        while let Some(frames) = listener.next().await {
            heard.push_str(std::str::from_utf8(&frames).unwrap());
        }
        heard
    }

    #[tokio::test]
    async fn a_listener_hears_every_piece_as_it_was_said_whenever_it_comes() {
        let feed = Arc::new(Feed::default());
        let early = feed.listen();
        let events = [delta("Hel\"lo"), delta("é\u{2028}"), task("a"), delta("x"), delta("")];
        for event in &events {
            feed.say(event);
        }
        feed.end();
        let said: String = events
            .iter()
            .map(|event| format!("data: {}\n\n", serde_json::to_string(event).unwrap()))
            .collect();
        assert_eq!(all(early).await, said);
        assert_eq!(all(feed.listen()).await, said, "one that comes at the end hears the same");
        assert!(feed.has_got_through(), "somebody heard the end");
    }

    #[tokio::test]
    async fn a_state_is_let_go_once_everybody_has_read_it_and_a_later_one_came() {
        let feed = Arc::new(Feed::default());
        let (mut quick, slow) = (feed.listen(), feed.listen());
        feed.say(&task("one"));
        let _ = quick.next().await;
        feed.say(&task("two"));
        assert!(matches!(feed.lock().entries[0], Entry::State(..)), "one listener has not read it yet");
        let _ = quick.next().await;
        drop(slow);
        feed.say(&task("three"));
        assert!(matches!(feed.lock().entries[1], Entry::Gone), "the only listener has read it");
        feed.end();
        let heard = all(feed.listen()).await;
        assert!(heard.contains("one") && !heard.contains("two") && heard.contains("three"), "{heard}");
    }

    #[tokio::test]
    async fn a_feed_is_abandoned_when_the_last_listener_goes() {
        let feed = Arc::new(Feed::default());
        let (one, two) = (feed.listen(), feed.listen());
        drop(one);
        let abandoned = tokio::time::timeout(Duration::from_millis(20), feed.abandoned()).await;
        assert!(abandoned.is_err(), "one still listens");
        feed.say(&delta("unread"));
        drop(two);
        assert_eq!(feed.abandoned().await, Departure::Left, "it had no time to read");
        assert!(!feed.has_got_through());
    }

    #[tokio::test]
    async fn a_listener_that_did_not_read_for_long_has_not_left_by_its_will() {
        let feed = Arc::new(Feed::default());
        let listener = feed.listen();
        feed.say(&delta("unread"));
        feed.lock().readers[0].behind_since -= STALLED;
        drop(listener);
        assert_eq!(feed.abandoned().await, Departure::Stalled);
    }
}
