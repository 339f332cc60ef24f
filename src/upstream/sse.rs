//! Which events are in a stream of bytes? An incremental parser of server-sent events, as the
//! WHATWG's HTML standard describes them (section 9.2.6): each byte is looked at once, and no event
//! grows over a cap.
//!
//! One thing differs from the standard: an event whose blank line is missing at the end of the
//! stream is delivered, because some servers of models leave the last one out.

use std::borrow::Cow;

use bytes::{Buf, Bytes};

/// One event: its name, and its lines of data joined by line feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; empty when there was none.
    pub name: &'a str,
    /// The `data` fields. Bytes that are no UTF-8 have become U+FFFD.
    pub data: Cow<'a, str>,
}

/// An event that is larger than the cap. The stream can't be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {cap} bytes")]
pub struct TooLarge {
    /// The cap, in bytes.
    pub cap: usize,
}

/// The parser. It is given pieces with [`push`](Self::push), and asked for what is whole with
/// [`next`](Self::next) until that is nothing. It holds one piece and one event at most.
#[derive(Debug)]
pub struct Parser {
    cap: usize,
    /// What was pushed and is yet to be looked at.
    piece: Bytes,
    /// The beginning of a line that goes on in the next piece.
    line: Vec<u8>,
    name: String,
    data: Vec<u8>,
    has_data: bool,
    /// The event in `name` and `data` was handed out.
    is_spent: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    is_first_line: bool,
    has_comment: bool,
}

impl Parser {
    /// A parser at the start of a stream, for events of at most `cap` bytes.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self {
            cap,
            piece: Bytes::new(),
            line: Vec::new(),
            name: String::new(),
            data: Vec::new(),
            has_data: false,
            is_spent: false,
            after_return: false,
            is_first_line: true,
            has_comment: false,
        }
    }

    /// Takes the next piece of the stream. What is left of the one before is kept in front of it,
    /// but there is nothing left once [`next`](Self::next) has returned none.
    pub fn push(&mut self, piece: Bytes) {
        if self.piece.is_empty() {
            self.piece = piece;
        } else {
            self.piece = [&*self.piece, &*piece].concat().into();
        }
    }

    /// The next event that is whole.
    ///
    /// # Errors
    /// When an event, whole or not, is over the cap.
    #[expect(clippy::should_implement_trait, reason = "an event borrows from the parser")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, TooLarge> {
        self.forget_spent();
        while let Some(line) = self.take_line() {
            self.check_size(line.len())?;
            if self.end_line(&line) {
                return Ok(Some(self.event()));
            }
        }
        self.check_size(self.line.len())?;
        Ok(None)
    }

    /// The event that the end of the stream makes whole, if one was under way. It is called once,
    /// after [`next`](Self::next) has returned none for the last piece.
    pub fn finish(&mut self) -> Option<Event<'_>> {
        self.forget_spent();
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.end_line(&line);
        }
        self.has_data.then(|| self.event())
    }

    /// Whether there was a comment since this was last asked.
    pub fn has_seen_comment(&mut self) -> bool {
        std::mem::take(&mut self.has_comment)
    }

    /// The next line that is whole, without its end. What is left of the piece when there is none
    /// begins a line.
    fn take_line(&mut self) -> Option<Bytes> {
        if !self.piece.is_empty()
            && std::mem::take(&mut self.after_return)
            && self.piece[0] == b'\n'
        {
            self.piece.advance(1);
        }
        let end = self.piece.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let Some(end) = end else {
            self.line.extend_from_slice(&self.piece);
            // Not even an empty rest: it would keep the connection's buffer, which then takes
            // another one for the next piece.
            self.piece = Bytes::new();
            return None;
        };
        let mut line = self.piece.split_to(end);
        self.after_return = self.piece[0] == b'\r';
        self.piece.advance(1);
        if !self.line.is_empty() {
            self.line.extend_from_slice(&line);
            line = std::mem::take(&mut self.line).into();
        }
        Some(line)
    }

    /// Reads a line, and says whether it ends an event that has data.
    fn end_line(&mut self, line: &[u8]) -> bool {
        let mut line = line;
        if std::mem::take(&mut self.is_first_line) {
            line = line.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            if !self.has_data {
                self.name.clear();
            }
            return self.has_data;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            // A comment has no name.
            b"" => self.has_comment = true,
            // A field that a client that never reconnects has no use for.
            _ => {}
        }
        false
    }

    fn check_size(&self, line: usize) -> Result<(), TooLarge> {
        let size = line + self.data.len() + self.name.len();
        if size > self.cap { Err(TooLarge { cap: self.cap }) } else { Ok(()) }
    }

    fn event(&mut self) -> Event<'_> {
        self.is_spent = true;
        Event { name: &self.name, data: String::from_utf8_lossy(&self.data) }
    }

    /// Nothing is kept of an event that was handed out: a stream may wait long for the next.
    fn forget_spent(&mut self) {
        if std::mem::take(&mut self.is_spent) {
            self.name = String::new();
            self.data = Vec::new();
            self.has_data = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    const CAP: usize = 1024 * 1024;

    /// Name and data of every event in a stream that arrives in these pieces.
    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let owned = |event: Event<'_>| (event.name.to_owned(), event.data.into_owned());
        let mut parser = Parser::new(CAP);
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(Bytes::copy_from_slice(piece));
            while let Some(event) = parser.next().unwrap() {
                events.push(owned(event));
            }
        }
        events.extend(parser.finish().map(owned));
        events
    }

    fn data_of(stream: &str) -> Vec<String> {
        events(&[stream.as_bytes()]).into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn lines_end_with_any_of_the_three_line_ends() {
        for stream in [
            "data: a\n\ndata: b\n\n",
            "data: a\r\rdata: b\r\r",
            "data: a\r\n\r\ndata: b\r\n\r\n",
            "data: a\r\n\ndata: b\r\r\n",
        ] {
            assert_eq!(data_of(stream), ["a", "b"], "{stream:?}");
        }
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        for (stream, expected) in [
            ("data: a\ndata: b\n\n", &["a\nb"][..]),
            ("data:a\n\ndata:  b\n\n", &["a", " b"]),
            ("data\n\ndata:\ndata:\n\n", &["", "\n"]),
            (": comment\n\n:\ndata: a\n: another\n\n", &["a"]),
            ("id: 1\nretry: 5\nunknown: x\ndata: a\n\n", &["a"]),
            ("\n\n\ndata: a\n\n\n", &["a"]),
            ("\u{FEFF}data: a\n\n", &["a"]),
            ("data: a\n\n\u{FEFF}data: b\n\n", &["a"]),
            ("Data: a\n data: b\n\n", &[]),
            ("data: \u{2028}\u{2029}\n\n", &["\u{2028}\u{2029}"]),
            ("data: {\"a\": \"b: c\"}\n\n", &["{\"a\": \"b: c\"}"]),
        ] {
            assert_eq!(data_of(stream), expected, "{stream:?}");
        }
    }

    #[test]
    fn a_name_counts_for_its_own_event_only() {
        let named = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        let stream = b"event: a\ndata: 1\n\ndata: 2\n\nevent: lost\n\ndata: 3\n\n";
        assert_eq!(events(&[stream]), [named("a", "1"), named("", "2"), named("", "3")]);
    }

    #[test]
    fn the_last_event_needs_no_blank_line() {
        for stream in [
            "data: a\n\ndata: b",
            "data: a\n\ndata: b\n",
            "data: a\n\ndata: b\r",
            "data: a\n\ndata: b\n\n",
        ] {
            assert_eq!(data_of(stream), ["a", "b"], "{stream:?}");
        }
        assert_eq!(data_of("data: a\n\n: bye"), ["a"]);
        assert_eq!(data_of(""), [""; 0]);
    }

    #[test]
    fn bytes_that_are_no_utf_8_do_not_end_the_stream() {
        let found = events(&[b"data: a\xFFb\n\ndata: c\n\n"]);
        assert_eq!(found[0].1, "a\u{FFFD}b");
        assert_eq!(found[1].1, "c");
    }

    #[test]
    fn an_event_over_the_cap_is_refused_before_it_is_whole() {
        for line in [
            "data: 0123456789\n",
            "data: 01234567890123456789",
            ": 01234567890123456789",
            "event: 01234567890123456789\n",
        ] {
            let mut parser = Parser::new(16);
            parser.push(Bytes::copy_from_slice(line.as_bytes()));
            let first = parser.next().map(|event| event.is_some());
            parser.push(Bytes::from_static(b"data: 0123456789"));
            assert!(first.is_err() || parser.next().is_err(), "{line:?}");
        }
        let mut parser = Parser::new(16);
        parser.push(Bytes::from("data: 01234\n\n".repeat(100)));
        for _ in 0..100 {
            assert_eq!(
                parser.next().unwrap().map(|event| event.data.into_owned()).as_deref(),
                Some("01234")
            );
        }
    }

    #[test]
    fn a_long_event_in_small_pieces_takes_linear_time() {
        let took = |bytes: usize| {
            let mut parser = Parser::new(16 * CAP);
            let started = Instant::now();
            parser.push(Bytes::from_static(b"data: "));
            for _ in 0..bytes / 1400 {
                parser.push(Bytes::from_static(&[b'x'; 1400]));
                assert!(parser.next().unwrap().is_none());
            }
            started.elapsed()
        };
        let (short, long) = (took(CAP / 2), took(8 * CAP));
        // Sixteen times the bytes; quadratic would be 256 times.
        assert!(long < short * 100 + Duration::from_millis(50), "{short:?}, {long:?}");
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let end = prop_oneof![Just("\n"), Just("\r"), Just("\r\n")];
        let line = prop_oneof![
            "data: ?.{0,12}",
            "event: [a-z.]{0,6}",
            ":.{0,6}",
            "id: 1",
            Just(String::new()),
            "[é😀\u{FEFF}:]{0,4}"
        ];
        let lines = prop::collection::vec((line, end), 0..24);
        (any::<bool>(), lines).prop_map(|(has_mark, lines)| {
            let start = if has_mark { "\u{FEFF}" } else { "" };
            let lines = lines.into_iter().flat_map(|(line, end)| [line, end.to_owned()]);
            std::iter::once(start.to_owned()).chain(lines).collect::<String>().into_bytes()
        })
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let whole = events(&[&stream]);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(&events(&pieces), &whole);
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(&events(&bytes), &whole);
        }

        #[test]
        fn no_bytes_break_the_parser(stream in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = events(&[&stream]);
        }
    }
}
