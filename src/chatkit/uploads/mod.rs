//! What becomes of the files that people send? They are described in the [`Store`], their bytes are
//! in a folder, and links that are made for each answer lead there.

pub mod http;
mod kind;
mod name;
mod receive;
mod serve;
pub mod sweep;
pub mod under_way;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

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
use under_way::UnderWay;

/// How many files a message carries unless the configuration says otherwise; OpenAI's own number.
const MAX_FILES: u32 = 10;
/// How many files a user may have uploaded or announced, and not sent. One message of the most
/// files fits in any case.
const MOST_UNSENT: u64 = 100;
const MEBIBYTE: u64 = 1024 * 1024;
/// When a disk that was full is worth another try, in seconds.
const DISK_LATER: u64 = 60;

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
    /// What is coming in.
    pub under_way: UnderWay,
    /// What a client that leaves does not stop.
    pub tasks: TaskTracker,
}

/// `attachments.create`: announces a file, and says where its bytes are to be sent.
///
/// # Errors
/// 400 for a media type that is none, 413 for a file that is too large or more than the user may
/// keep, 409 when too many wait to be sent, 404 where there are no uploads.
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
    uploads.kept(owner).await?;
    let stored = uploads.describe(name::clean(&params.name), mime_type, params.size);
    uploads.add(owner, &stored).await?;
    let mut attachment = stored.attachment;
    let url = uploads.links.upload(base, &attachment.id);
    let method = "POST".to_owned();
    attachment.upload_descriptor = Some(UploadDescriptor { url, method, headers: BTreeMap::new() });
    uploads.present(&mut attachment, base);
    Ok(attachment)
}

/// `attachments.delete`: removes a file that was not sent. What a message carries goes with its
/// thread.
///
/// # Errors
/// 404 when there is no such file, 409 when a message carries it.
pub async fn delete_attachment(
    uploads: &Uploads,
    owner: &Owner,
    attachment_id: &str,
) -> Result<(), Error> {
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

/// The files that a message names, as they are stored: every one is the owner's and has its bytes.
/// A file that was sent already has its `thread_id`: see [`refuse_sent`].
///
/// # Errors
/// 400 when there are too many, one is named twice, or one has no bytes yet; 404 when there is no
/// such file.
pub async fn check_attachments(
    uploads: &Uploads,
    owner: &Owner,
    ids: &[Id],
) -> Result<Vec<Attachment>, Error> {
    let most = uploads.files_of_a_message();
    if ids.len() > usize::try_from(most).unwrap_or(usize::MAX) {
        let message =
            format!("`params.input.attachments`: a message carries at most {most} files.");
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
            let message = format!(
                "The attachment `{}` is not uploaded yet. Send its bytes first.",
                shown(id)
            );
            return Err(Error::invalid(message));
        }
        attachments.push(stored.attachment);
    }
    Ok(attachments)
}

/// Refuses files that a message carries already. A request that comes a second time names files
/// that its first time has sent, so whether it is one must be known before.
///
/// # Errors
/// 409 that names the first such file.
pub fn refuse_sent(attachments: &[Attachment]) -> Result<(), Error> {
    match attachments.iter().find(|attachment| attachment.thread_id.is_some()) {
        Some(sent) => {
            let message =
                format!("A message carries the attachment `{}` already.", shown(&sent.id));
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
                message
                    .attachments
                    .iter_mut()
                    .for_each(|attachment| self.present(attachment, base));
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

    /// Removes the bytes of files whose description is gone. A failure is logged: nobody can do
    /// anything about it.
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

    /// How many bytes this owner's user keeps, if they may upload a further file at all.
    async fn kept(&self, owner: &Owner) -> Result<u64, Error> {
        let kept = self.store.kept_attachments(owner).await?;
        let most = MOST_UNSENT.max(u64::from(self.files_of_a_message()));
        if kept.unsent < most {
            return Ok(kept.bytes);
        }
        let message = format!(
            "Too many files wait to be sent: {most} files are the most. Send or delete some of \
             your files, or wait a day."
        );
        Err(Error::new(Kind::Conflict, message))
    }

    /// Stores the description of a new file, if its user may keep it.
    async fn add(&self, owner: &Owner, stored: &StoredAttachment) -> Result<(), Error> {
        let quota = self.config.quota.unwrap_or(u64::MAX);
        if self.store.add_attachment(owner, stored, quota).await? {
            Ok(())
        } else {
            Err(quota_exceeded(quota))
        }
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

fn quota_exceeded(quota: u64) -> Error {
    let most = if quota.is_multiple_of(MEBIBYTE) {
        format!("{} MiB", quota / MEBIBYTE)
    } else {
        format!("{quota} bytes")
    };
    let message = format!(
        "Your files may have {most} together, those of your messages too. Delete files, or \
         conversations with files, and try again."
    );
    Error::new(Kind::QuotaExceeded, message)
}

/// A file that could not be written. A full disk is no fault of the program's.
fn not_written(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let message = "There is no room for files here right now. Try again later.";
            let error = format_args!("the disk of CHATKIT_UPLOADS_DIR is full: {error}");
            Error::new(Kind::NotReady, message).because(error).retry_after(DISK_LATER)
        }
        _ => Error::internal(error),
    }
}

fn unknown(id: &str) -> Error {
    Error::new(
        Kind::NotFound,
        format!("There is no attachment `{}`. Upload the file again.", shown(id)),
    )
}

/// An id that a client sent, as far as it fits a message.
fn shown(id: &str) -> String {
    id.chars().filter(|letter| !letter.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_full_disk_is_named_in_the_log_and_is_no_fault_of_the_program() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = not_written(full.write_all(b"more").unwrap_err());
        assert_eq!(error.kind(), Kind::NotReady);
        assert!(error.log_text().contains("CHATKIT_UPLOADS_DIR is full"), "{}", error.log_text());
        let other = not_written(io::ErrorKind::PermissionDenied.into());
        assert_eq!(other.kind(), Kind::InternalError);
    }
}
