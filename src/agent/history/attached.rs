//! How does the model read a file? Images and PDFs whole, texts as text, files of no type as text
//! if they are, and of everything else that it is there.

use std::io;

use data_encoding::BASE64;

use crate::agent::{AgentError, Turn};
use crate::protocol::{Attachment, GeneratedImage, Item, ItemKind};
use crate::store::StoredAttachment;
use crate::store::files::Files;
use crate::store::room::{Held, Taker};
use crate::upstream::model::{ImageDetail, InputPart};

/// What images and files may take in one request, in base64: OpenAI takes 50 MB with all the words.
const MOST_BYTES: usize = 45_000_000;

/// So much of a file of no known type is looked at to see whether it is a text, in bytes: more than
/// most texts have.
const LONGEST_LOOK: u64 = 4 * 1024 * 1024;

const NO_ROOM: &str =
    "It is not shown, because the files of this conversation are too large together.";
const GONE: &str = "It is no longer available.";
const UNREADABLE: &str = "Its content can't be shown.";

/// What is shown of a file, or why nothing is.
type Shown<T> = Result<T, &'static str>;

/// What an item carries beside its words.
pub(super) enum Carried {
    Nothing,
    /// What a person sent along.
    Attachments(Vec<Attachment>),
    /// What a model made.
    Image(GeneratedImage),
}

impl Carried {
    pub(super) fn by(item: &Item) -> Self {
        match &item.kind {
            ItemKind::UserMessage(message) => Self::Attachments(message.attachments.clone()),
            ItemKind::GeneratedImage { image: Some(image) } => Self::Image(image.clone()),
            _ => Self::Nothing,
        }
    }
}

/// The files of a thread, from its newest: they are shown as long as they fit into one request.
/// Files that are older than the first that doesn't are not shown either.
pub(super) struct Attached<'a> {
    turn: &'a Turn,
    room: usize,
    /// What the text files of one message may take together, in bytes.
    text_room: usize,
    /// Takes the room in memory.
    taker: Taker,
}

impl<'a> Attached<'a> {
    /// The text files of one message are cut where they are more than `text_room` bytes together.
    pub(super) fn new(turn: &'a Turn, text_room: usize) -> Self {
        let taker = turn.files.room().taker(&turn.owner.user);
        Self { turn, room: MOST_BYTES, text_room, taker }
    }

    /// The parts that the files of an item become. It waits for room in memory.
    ///
    /// # Errors
    /// When the store fails, a file that is there can't be read, or there is no room for too long.
    pub(super) async fn files(&mut self, carried: &Carried) -> Result<Vec<InputPart>, AgentError> {
        match carried {
            Carried::Attachments(attachments) => self.attachments(attachments).await,
            Carried::Image(image) => self.image(image).await.map(Vec::from_iter),
            Carried::Nothing => Ok(Vec::new()),
        }
    }

    /// The room in memory that the files take, to be held as long as they are.
    pub(super) fn held(self) -> Held {
        self.taker.done()
    }

    async fn attachments(
        &mut self,
        attachments: &[Attachment],
    ) -> Result<Vec<InputPart>, AgentError> {
        let mut parts = Vec::with_capacity(attachments.len());
        let mut text_room = self.text_room;
        for attachment in attachments {
            let shown = match Reading::of(&attachment.mime_type) {
                Some(_) if self.room == 0 => Err(NO_ROOM),
                Some(Reading::Text) => self.text(attachment, &mut text_room).await?,
                Some(Reading::Unknown) => {
                    self.text_if_it_is_one(attachment, &mut text_room).await?
                }
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

    /// The beginning of a file as text, as far as there is `room`, or why it is not shown.
    async fn text(
        &self,
        attachment: &Attachment,
        room: &mut usize,
    ) -> Result<Shown<InputPart>, AgentError> {
        if *room == 0 {
            return Ok(Err(NO_ROOM));
        }
        let one_more = u64::try_from(*room).unwrap_or(u64::MAX).saturating_add(1);
        let bytes = self.turn.files.read_beginning(&attachment.id, one_more).await;
        let Some(bytes) = bytes.map_err(AgentError::failed)? else { return Ok(Err(GONE)) };
        let shown = &bytes[..bytes.len().min(*room)];
        *room -= shown.len();
        let cut = if shown.len() < bytes.len() { "\n[The rest is left out.]" } else { "" };
        let text = String::from_utf8_lossy(shown);
        Ok(Ok(InputPart::Text(format!(
            "{}\n<File>\n{text}{cut}\n</File>",
            introduction(attachment)
        ))))
    }

    async fn text_if_it_is_one(
        &self,
        attachment: &Attachment,
        room: &mut usize,
    ) -> Result<Shown<InputPart>, AgentError> {
        match reads_as_text(&self.turn.files, &attachment.id).await.map_err(AgentError::failed)? {
            Some(true) => self.text(attachment, room).await,
            Some(false) => Ok(Err(UNREADABLE)),
            None => Ok(Err(GONE)),
        }
    }

    /// Whether there is room for so many bytes more in the request. When there is not, there is
    /// none from here on.
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
pub(super) enum Reading {
    Image,
    Pdf,
    Text,
    /// As a text, if it is one. A file whose type says nothing, or is one that browsers would run,
    /// is kept as this.
    Unknown,
}

impl Reading {
    pub(super) fn of(mime_type: &str) -> Option<Self> {
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
            text if text.starts_with("text/")
                || text.ends_with("+json")
                || text.ends_with("+xml") =>
            {
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

/// Whether a file is a text, as far as its beginning says. `None` when it is gone.
pub(super) async fn reads_as_text(files: &Files, attachment_id: &str) -> io::Result<Option<bool>> {
    let beginning = files.read_beginning(attachment_id, LONGEST_LOOK).await?;
    Ok(beginning.map(|beginning| is_text(&beginning)))
}

/// UTF-8 without NUL, which no text has and most other files do. A longer file may be cut within a
/// character.
fn is_text(beginning: &[u8]) -> bool {
    let is_cut = beginning.len() as u64 == LONGEST_LOOK;
    let is_utf_8 = std::str::from_utf8(beginning)
        .map_or_else(|error| is_cut && error.error_len().is_none(), |_| true);
    is_utf_8 && !beginning.contains(&0)
}

fn introduction(attachment: &Attachment) -> String {
    format!("The user attached the file {} ({}).", attachment.name, essence(&attachment.mime_type))
}
