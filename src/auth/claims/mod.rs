//! What does a token say, and is it for us? Takes a JWT apart without believing it, and checks the
//! claims of one whose signature has been verified. Every rule of RFC 7519 and RFC 8725 that does
//! not need a key is here.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::{Map, Value};

use super::error::{Error, Flaw};
use crate::config::{auth::AuthConfig, public_key::algorithm_named};
use crate::protocol::objects;
use crate::user::UserId;

/// No honest token is longer: header lines of more than 16 KiB are refused by most servers.
const MAX_BYTES: usize = 16 * 1024;

/// The `typ` of client secrets, which are signed here.
pub(super) const CLIENT_SECRET: &str = "chatkit-session+jwt";

/// The claims of a verified token, shared and never copied.
pub type Claims = Arc<Map<String, Value>>;

/// A token that has been taken apart. Nothing in it may be believed before its signature has been
/// verified.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    /// The algorithm that the token names: only ever compared with what a key may do.
    pub(super) algorithm: Algorithm,
    /// The key that the token names.
    pub(super) kid: Option<String>,
    /// Header and payload as they were signed.
    pub(super) message: &'a [u8],
    /// The signature's bytes.
    pub(super) signature: Vec<u8>,
    payload: &'a str,
}

/// The header members that we look at. `jwk`, `jku`, `x5c` and `x5u` are not among them: a token
/// does not bring its key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    cty: Option<String>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
    #[serde(default, deserialize_with = "is_present")]
    enc: bool,
    #[serde(default, deserialize_with = "is_present")]
    zip: bool,
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> Unverified<'a> {
    /// Takes a user's token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, Flaw> {
        Self::parse_kind(token, |typ| typ.is_none_or(is_access_token))
    }

    /// Takes a client secret apart.
    pub(super) fn parse_client_secret(token: &'a str) -> Result<Self, Flaw> {
        Self::parse_kind(token, |typ| typ.is_some_and(is_client_secret))
    }

    /// Whether the token's header says that it is a client secret. Nothing else of it need be good.
    pub(super) fn is_client_secret(token: &str) -> bool {
        #[derive(Deserialize)]
        struct Kind {
            typ: String,
        }
        let header = token.split('.').next().filter(|header| header.len() <= MAX_BYTES);
        let header = header.and_then(|header| BASE64URL_NOPAD.decode(header.as_bytes()).ok());
        let kind = header.and_then(|header| objects::from_slice::<Kind>(&header).ok());
        kind.is_some_and(|kind| is_client_secret(&kind.typ))
    }

    /// Takes a compact JWS apart: exactly three parts in strict base64url, a header with nothing
    /// that we would have to understand and don't, a `typ` that fits, and an algorithm that exists
    /// (`none` does not, in any spelling).
    fn parse_kind(token: &'a str, fits: impl FnOnce(Option<&str>) -> bool) -> Result<Self, Flaw> {
        if token.len() > MAX_BYTES {
            return Err(Flaw::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Flaw::NotThreeParts);
        };
        let message = &token.as_bytes()[..header.len() + 1 + payload.len()];
        let header = decode(header)?;
        let signature = decode(signature)?;
        let header: Header = objects::from_slice(&header).map_err(|_| Flaw::Header)?;
        if header.crit || header.enc || header.zip {
            return Err(Flaw::CriticalHeader);
        }
        if !fits(header.typ.as_deref()) || header.cty.as_deref().is_some_and(is_jwt) {
            return Err(Flaw::WrongType);
        }
        let algorithm = algorithm_named(&header.alg).ok_or(Flaw::Algorithm)?;
        Ok(Self { algorithm, kid: header.kid, message, signature, payload })
    }

    /// The issuer that the token names, to choose among the issuers' keys. The signature must then
    /// be of that issuer.
    pub(super) fn claimed_issuer(&self) -> Option<String> {
        let Value::String(issuer) = self.claims().ok()?.remove("iss")? else { return None };
        Some(issuer)
    }

    /// The bytes of the claims.
    pub(super) fn payload(&self) -> Result<Vec<u8>, Flaw> {
        decode(self.payload)
    }

    fn claims(&self) -> Result<Map<String, Value>, Flaw> {
        serde_json::from_slice(&self.payload()?).map_err(|_| Flaw::Claims)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Flaw> {
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Flaw::NotThreeParts)?;
    if bytes.is_empty() { Err(Flaw::NotThreeParts) } else { Ok(bytes) }
}

/// RFC 8725 section 3.11: a token that says it is of another kind (a logout token, a DPoP proof …)
/// is not taken for an access token. An unknown `typ` that names no kind of JWT says nothing.
fn is_access_token(typ: &str) -> bool {
    let typ = media_type(typ);
    let other_kind = typ.ends_with("+jwt") && typ != "at+jwt" && !typ.ends_with("-at+jwt");
    !other_kind && typ != "jwe"
}

fn is_client_secret(typ: &str) -> bool {
    media_type(typ) == CLIENT_SECRET
}

fn is_jwt(cty: &str) -> bool {
    matches!(media_type(cty).as_str(), "jwt" | "jwe")
}

fn media_type(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_prefix("application/").map(str::to_owned).unwrap_or(name)
}

/// What the claims of a user's token must be.
#[derive(Debug)]
pub(super) struct Rules {
    issuers: Vec<String>,
    audiences: Vec<String>,
    user_claim: String,
    leeway: f64,
}

impl Rules {
    pub(super) fn new(config: &AuthConfig) -> Self {
        Self {
            issuers: config.issuers.clone(),
            audiences: config.audiences.clone(),
            user_claim: config.user_claim.clone(),
            leeway: config.leeway.as_secs_f64(),
        }
    }

    /// Checks the claims of a token whose signature has been verified, and says whose it is. That
    /// the token has expired is said only when nothing else is wrong with it, because then a new
    /// one helps.
    pub(super) fn check(
        &self,
        token: &Unverified<'_>,
        now: Duration,
    ) -> Result<(UserId, Claims), Error> {
        let claims = token.claims()?;
        let now = now.as_secs_f64();
        let expiry = number(&claims, "exp", Flaw::Expiry)?.ok_or(Flaw::Expiry)?;
        if !self.issuers.is_empty() && !is_one_of(claims.get("iss"), &self.issuers) {
            return Err(Flaw::Issuer.into());
        }
        if !self.audiences.is_empty() && !self.is_for_us(claims.get("aud")) {
            return Err(Flaw::Audience.into());
        }
        for name in ["nbf", "iat"] {
            if number(&claims, name, Flaw::TooEarly)?.is_some_and(|begin| begin > now + self.leeway)
            {
                return Err(Flaw::TooEarly.into());
            }
        }
        let user = claims.get(&self.user_claim).and_then(UserId::from_json).ok_or(Flaw::User)?;
        if expiry + self.leeway <= now {
            return Err(Error::Expired);
        }
        Ok((user, Arc::new(claims)))
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        match audience {
            Some(Value::Array(several)) => {
                several.iter().any(|one| is_one_of(Some(one), &self.audiences))
            }
            one => is_one_of(one, &self.audiences),
        }
    }
}

/// A `NumericDate` of RFC 7519: seconds since the epoch, whole or not. One that is there must be a
/// number.
fn number(claims: &Map<String, Value>, name: &str, flaw: Flaw) -> Result<Option<f64>, Flaw> {
    claims
        .get(name)
        .map(|value| value.as_f64().filter(|seconds| seconds.is_finite()).ok_or(flaw))
        .transpose()
}

fn is_one_of(value: Option<&Value>, wanted: &[String]) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| wanted.iter().any(|one| one == text))
}

#[cfg(test)]
mod tests;
