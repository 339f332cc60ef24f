//! Whose is the file of a SQLite database? It is made for the owner of the process, it belongs to
//! one server at a time, and it must stay where it is.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;

/// How long a server waits for the one before it, which may be about to end.
const PREDECESSOR: Duration = Duration::from_secs(1);

/// How often it is looked whether the file is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const IN_USE: &str = "another server has the database's file: stop it first, or give each a file \
                      of its own. Several at once need PostgreSQL";

const GONE: &str = "the database's file was removed or replaced while this server has it open: put \
                    the same file back, or put a backup in its place and restart. Until then \
                    nothing is written";

/// The file of a database that is open.
#[derive(Debug)]
pub(super) struct SqliteFile {
    path: PathBuf,
    /// Which file it is: its device and its number there.
    identity: (u64, u64),
    seen: Mutex<Seen>,
    /// Locked as long as it is open.
    _lock: Option<File>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    is_there: bool,
}

impl SqliteFile {
    /// Makes the file and its folder, for nobody else to read. What is there stays as it is.
    pub(super) fn make(path: &Path) -> Result<Self, StoreError> {
        let made = || -> io::Result<_> {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let about =
                OpenOptions::new().create(true).append(true).mode(0o600).open(path)?.metadata()?;
            Ok((fs::canonicalize(path)?, about))
        };
        let (path, about) = made().map_err(|error| {
            StoreError::Failed(format!("the database's file can't be made: {error}"))
        })?;
        let seen = Mutex::new(Seen { at: Instant::now(), is_there: true });
        Ok(Self { path, identity: (about.dev(), about.ino()), seen, _lock: None })
    }

    /// Takes the file for this server alone, by a lock on a file beside it: programs that read or
    /// copy the database need no leave.
    pub(super) fn take(mut self) -> Result<Self, StoreError> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(|error| {
            StoreError::Failed(format!(
                "the lock beside the database's file can't be made: {error}"
            ))
        })?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break self._lock = Some(file),
                Err(TryLockError::WouldBlock) if began.elapsed() < PREDECESSOR => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Failed(IN_USE.to_owned())),
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(%error, "the database's file can't be locked: see that no other server opens it");
                    break;
                }
            }
        }
        Ok(self)
    }

    /// Whether the file is still where it was. What is written to one that isn't is lost at the end
    /// of the process.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.at.elapsed() >= LOOK_EVERY {
            let is_there = match fs::metadata(&self.path) {
                Ok(about) => (about.dev(), about.ino()) == self.identity,
                Err(error) => error.kind() != io::ErrorKind::NotFound,
            };
            if seen.is_there && !is_there {
                tracing::error!(file = %self.path.display(), "{GONE}");
            }
            *seen = Seen { at: Instant::now(), is_there };
        }
        if seen.is_there { Ok(()) } else { Err(StoreError::Failed(GONE.to_owned())) }
    }
}
