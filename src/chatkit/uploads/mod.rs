//! What becomes of the files that people send? They are described in the [`Store`], their bytes are in a folder, and links
//! that are made for each answer lead there.

pub mod http;
mod kind;
mod name;
mod receive;
mod serve;
pub mod sweep;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::self_hosted::UploadsConfig;
use crate::error::{Error, Kind};
use crate::ids::new_id;
use crate::protocol::{
    Attachment, AttachmentKind, CreateAttachment, GeneratedImage, Id, Item, ItemKind, Timestamp,
    UploadDescriptor,
};
use crate::store::files::Files;
use crate::store::{Owner, Store, StoredAttachment};

use super::links::{Base, Links};

/// How many files a message carries unless the configuration says otherwise; OpenAI's own number.
const MAX_FILES: u32 = 10;
/// How many files a user may have uploaded or announced, and not sent, and how many bytes these may have together. One message
/// of the most and largest files fits in any case.
const MOST_UNSENT: u64 = 100;
const MOST_UNSENT_BYTES: u64 = 1024 * MEBIBYTE;
const MEBIBYTE: u64 = 1024 * 1024;

/// Everything that requests about files need.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "the store knows what people say")]
pub struct Uploads {
    /// Where files are described.
    pub store: Arc<dyn Store>,
    /// Where their bytes are.
    pub files: Arc<Files>,
    /// Who makes links.
    pub links: Arc<Links>,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// What may be uploaded.
    pub config: UploadsConfig,
}

/// `attachments.create`: announces a file, and says where its bytes are to be sent.
///
/// # Errors
/// 400 for a media type that is none, 413 for a file that is too large, 409 when too much waits to be sent, 404 where there are
/// no uploads.
pub async fn create_attachment(
    uploads: &Uploads,
    owner: &Owner,
    params: &CreateAttachment,
    base: &Base,
) -> Result<Attachment, Error> {
    uploads.require_enabled()?;
    if params.size > uploads.config.max_bytes {
        return Err(too_large(uploads.config.max_bytes));
    }
    let mime_type = kind::declared(&params.mime_type)?;
    uploads.require_room(owner, params.size).await?;
    let stored = uploads.describe(name::clean(&params.name), mime_type, params.size);
    uploads.store.save_attachment(owner, &stored).await?;
    let mut attachment = stored.attachment;
    let url = uploads.links.upload(base, &attachment.id);
    let method = "POST".to_owned();
    attachment.upload_descriptor = Some(UploadDescriptor { url, method, headers: BTreeMap::new() });
    uploads.present(&mut attachment, base);
    Ok(attachment)
}

/// `attachments.delete`: removes a file that was not sent. What a message carries goes with its thread.
///
/// # Errors
/// 404 when there is no such file, 409 when a message carries it.
pub async fn delete_attachment(uploads: &Uploads, owner: &Owner, attachment_id: &str) -> Result<(), Error> {
    uploads.require_enabled()?;
    let stored = uploads.owned(owner, attachment_id).await?;
    refuse_sent(std::slice::from_ref(&stored.attachment))?;
    // The description goes first: a message may take the file up until it has gone.
    if !uploads.store.delete_attachment(owner, attachment_id).await? {
        refuse_sent(&[uploads.owned(owner, attachment_id).await?.attachment])?;
    }
    uploads.remove_files(&[stored.attachment.id]).await;
    Ok(())
}

/// The files that a message names, as they are stored: every one is the owner's and has its bytes. A file that was sent
/// already has its `thread_id`: see [`refuse_sent`].
///
/// # Errors
/// 400 when there are too many, one is named twice, or one has no bytes yet; 404 when there is no such file.
pub async fn check_attachments(
    uploads: &Uploads,
    owner: &Owner,
    ids: &[Id],
) -> Result<Vec<Attachment>, Error> {
    let most = uploads.files_of_a_message();
    if ids.len() > usize::try_from(most).unwrap_or(usize::MAX) {
        let message = format!("`params.input.attachments`: a message carries at most {most} files.");
        return Err(Error::invalid(message));
    }
    let mut seen = HashSet::new();
    let mut attachments = Vec::with_capacity(ids.len());
    for id in ids {
        if !seen.insert(id) {
            return Err(Error::invalid(format!("The attachment `{}` is named twice.", shown(id))));
        }
        let stored = uploads.owned(owner, id).await?;
        if !stored.is_uploaded {
            let message =
                format!("The attachment `{}` is not uploaded yet. Send its bytes first.", shown(id));
            return Err(Error::invalid(message));
        }
        attachments.push(stored.attachment);
    }
    Ok(attachments)
}

/// Refuses files that a message carries already. A request that comes a second time names files that its first time
/// has sent, so whether it is one must be known before.
///
/// # Errors
/// 409 that names the first such file.
pub fn refuse_sent(attachments: &[Attachment]) -> Result<(), Error> {
    match attachments.iter().find(|attachment| attachment.thread_id.is_some()) {
        Some(sent) => {
            let message = format!("A message carries the attachment `{}` already.", shown(&sent.id));
            Err(Error::new(Kind::Conflict, message))
        }
        None => Ok(()),
    }
}

impl Uploads {
    /// Fills in a fresh link to the preview of an attachment on its way to a client.
    pub fn present(&self, attachment: &mut Attachment, base: &Base) {
        if let AttachmentKind::Image { preview_url } = &mut attachment.kind {
            *preview_url = self.links.view(base, &attachment.id);
        }
    }

    /// Like [`Uploads::present`], for all that an item carries.
    pub fn present_item(&self, item: &mut Item, base: &Base) {
        match &mut item.kind {
            ItemKind::UserMessage(message) => {
                message.attachments.iter_mut().for_each(|attachment| self.present(attachment, base));
            }
            ItemKind::GeneratedImage { image: Some(image) } => self.present_image(image, base),
            _ => {}
        }
    }

    /// Fills in a fresh link to an image that is kept here.
    pub fn present_image(&self, image: &mut GeneratedImage, base: &Base) {
        if let Some(attachment_id) = image.attachment_id() {
            image.url = self.links.view(base, attachment_id);
        }
    }

    /// Removes the bytes of files whose description is gone. A failure is logged: nobody can do anything about it.
    pub async fn remove_files(&self, ids: &[Id]) {
        for id in ids {
            if let Err(error) = self.files.remove(id).await {
                tracing::warn!(attachment = &**id, %error, "the bytes of an attachment could not be removed");
            }
        }
    }

    /// A file of this owner, uploaded or not.
    async fn owned(&self, owner: &Owner, attachment_id: &str) -> Result<StoredAttachment, Error> {
        let found = match self.files.path(attachment_id) {
            Some(_) => self.store.attachment(owner, attachment_id).await?,
            None => None,
        };
        found.ok_or_else(|| unknown(attachment_id))
    }

    fn require_enabled(&self) -> Result<(), Error> {
        if self.config.enabled {
            return Ok(());
        }
        Err(Error::new(Kind::NotFound, "This service takes no files."))
    }

    /// Whether this owner may upload a further file. Nobody may fill the disk for a day with files that are never sent.
    async fn require_room(&self, owner: &Owner, bytes: u64) -> Result<(), Error> {
        let unsent = self.store.unsent_attachments(owner).await?;
        let files_of_a_message = u64::from(self.files_of_a_message());
        let most_files = MOST_UNSENT.max(files_of_a_message);
        let most_bytes = MOST_UNSENT_BYTES.max(files_of_a_message.saturating_mul(self.config.max_bytes));
        if unsent.files < most_files && unsent.bytes.saturating_add(bytes) <= most_bytes {
            return Ok(());
        }
        let mebibytes = most_bytes / MEBIBYTE;
        let message = format!(
            "Too much waits to be sent: {most_files} files, and {mebibytes} MiB together, are the most. \
             Send or delete some of your files, or wait a day."
        );
        Err(Error::new(Kind::Conflict, message))
    }

    pub(crate) fn files_of_a_message(&self) -> u32 {
        self.config.max_files.unwrap_or(MAX_FILES)
    }

    /// A new file, without its bytes.
    fn describe(&self, name: String, mime_type: String, size: u64) -> StoredAttachment {
        let kind = kind::announced(&mime_type);
        let attachment = Attachment {
            id: new_id("atc_"),
            name,
            mime_type,
            upload_descriptor: None,
            thread_id: None,
            kind,
        };
        let created_at = Timestamp::from_epoch(self.clock.now());
        StoredAttachment { attachment, size, is_uploaded: false, created_at }
    }
}

fn too_large(limit: u64) -> Error {
    Error::new(Kind::BodyTooLarge, format!("The file is too large: {limit} bytes are the most."))
}

fn unknown(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("There is no attachment `{}`. Upload the file again.", shown(id)))
}

/// An id that a client sent, as far as it fits a message.
fn shown(id: &str) -> String {
    id.chars().filter(|letter| !letter.is_control()).take(64).collect()
}
