//! Who holds a client secret? In self-hosted mode it is a JWT of our own: signed here, checked
//! here, and of a kind (`typ`) of its own, so that neither a user's token is taken for one nor one
//! for a user's token (RFC 8725 sections 3.11 and 3.12).

use std::sync::Arc;

use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::claims::{CLIENT_SECRET, Unverified};
use super::error::{Error, Flaw};
use super::token;
use crate::clock::Clock;
use crate::config::env::Secret;
use crate::ids::random_hex;
use crate::protocol::objects;
use crate::user::UserId;

const ISSUER: &str = "chatkit-server";
const AUDIENCE: &str = "chatkit";

/// Signs client secrets with the first key, and checks them against all.
#[derive(Debug)]
pub struct ClientSecrets {
    keys: Vec<hmac::Key>,
    clock: Arc<dyn Clock>,
}

/// A client secret that was just made.
pub struct Signed {
    /// The secret itself.
    pub token: String,
    /// Its `jti`: 128 random bits in hex.
    pub id: String,
    /// Its `exp`, in seconds since the Unix epoch: from then on it is no good.
    pub ends_at: u64,
}

/// The secret stays out of logs.
impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a client secret says whose signature and time are good. It may have been revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whom it was made for.
    pub user: UserId,
    /// The name of the workflow that it was made for. It may have been taken out of the
    /// configuration since.
    pub workflow: String,
    /// Its `jti`.
    pub id: String,
    /// Its `exp`, in seconds since the Unix epoch.
    pub ends_at: u64,
    /// The last revocation of all the user's secrets that this one comes after, as it was told to
    /// [`ClientSecrets::sign`].
    pub after: u64,
}

#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    iat: u64,
    exp: u64,
    jti: String,
    workflow: String,
    /// Left out where there was no revocation.
    #[serde(default, skip_serializing_if = "is_zero")]
    after: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ClientSecrets {
    /// With these keys, of which there must be one at least.
    #[must_use]
    pub fn new(keys: &[Secret], clock: Arc<dyn Clock>) -> Self {
        let key = |key: &Secret| hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
        Self { keys: keys.iter().map(key).collect(), clock }
    }

    /// Makes a client secret for this user and this workflow. It comes after that revocation of all
    /// the user's secrets; 0 where there was none.
    ///
    /// # Errors
    /// When there is no key, or the system has no random bytes.
    pub fn sign(
        &self,
        user: &UserId,
        workflow: &str,
        ttl_seconds: u64,
        after: u64,
    ) -> Result<Signed, Error> {
        let key = self.keys.first().ok_or(Error::Crypto)?;
        let id = random_hex::<16>();
        let now = self.clock.unix_seconds();
        let ends_at = now.saturating_add(ttl_seconds);
        let claims = json!(Claims {
            iss: ISSUER,
            aud: AUDIENCE,
            sub: user.as_str().to_owned(),
            iat: now,
            exp: ends_at,
            jti: id.clone(),
            workflow: workflow.to_owned(),
            after,
        });
        let header = json!({"alg": "HS256", "typ": CLIENT_SECRET});
        let part = |json: &serde_json::Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = hmac::sign(key, message.as_bytes());
        let token = format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()));
        Ok(Signed { token, id, ends_at })
    }

    /// Says what a client secret says, if it was signed here and has not ended. That it has ended
    /// is said only when nothing else is wrong with it.
    ///
    /// # Errors
    /// [`Error::BadSecret`] or [`Error::ExpiredSecret`].
    pub fn verify(&self, token: &str) -> Result<Held, Error> {
        let held = self.read(token).map_err(Error::BadSecret)?;
        if held.ends_at <= self.clock.unix_seconds() { Err(Error::ExpiredSecret) } else { Ok(held) }
    }

    fn read(&self, token: &str) -> Result<Held, Flaw> {
        let token = Unverified::parse_client_secret(token)?;
        if token.algorithm != Algorithm::HS256 {
            return Err(Flaw::Algorithm);
        }
        let fits = |key: &hmac::Key| hmac::verify(key, token.message, &token.signature).is_ok();
        if !self.keys.iter().any(fits) {
            return Err(Flaw::Signature);
        }
        let payload = token.payload()?;
        let claims: Claims<'_> = objects::from_slice(&payload).map_err(|_| Flaw::Claims)?;
        if claims.iss != ISSUER {
            return Err(Flaw::Issuer);
        }
        if claims.aud != AUDIENCE {
            return Err(Flaw::Audience);
        }
        let user = UserId::parse(&claims.sub).ok_or(Flaw::User)?;
        Ok(Held {
            user,
            workflow: claims.workflow,
            id: claims.jti,
            ends_at: claims.exp,
            after: claims.after,
        })
    }
}

/// The client secret that a request carries as its bearer token, judged by the `typ` that it names
/// and nothing else: what names this one is a client secret or nothing.
#[must_use]
pub fn client_secret_of(headers: &HeaderMap) -> Option<&str> {
    token::bearer(headers).ok().flatten().filter(|token| Unverified::is_client_secret(token))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::TestClock;

    const NOW: u64 = 1_800_000_000;

    fn secrets(keys: &[&str]) -> (ClientSecrets, Arc<TestClock>) {
        let clock = Arc::new(TestClock::at(NOW));
        let keys: Vec<_> = keys.iter().map(|key| Secret::new(key.repeat(32))).collect();
        (ClientSecrets::new(&keys, Arc::<TestClock>::clone(&clock)), clock)
    }

    fn user() -> UserId {
        UserId::parse("Ada Löve").unwrap()
    }

    #[test]
    fn a_secret_says_whose_it_is_until_its_last_second() {
        let (secrets, clock) = secrets(&["a"]);
        let signed = secrets.sign(&user(), "support", 600, 7).unwrap();
        let held = Held {
            user: user(),
            workflow: "support".into(),
            id: signed.id.clone(),
            ends_at: NOW + 600,
            after: 7,
        };
        assert_eq!(secrets.verify(&signed.token), Ok(held.clone()));
        clock.advance(Duration::from_secs(599));
        assert_eq!(secrets.verify(&signed.token), Ok(held));
        clock.advance(Duration::from_secs(1));
        assert_eq!(secrets.verify(&signed.token), Err(Error::ExpiredSecret));
        let (unsigned, _) = signed.token.rsplit_once('.').unwrap();
        let forged = format!("{unsigned}.{}", BASE64URL_NOPAD.encode(&[0; 32]));
        assert_eq!(
            secrets.verify(&forged),
            Err(Error::BadSecret(Flaw::Signature)),
            "not: it has expired"
        );
    }

    #[test]
    fn no_two_secrets_are_the_same() {
        let (secrets, _) = secrets(&["a"]);
        let ids = [(); 2].map(|()| secrets.sign(&user(), "support", 600, 0).unwrap().id);
        assert_eq!(ids[0].len(), 32, "128 bits in hex");
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let old = secrets(&["a"]).0.sign(&user(), "support", 600, 0).unwrap();
        let (both, _) = secrets(&["b", "a"]);
        assert!(both.verify(&old.token).is_ok(), "signed before the change");
        let new = both.sign(&user(), "support", 600, 0).unwrap();
        assert!(secrets(&["b"]).0.verify(&new.token).is_ok());
        assert_eq!(secrets(&["a"]).0.verify(&new.token), Err(Error::BadSecret(Flaw::Signature)));
    }
}
