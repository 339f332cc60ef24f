//! Who makes sessions? [`Mint`] is the seam: what a session is made for, and what comes of it.

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value};

use super::workflows::Workflow;
use crate::clock::rfc3339;
use crate::error::Kind;
use crate::store::StoreError;
use crate::upstream::Call;
use crate::user::{Fingerprint, UserId};
use crate::{auth, error, upstream};

/// Something that makes sessions, knows whose they are, and ends them.
pub trait Mint: Send + Sync {
    /// Makes a session by the call's deadline.
    fn mint<'a>(
        &'a self,
        request: MintRequest<'a>,
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<ClientSecret, Error>>;

    /// The live session of a secret, if it is known whose it is.
    fn find<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Option<Found>>;

    /// Ends a session of this user by the call's deadline. One that is not there counts as ended.
    fn cancel<'a>(
        &'a self,
        user: &'a UserId,
        session: &'a Found,
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Ends every live session of a user. The first failure, once all have been tried or the time
    /// is over.
    fn cancel_all<'a>(
        &'a self,
        user: &'a UserId,
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Whether an end is so quick that an answer may wait for it.
    fn cancels_at_once(&self) -> bool;

    /// How many live sessions this process remembers itself.
    fn remembered(&self) -> usize;
}

/// A session that was found by its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The fingerprint of the secret.
    pub secret: Fingerprint,
    /// The fingerprint of the user's id.
    pub user: Fingerprint,
    /// By which the session is cancelled; empty when there is nothing to cancel it by.
    pub id: Box<str>,
}

/// Why a session was not made, or not ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// OpenAI made or ended none.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    /// No client secret could be signed.
    #[error(transparent)]
    Unsigned(#[from] auth::Error),
    /// The database does not say what was revoked, or does not take a revocation.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Error> for error::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Upstream(error) => error.into(),
            Error::Unsigned(error) => error.into(),
            Error::Store(StoreError::Away(cause)) => {
                let message = "The database can't be reached right now. Try again in a moment.";
                Self::new(Kind::NotReady, message).because(cause)
            }
            Error::Store(error @ StoreError::Failed(_)) => Self::internal(error),
        }
    }
}

/// What a session is made for.
#[derive(Clone, Copy)]
pub struct MintRequest<'a> {
    /// Whose session it is.
    pub user: &'a UserId,
    /// The claims of the user's token; a service's user and a visitor have none.
    pub claims: Option<&'a Map<String, Value>>,
    /// What the session runs.
    pub workflow: &'a Workflow,
}

/// Claims are the user's own business: `Debug` leaves them out.
impl std::fmt::Debug for MintRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, workflow, .. } = self;
        f.debug_struct("MintRequest")
            .field("user", user)
            .field("workflow", workflow)
            .finish_non_exhaustive()
    }
}

/// The answer to a session request: the client secret, and when it ends if it was signed here.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct ClientSecret {
    /// What ChatKit's `getClientSecret` returns. It opens the chat for this user until the session
    /// ends.
    #[schema(example = "ek_68f0…")]
    client_secret: Box<str>,
    /// In self-hosted mode: when a new one is due, by RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2027-01-15T08:00:00Z", format = DateTime)]
    expires_at: Option<Box<str>>,
}

impl ClientSecret {
    /// Wraps a secret for its way to the browser.
    pub fn new(secret: impl Into<Box<str>>) -> Self {
        Self { client_secret: secret.into(), expires_at: None }
    }

    /// The same, and tells the browser when it ends, in seconds since the Unix epoch.
    pub fn with_end(secret: impl Into<Box<str>>, ends_at: u64) -> Self {
        Self { client_secret: secret.into(), expires_at: Some(rfc3339(ends_at).into()) }
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.client_secret
    }
}

/// The secret stays out of logs.
impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSecret(hidden)")
    }
}
