//! How is a session made in self-hosted mode? As a client secret signed here; it ends by being revoked here.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::mint::{ClientSecret, Error, Mint, MintRequest, Minted};
use super::registry::Session;
use crate::auth::{ClientSecrets, Revoked};
use crate::upstream::Call;

/// Signs client secrets. A session's id is the secret's `jti`, a dot, and the end of its life.
#[derive(Debug)]
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

    fn sign(&self, request: MintRequest<'_>) -> Result<Minted, Error> {
        let signed = self.secrets.sign(request.user, &request.workflow.name, self.ttl_seconds)?;
        Ok(Minted {
            client_secret: ClientSecret::with_end(signed.token, signed.ends_at),
            id: session_id(&signed.id, signed.ends_at),
            ends_at: signed.ends_at,
        })
    }
}

impl Mint for SignedMint {
    fn mint<'a>(&'a self, request: MintRequest<'a>, _: Call<'a>) -> BoxFuture<'a, Result<Minted, Error>> {
        std::future::ready(self.sign(request)).boxed()
    }

    fn cancel<'a>(&'a self, id: &'a str, _: Call<'a>) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if let Some((id, ends_at)) = parse_session_id(id) {
                self.revoked.add(id, ends_at).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn session_of(&self, secret: &str) -> Option<Session> {
        let held = self.secrets.verify(secret).ok()?;
        let id = session_id(&held.id, held.ends_at);
        Some(Session { user: held.user.fingerprint(), id, ends_at: held.ends_at })
    }

    fn cancels_at_once(&self) -> bool {
        true
    }
}

fn session_id(jti: &str, ends_at: u64) -> Box<str> {
    format!("{jti}.{ends_at}").into()
}

fn parse_session_id(id: &str) -> Option<(&str, u64)> {
    let (jti, ends_at) = id.rsplit_once('.')?;
    Some((jti, ends_at.parse().ok()?))
}
