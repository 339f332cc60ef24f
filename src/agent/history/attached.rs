//! How does the model read a file? Images and PDFs whole, texts as text, files of no type as text if they are, and of
//! everything else that it is there.

use data_encoding::BASE64;

use crate::agent::{AgentError, Turn};
use crate::protocol::{Attachment, GeneratedImage, Item, ItemKind};
use crate::store::StoredAttachment;
use crate::store::room::{Held, Taker};
use crate::upstream::model::{ImageDetail, InputPart};

/// What images and files may take in one request, in base64: OpenAI takes 50 MB with all the words.
const MOST_BYTES: usize = 45_000_000;

/// So much of a file of no known type is looked at to see whether it is a text, in bytes: more than most texts have.
const LONGEST_LOOK: u64 = 4 * 1024 * 1024;

const NO_ROOM: &str = "It is not shown, because the files of this conversation are too large together.";
const GONE: &str = "It is no longer available.";
const UNREADABLE: &str = "Its content can't be shown.";

/// What is shown of a file, or why nothing is.
type Shown<T> = Result<T, &'static str>;

/// The files of a thread, from its newest: they are shown as long as they fit into one request. Files that are older than the first
/// that doesn't are not shown either.
pub(super) struct Attached<'a> {
    turn: &'a Turn,
    room: usize,
    longest_text: usize,
    /// Takes the room in memory.
    taker: Taker,
}

impl<'a> Attached<'a> {
    /// A text of a file is cut behind `longest_text` bytes.
    pub(super) fn new(turn: &'a Turn, longest_text: usize) -> Self {
        let taker = turn.files.room().taker(&turn.owner.user);
        Self { turn, room: MOST_BYTES, longest_text, taker }
    }

    /// The parts that a message's attachments become, or a generated image. It waits for room in memory.
    ///
    /// # Errors
    /// When the store fails, a file that is there can't be read, or there is no room for too long.
    pub(super) async fn files(&mut self, item: &Item) -> Result<Vec<InputPart>, AgentError> {
        match &item.kind {
            ItemKind::UserMessage(message) => self.attachments(&message.attachments).await,
            ItemKind::GeneratedImage { image: Some(image) } => self.image(image).await.map(Vec::from_iter),
            _ => Ok(Vec::new()),
        }
    }

    /// The room in memory that the files take, to be held as long as they are.
    pub(super) fn held(self) -> Held {
        self.taker.done()
    }

    async fn attachments(&mut self, attachments: &[Attachment]) -> Result<Vec<InputPart>, AgentError> {
        let mut parts = Vec::with_capacity(attachments.len());
        for attachment in attachments {
            let shown = match Reading::of(&attachment.mime_type) {
                Some(_) if self.room == 0 => Err(NO_ROOM),
                Some(Reading::Text) => self.text(attachment).await?,
                Some(Reading::Unknown) => self.text_if_it_is_one(attachment).await?,
                Some(Reading::Image) => self.data_url(attachment).await?.map(image_at),
                Some(Reading::Pdf) => self.data_url(attachment).await?.map(|data_url| {
                    let filename = attachment.name.clone();
                    InputPart::File { filename, data_url }
                }),
                None => Err(UNREADABLE),
            };
            let without = |why| InputPart::Text(format!("{} {why}", introduction(attachment)));
            parts.push(shown.unwrap_or_else(without));
        }
        Ok(parts)
    }

    /// `None` when its bytes are gone, or there is no room for it.
    async fn image(&mut self, image: &GeneratedImage) -> Result<Option<InputPart>, AgentError> {
        let Some(attachment_id) = image.attachment_id() else {
            return Ok(self.fits(image.url.len()).then(|| image_at(image.url.clone())));
        };
        if self.room == 0 {
            return Ok(None);
        }
        let Turn { store, owner, .. } = self.turn;
        let stored = store.attachment(owner, attachment_id).await.map_err(AgentError::failed)?;
        let Some(StoredAttachment { attachment, .. }) = stored else { return Ok(None) };
        Ok(self.data_url(&attachment).await?.ok().map(image_at))
    }

    /// A file with all its bytes, or why it is not shown. It is read once it is known to fit.
    async fn data_url(&mut self, attachment: &Attachment) -> Result<Shown<String>, AgentError> {
        let size = self.turn.files.size(&attachment.id).await.map_err(AgentError::failed)?;
        let Some(size) = size else { return Ok(Err(GONE)) };
        let mut data_url = format!("data:{};base64,", essence(&attachment.mime_type));
        let encoded = usize::try_from(size.div_ceil(3).saturating_mul(4)).unwrap_or(usize::MAX);
        let size = encoded.saturating_add(data_url.len());
        if !self.fits(size) {
            return Ok(Err(NO_ROOM));
        }
        self.taker.take(size).await.map_err(AgentError::failed)?;
        let Some(bytes) = self.turn.file(&attachment.id).await? else { return Ok(Err(GONE)) };
        data_url.reserve_exact(encoded);
        BASE64.encode_append(&bytes, &mut data_url);
        Ok(Ok(data_url))
    }

    /// The beginning of a file as text, or why it is not shown.
    async fn text(&self, attachment: &Attachment) -> Result<Shown<InputPart>, AgentError> {
        let one_more = u64::try_from(self.longest_text).unwrap_or(u64::MAX).saturating_add(1);
        let bytes = self.turn.files.read_beginning(&attachment.id, one_more).await;
        let Some(bytes) = bytes.map_err(AgentError::failed)? else { return Ok(Err(GONE)) };
        let shown = &bytes[..bytes.len().min(self.longest_text)];
        let cut = if shown.len() < bytes.len() { "\n[The rest is left out.]" } else { "" };
        let text = String::from_utf8_lossy(shown);
        Ok(Ok(InputPart::Text(format!("{}\n<File>\n{text}{cut}\n</File>", introduction(attachment)))))
    }

    async fn text_if_it_is_one(&self, attachment: &Attachment) -> Result<Shown<InputPart>, AgentError> {
        let bytes = self.turn.files.read_beginning(&attachment.id, LONGEST_LOOK).await;
        match bytes.map_err(AgentError::failed)? {
            Some(bytes) if !is_text(&bytes) => Ok(Err(UNREADABLE)),
            Some(_) => self.text(attachment).await,
            None => Ok(Err(GONE)),
        }
    }

    /// Whether there is room for so many bytes more in the request. When there is not, there is none from here on.
    fn fits(&mut self, size: usize) -> bool {
        let left = self.room.checked_sub(size);
        self.room = left.unwrap_or(0);
        left.is_some()
    }
}

/// What stands where a file of an earlier message stood that the model does not take.
pub(super) fn stand_in() -> InputPart {
    InputPart::Text(format!("A file stood here. {UNREADABLE}"))
}

fn image_at(url: String) -> InputPart {
    InputPart::Image { url, detail: ImageDetail::Auto }
}

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

/// UTF-8 without NUL, which no text has and most other files do. A longer file may be cut within a character.
fn is_text(beginning: &[u8]) -> bool {
    let is_cut = beginning.len() as u64 == LONGEST_LOOK;
    let is_utf_8 =
        std::str::from_utf8(beginning).map_or_else(|error| is_cut && error.error_len().is_none(), |_| true);
    is_utf_8 && !beginning.contains(&0)
}

fn introduction(attachment: &Attachment) -> String {
    format!("The user attached the file {} ({}).", attachment.name, essence(&attachment.mime_type))
}
