//! How does the model read a file? Images and PDFs whole, texts as text, files of no type as text if they are, and of
//! everything else that it is there.

use bytes::Bytes;
use data_encoding::BASE64;

use crate::agent::{AgentError, Turn};
use crate::protocol::{Attachment, GeneratedImage, Item, ItemKind};
use crate::store::StoredAttachment;
use crate::upstream::model::{ImageDetail, InputItem, InputPart};

/// What images and files may take in one request, in base64: OpenAI takes 50 MB.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The files of a thread, from its newest: they are shown as long as they fit into one request.
pub(super) struct Attached {
    room: usize,
    longest_text: usize,
}

impl Attached {
    /// A text of a file is cut behind `longest_text` bytes.
    pub(super) fn new(longest_text: usize) -> Self {
        Self { room: MOST_BYTES, longest_text }
    }

    /// The parts that a message's attachments become, or a generated image.
    ///
    /// # Errors
    /// When the store fails, or a file that is there can't be read.
    pub(super) async fn files(&self, turn: &Turn, item: &Item) -> Result<Vec<InputPart>, AgentError> {
        match &item.kind {
            ItemKind::UserMessage(message) => self.attachments(turn, &message.attachments).await,
            ItemKind::GeneratedImage { image: Some(image) } => {
                self.image(turn, image).await.map(Vec::from_iter)
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn attachments(
        &self,
        turn: &Turn,
        attachments: &[Attachment],
    ) -> Result<Vec<InputPart>, AgentError> {
        let mut parts = Vec::with_capacity(attachments.len());
        for attachment in attachments {
            parts.push(match Reading::of(&attachment.mime_type) {
                Some(_) if self.room == 0 => without(attachment, NO_ROOM),
                Some(reading) => match turn.file(&attachment.id).await? {
                    Some(bytes) => self.read(attachment, reading, &bytes),
                    None => without(attachment, "It is no longer available."),
                },
                None => without(attachment, NOT_SHOWN),
            });
        }
        Ok(parts)
    }

    /// `None` when its bytes are gone, or there is no room for it.
    async fn image(&self, turn: &Turn, image: &GeneratedImage) -> Result<Option<InputPart>, AgentError> {
        let Some(attachment_id) = image.attachment_id() else {
            return Ok(Some(InputPart::Image { url: image.url.clone(), detail: ImageDetail::Auto }));
        };
        if self.room == 0 {
            return Ok(None);
        }
        let stored = turn.store.attachment(&turn.owner, attachment_id).await.map_err(AgentError::failed)?;
        let Some(StoredAttachment { attachment, .. }) = stored else { return Ok(None) };
        let bytes = turn.file(attachment_id).await?;
        Ok(bytes.map(|bytes| self.read(&attachment, Reading::Image, &bytes)))
    }

    /// Takes out what there is no room for. Files that are older than the first of these are not shown either.
    pub(super) fn fit(&mut self, said: &mut [InputItem]) {
        for item in said {
            let InputItem::Message { parts, .. } = item else { continue };
            for part in parts {
                let size = match part {
                    InputPart::Image { url, .. } => url.len(),
                    InputPart::File { data_url, .. } => data_url.len(),
                    InputPart::Text(_) => continue,
                };
                match self.room.checked_sub(size) {
                    Some(room) => self.room = room,
                    None => {
                        self.room = 0;
                        *part = InputPart::Text(format!("A file stood here. {NO_ROOM}"));
                    }
                }
            }
        }
    }

    fn read(&self, attachment: &Attachment, reading: Reading, bytes: &Bytes) -> InputPart {
        let media_type = essence(&attachment.mime_type);
        let data_url = || format!("data:{media_type};base64,{}", BASE64.encode(bytes));
        match reading {
            Reading::Image => InputPart::Image { url: data_url(), detail: ImageDetail::Auto },
            Reading::Pdf => InputPart::File { filename: attachment.name.clone(), data_url: data_url() },
            Reading::Unknown if !is_text(bytes) => without(attachment, NOT_SHOWN),
            Reading::Text | Reading::Unknown => {
                let shown = &bytes[..bytes.len().min(self.longest_text)];
                let cut = if shown.len() < bytes.len() { "\n[The rest is left out.]" } else { "" };
                let text = String::from_utf8_lossy(shown);
                InputPart::Text(format!("{}\n<File>\n{text}{cut}\n</File>", introduction(attachment)))
            }
        }
    }
}

const NOT_SHOWN: &str = "Its content can't be shown.";
const NO_ROOM: &str = "It is not shown, because the files of this conversation are too large together.";

/// As what a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Image,
    Pdf,
    Text,
    /// As a text, if it is one. A file whose type says nothing, or is one that browsers would run, is kept as this.
    Unknown,
}

impl Reading {
    fn of(mime_type: &str) -> Option<Self> {
        let media_type = essence(mime_type);
        Some(match &*media_type {
            // What OpenAI's models take.
            "image/png" | "image/jpeg" | "image/gif" | "image/webp" => Self::Image,
            "application/pdf" => Self::Pdf,
            "application/json"
            | "application/xml"
            | "application/javascript"
            | "application/x-javascript"
            | "application/typescript"
            | "application/yaml"
            | "application/x-yaml"
            | "application/toml"
            | "application/sql"
            | "application/csv"
            | "application/x-ndjson"
            | "application/x-sh" => Self::Text,
            "application/octet-stream" => Self::Unknown,
            text if text.starts_with("text/") || text.ends_with("+json") || text.ends_with("+xml") => {
                Self::Text
            }
            _ => return None,
        })
    }
}

/// A media type without its parameters.
fn essence(mime_type: &str) -> String {
    mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// UTF-8 without NUL, which no text has and most other files do.
fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

fn introduction(attachment: &Attachment) -> String {
    format!("The user attached the file {} ({}).", attachment.name, essence(&attachment.mime_type))
}

fn without(attachment: &Attachment, why: &str) -> InputPart {
    InputPart::Text(format!("{} {why}", introduction(attachment)))
}
