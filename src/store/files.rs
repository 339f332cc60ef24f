//! Where are the bytes of attachments? In a folder, one file each, named by the attachment's id.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use tokio::fs::{self, DirBuilder, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::room::Room;
use crate::ids::new_id;
use crate::protocol::Id;

/// What begins the name of a file that is still coming in. No id looks like that.
const COMING: &str = ".part_";

/// The folder of uploads.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
    room: Room,
}

impl Files {
    /// The files below this folder, which is made when the first one comes.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), room: Room::default() }
    }

    /// The room in memory for their bytes, for those who hold many of them.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// The bytes of an attachment. `None` when there are none.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub async fn read(&self, attachment_id: &str) -> io::Result<Option<Bytes>> {
        let Some(path) = self.path(attachment_id) else { return Ok(None) };
        Ok(found(fs::read(path).await)?.map(Bytes::from))
    }

    /// How many bytes an attachment has. `None` when there are none.
    ///
    /// # Errors
    /// When that can't be found out.
    pub async fn size(&self, attachment_id: &str) -> io::Result<Option<u64>> {
        let Some(path) = self.path(attachment_id) else { return Ok(None) };
        Ok(found(fs::metadata(path).await)?.map(|about| about.len()))
    }

    /// The first bytes of an attachment, at most so many. `None` when there are none.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub async fn read_beginning(
        &self,
        attachment_id: &str,
        most: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.path(attachment_id) else { return Ok(None) };
        let Some(file) = found(File::open(path).await)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).await?;
        Ok(Some(bytes))
    }

    /// Writes the bytes of an attachment, in place of any that it has.
    ///
    /// # Errors
    /// When the folder can't be made or written to.
    pub async fn save(&self, attachment_id: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.begin().await?;
        file.write(bytes).await?;
        file.rename(self, attachment_id).await
    }

    /// Removes the bytes of an attachment, if there are any.
    ///
    /// # Errors
    /// When the file is there and can't be removed.
    pub async fn remove(&self, attachment_id: &str) -> io::Result<()> {
        match self.path(attachment_id) {
            Some(path) => remove(&path).await,
            None => Ok(()),
        }
    }

    /// Where the bytes of an attachment are. An id is `atc_` and hex digits: nothing else names a
    /// file.
    #[must_use]
    pub fn path(&self, attachment_id: &str) -> Option<PathBuf> {
        let digits = attachment_id.strip_prefix("atc_")?;
        let is_id = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| self.root.join(attachment_id))
    }

    /// Begins a file under a name that is nobody's. Only the user that this service runs as may
    /// read it.
    ///
    /// # Errors
    /// When the folder can't be made or written to.
    pub async fn begin(&self) -> io::Result<Incoming> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root).await?;
        let path = self.root.join(&*new_id(COMING));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await?;
        Ok(Incoming { file, path })
    }

    /// Writes a file that is not kept, to see whether files can be written.
    ///
    /// # Errors
    /// When the folder can't be made or written to.
    pub async fn probe(&self) -> io::Result<()> {
        let mut file = self.begin().await?;
        file.write(b"?").await?;
        file.file.flush().await
    }

    /// Removes what began to come in, was last written to before a time (since the Unix epoch), and
    /// never came to its end: a process that is killed leaves it. Returns how many.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub async fn sweep(&self, before: Duration) -> io::Result<usize> {
        let strays = self.written_before(before, |name| name.starts_with(COMING)).await?;
        for name in &strays {
            remove(&self.root.join(name)).await?;
        }
        Ok(strays.len())
    }

    /// The attachments whose bytes were last written before a time (since the Unix epoch).
    ///
    /// # Errors
    /// When the folder can't be read.
    pub async fn older_than(&self, before: Duration) -> io::Result<Vec<Id>> {
        let names = self.written_before(before, |name| self.path(name).is_some()).await?;
        Ok(names.into_iter().map(Id::from).collect())
    }

    async fn written_before(
        &self,
        before: Duration,
        is_meant: impl Fn(&str) -> bool,
    ) -> io::Result<Vec<String>> {
        let mut entries = match fs::read_dir(&self.root).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let Some(name) =
                entry.file_name().to_str().filter(|name| is_meant(name)).map(str::to_owned)
            else {
                continue;
            };
            // It may come to its end, and be gone, while we look at it.
            let Ok(written) = entry.metadata().await.and_then(|about| about.modified()) else {
                continue;
            };
            if written.duration_since(UNIX_EPOCH).unwrap_or_default() < before {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// What was found; `None` when there is no such file.
fn found<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}

async fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file that is coming in. Unless it gets a name, it is removed when this is dropped.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    path: PathBuf,
}

impl Incoming {
    /// Adds bytes.
    ///
    /// # Errors
    /// When they can't be written: the disk is full, most often.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Waits until what was added is written.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub async fn flush(&mut self) -> io::Result<()> {
        self.file.flush().await
    }

    /// Gives the file the name of its attachment, whole and in one step. What has that name is
    /// replaced: a process that was killed may have left it, so whether an attachment has its bytes
    /// is for its description to say.
    ///
    /// # Errors
    /// When the file can't be written.
    pub async fn rename(mut self, files: &Files, attachment_id: &str) -> io::Result<()> {
        self.file.flush().await?;
        let target = files.path(attachment_id).ok_or(io::ErrorKind::InvalidInput)?;
        fs::rename(&self.path, target).await
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // It is not there when it got a name. A failure leaves a file that is swept later.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the test's own, which does not exist yet.
    struct Room(PathBuf);

    impl Room {
        fn new() -> Self {
            Self(std::env::temp_dir().join(&*new_id("chatkit-files-")))
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    impl Drop for Room {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_file_that_does_not_come_to_its_end_leaves_nothing() {
        let room = Room::new();
        let files = Files::new(&room.0);
        let mut coming = files.begin().await.unwrap();
        coming.write(b"half").await.unwrap();
        assert_eq!(room.names().len(), 1);
        drop(coming);
        assert_eq!(room.names(), Vec::<String>::new());

        let named = files.begin().await.unwrap();
        named.rename(&files, "atc_1").await.unwrap();
        assert_eq!(room.names(), ["atc_1"], "one that has a name stays");
    }

    #[tokio::test]
    async fn a_file_takes_the_place_of_one_that_was_left_over() {
        let room = Room::new();
        let files = Files::new(&room.0);
        for text in ["first", "second"] {
            files.save("atc_1", text.as_bytes()).await.unwrap();
            assert_eq!(files.read("atc_1").await.unwrap().as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(room.names(), ["atc_1"]);
    }

    #[tokio::test]
    async fn only_old_files_that_never_came_to_their_end_are_swept() {
        let room = Room::new();
        let files = Files::new(&room.0);
        assert_eq!(files.sweep(Duration::MAX).await.unwrap(), 0, "there is no folder yet");
        files.save("atc_1", b"kept").await.unwrap();
        let coming = files.begin().await.unwrap();
        assert_eq!(
            files.sweep(Duration::from_secs(1)).await.unwrap(),
            0,
            "it was written to just now"
        );
        assert_eq!(files.sweep(Duration::MAX).await.unwrap(), 1);
        assert_eq!(room.names(), ["atc_1"]);
        drop(coming);
    }

    #[test]
    fn nothing_but_an_id_names_a_file() {
        let files = Files::new("/uploads");
        assert_eq!(files.path("atc_0a"), Some("/uploads/atc_0a".into()));
        for id in
            ["", "atc_", "atc_../x", "atc_g", "../atc_0a", "atc_0a/..", ".part_0a", "atc_0a\0"]
        {
            assert_eq!(files.path(id), None, "{id}");
        }
    }
}
