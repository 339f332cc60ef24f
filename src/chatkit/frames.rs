//! What does an event look like in a stream? `data: `, one line of JSON, a blank line.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use crate::protocol::{Event, Id};

/// What closes the frame of a piece of text.
const TAIL: &[u8] = b"}}\n\n";

/// The frame of an event: `data: `, one line of JSON, a blank line.
pub(super) fn frame(event: &Event) -> Bytes {
    let mut frame = Vec::with_capacity(256);
    frame.put_slice(b"data: ");
    write_json(&mut frame, event);
    frame.put_slice(b"\n\n");
    // It is kept as long as the turn runs: without the room that is left.
    frame.into_boxed_slice().into()
}

/// The frame of a piece of text, up to the piece.
pub(super) fn text_head(item_id: &Id, content_index: usize) -> Bytes {
    let mut head = BytesMut::with_capacity(192);
    head.put_slice(b"data: {\"type\":\"thread.item.updated\",\"item_id\":");
    write_json(&mut head, &**item_id);
    head.put_slice(
        b",\"update\":{\"type\":\"assistant_message.content_part.text_delta\",\"content_index\":",
    );
    write_json(&mut head, &content_index);
    head.put_slice(b",\"delta\":");
    head.freeze()
}

/// Writes the frame of a piece of text.
pub(super) fn write_piece(batch: &mut BytesMut, head: &[u8], piece: &str) {
    batch.put_slice(head);
    write_json(batch, piece);
    batch.put_slice(TAIL);
}

#[expect(
    clippy::expect_used,
    reason = "strings, numbers and maps with string keys always serialise"
)]
fn write_json<T: Serialize + ?Sized>(to: &mut impl BufMut, value: &T) {
    serde_json::to_writer(to.writer(), value)
        .expect("it is made of strings, numbers and maps with string keys");
}
