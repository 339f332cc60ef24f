//! How is a session made in self-hosted mode? As a client secret signed here; it ends by being
//! revoked in the database.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::mint::{ClientSecret, Error, Found, Mint, MintRequest};
use crate::auth::ClientSecrets;
use crate::store::revoked::Revoked;
use crate::upstream::Call;
use crate::user::{Fingerprint, UserId};

/// Signs client secrets. A session's id is the secret's `jti`.
#[expect(missing_debug_implementations, reason = "what was revoked has none")]
pub struct SignedMint {
    secrets: Arc<ClientSecrets>,
    revoked: Arc<Revoked>,
    ttl_seconds: u64,
}

impl SignedMint {
    /// A mint whose sessions live for `ttl_seconds`.
    #[must_use]
    pub fn new(secrets: Arc<ClientSecrets>, revoked: Arc<Revoked>, ttl_seconds: u64) -> Self {
        Self { secrets, revoked, ttl_seconds }
    }

    async fn sign(&self, request: MintRequest<'_>) -> Result<ClientSecret, Error> {
        let after = self.revoked.last(request.user).await?.0;
        let signed =
            self.secrets.sign(request.user, &request.workflow.name, self.ttl_seconds, after)?;
        Ok(ClientSecret::with_end(signed.token, signed.ends_at))
    }

    fn read(&self, secret: &str) -> Option<Found> {
        let held = self.secrets.verify(secret).ok()?;
        let print = Fingerprint::of(secret.as_bytes());
        Some(Found { secret: print, user: held.user.fingerprint(), id: held.id.into() })
    }
}

impl Mint for SignedMint {
    fn mint<'a>(
        &'a self,
        request: MintRequest<'a>,
        _: Call<'a>,
    ) -> BoxFuture<'a, Result<ClientSecret, Error>> {
        self.sign(request).boxed()
    }

    fn find<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Option<Found>> {
        ready(self.read(secret)).boxed()
    }

    fn cancel<'a>(
        &'a self,
        user: &'a UserId,
        session: &'a Found,
        _: Call<'a>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move { Ok(self.revoked.revoke(user, &session.id).await?) }.boxed()
    }

    fn cancel_all<'a>(&'a self, user: &'a UserId, _: Call<'a>) -> BoxFuture<'a, Result<(), Error>> {
        async move { Ok(self.revoked.revoke_all(user).await?) }.boxed()
    }

    fn cancels_at_once(&self) -> bool {
        true
    }

    fn remembered(&self) -> usize {
        0
    }
}
