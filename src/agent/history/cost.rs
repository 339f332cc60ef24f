//! What does a message cost, before any model is asked? Its words and those of its text files by
//! their bytes, images and PDFs as the history counts them.

use std::io;

use super::attached::{Reading, reads_as_text};
use super::{TOKENS_AN_IMAGE, items, tokens_of_pdf};
use crate::protocol::UserMessage;
use crate::store::files::Files;
use crate::upstream::model::{InputItem, InputPart};

/// Four bytes count as a token. The history counts rather more, and drops what is old; here a
/// person is refused.
pub(super) const BYTES_A_TOKEN: usize = 4;

/// About how many tokens a message has together with its files. A file that may be a text is only
/// looked at if the message would be over `most` with it.
///
/// # Errors
/// When a file that is there can't be read.
pub async fn cost_of(message: &UserMessage, files: &Files, most: u32) -> io::Result<u64> {
    let words = items::user_message(message, Vec::new(), true);
    let mut bytes: u64 = words.iter().map(bytes_of).fold(0, u64::saturating_add);
    let mut tokens: u64 = 0;
    let mut unknown = Vec::new();
    for attachment in &message.attachments {
        let Some(reading) = Reading::of(&attachment.mime_type) else { continue };
        let Some(size) = files.size(&attachment.id).await? else { continue };
        match reading {
            Reading::Image => tokens += TOKENS_AN_IMAGE as u64,
            Reading::Pdf => tokens += tokens_of_pdf(size.div_ceil(3).saturating_mul(4)),
            Reading::Text => bytes = bytes.saturating_add(size),
            Reading::Unknown => unknown.push((&attachment.id, size)),
        }
    }
    let cost = |bytes: u64| tokens.saturating_add(bytes.div_ceil(BYTES_A_TOKEN as u64));
    let all = unknown.iter().map(|(_, size)| *size).fold(bytes, u64::saturating_add);
    if cost(all) <= u64::from(most) {
        return Ok(cost(all));
    }
    for (id, size) in unknown {
        if reads_as_text(files, id).await? == Some(true) {
            bytes = bytes.saturating_add(size);
        }
    }
    Ok(cost(bytes))
}

fn bytes_of(said: &InputItem) -> u64 {
    let InputItem::Message { parts, .. } = said else { return 0 };
    let part = |part: &InputPart| match part {
        InputPart::Text(words) => words.len() as u64,
        InputPart::Image { .. } | InputPart::File { .. } => 0,
    };
    parts.iter().map(part).sum()
}
