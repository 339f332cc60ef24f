//! Who holds which secret? The registry of the sessions that live.

use futures_util::future::BoxFuture;

use crate::user::Fingerprint;

/// A session that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub user: Fingerprint,
    /// OpenAI's id, by which it is cancelled.
    pub id: Box<str>,
    /// When it ends, in seconds since the Unix epoch.
    pub ends_at: u64,
}

/// Remembers which user holds which secret, until the session ends.
pub trait Registry: Send + Sync {
    /// Remembers a session under its secret.
    fn remember(&self, secret: Fingerprint, session: Session) -> BoxFuture<'_, ()>;
    /// The live session with this secret.
    fn find(&self, secret: Fingerprint) -> BoxFuture<'_, Option<Session>>;
    /// Every live session of a user: its secret and its id.
    fn of_user(&self, user: Fingerprint) -> BoxFuture<'_, Vec<(Fingerprint, Box<str>)>>;
    /// Forgets the session with this secret.
    fn forget(&self, secret: Fingerprint) -> BoxFuture<'_, ()>;
    /// How many sessions this process remembers.
    fn live(&self) -> usize;
}
