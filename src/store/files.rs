//! Where are the bytes of attachments? In a folder, one file each, named by the attachment's id.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;

/// The folder of uploads.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// The files below this folder, which is made when the first one comes.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The bytes of an attachment. `None` when there are none.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub async fn read(&self, attachment_id: &str) -> io::Result<Option<Bytes>> {
        let Some(path) = self.path(attachment_id) else { return Ok(None) };
        match tokio::fs::read(path).await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the bytes of an attachment, if there are any.
    ///
    /// # Errors
    /// When the file is there and can't be removed.
    pub async fn remove(&self, attachment_id: &str) -> io::Result<()> {
        let Some(path) = self.path(attachment_id) else { return Ok(()) };
        match tokio::fs::remove_file(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Where the bytes of an attachment are. An id is `atc_` and hex digits: nothing else names a file.
    #[must_use]
    pub fn path(&self, attachment_id: &str) -> Option<PathBuf> {
        let digits = attachment_id.strip_prefix("atc_")?;
        let is_id = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| self.root.join(attachment_id))
    }
}
