//! How much may a person, or a tool of the page, say at once? So much text, and what the agent can
//! afford.

use std::io;

use serde::Serialize;
use serde_json::Value;

use crate::agent::cost_of;
use crate::chatkit::{Asker, Chat};
use crate::error::{Error, Kind};
use crate::protocol::{StructuredAnswers, UserContent, UserMessage, UserMessageInput};

/// The most parts of a message, each value in the data of a mention counted.
const MOST_PARTS: usize = 4096;

/// Refuses what has more text than one message may have.
pub(super) fn require_short(chat: &Chat, field: &str, bytes: usize) -> Result<(), Error> {
    let most = chat.max_message_bytes;
    if bytes <= most {
        return Ok(());
    }
    let message =
        format!("`{field}` has {bytes} bytes of text, and {most} are the most. Send less at once.");
    Err(Error::new(Kind::BodyTooLarge, message))
}

/// Refuses a message of very many parts. Each takes many times its bytes in memory, and a message
/// stays there as long as its answer is remembered.
pub(super) fn require_few_parts(input: &UserMessageInput) -> Result<(), Error> {
    let part = |part: &UserContent| match part {
        UserContent::InputText { .. } => 1,
        UserContent::InputTag(tag) => 1 + tag.data.values().map(values_of).sum::<usize>(),
    };
    if input.content.iter().map(part).sum::<usize>() <= MOST_PARTS {
        return Ok(());
    }
    let message = format!(
        "`params.input.content` has more than {MOST_PARTS} parts, with the values in the `data` of \
         mentions. Send less at once."
    );
    Err(Error::new(Kind::BodyTooLarge, message))
}

/// How many values there are in one, itself included.
fn values_of(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(values_of).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(values_of).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

/// Refuses a message that with its files costs more than its agent may read.
pub(super) async fn require_affordable(
    chat: &Chat,
    asker: &Asker,
    message: &UserMessage,
) -> Result<(), Error> {
    let Some(most) = chat.agent(asker)?.max_input_tokens() else { return Ok(()) };
    let cost = cost_of(message, &chat.uploads.files, most).await.map_err(Error::internal)?;
    if cost <= u64::from(most) {
        return Ok(());
    }
    let message = format!(
        "This message has about {cost} tokens with its files, and {most} are the most. Shorten it, \
         or send fewer or smaller files."
    );
    Err(Error::new(Kind::BodyTooLarge, message))
}

/// The text of a message: its words and its mentions with all that stands in them, and its quote.
pub(super) fn bytes_of_message(input: &UserMessageInput) -> usize {
    let part = |part: &UserContent| match part {
        UserContent::InputText { text } => text.len(),
        UserContent::InputTag(tag) => {
            let group = tag.group.as_ref().map_or(0, String::len);
            tag.id.len() + tag.text.len() + group + bytes_of(&tag.data)
        }
    };
    let quote = input.quoted_text.as_ref().map_or(0, String::len);
    quote + input.content.iter().map(part).sum::<usize>()
}

/// The answers to questions, with the names of the questions.
pub(super) fn bytes_of_answers(input: &StructuredAnswers) -> usize {
    let answers = input.answers.iter();
    answers
        .map(|(id, answer)| id.len() + answer.values.iter().map(String::len).sum::<usize>())
        .sum()
}

/// Bytes as compact JSON.
pub(super) fn bytes_of(json: &impl Serialize) -> usize {
    let mut counter = Counter(0);
    // Counting never fails.
    let _ = serde_json::to_writer(&mut counter, json);
    counter.0
}

/// Counts what is written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
