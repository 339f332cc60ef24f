//! Which keys does a JWKS hold that we may use? What is odd in it (RFC 7517) is left out, never an
//! error: an issuer may publish keys for others too.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{Key, KeySet};
use crate::config::public_key::{KeyKind, PublicKey, algorithm_named};
use crate::protocol::objects::Objects;

/// How many keys of one document are kept.
const MAX_KEYS: usize = 100;

/// A JWKS as it came.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    keys: Vec<Value>,
}

impl Document {
    /// Whether it lists nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that can verify one of the allowed algorithms.
    pub(super) fn usable(self, allowed: Option<&[Algorithm]>) -> KeySet {
        let keys = self
            .keys
            .into_iter()
            .filter_map(|key| usable_key(Jwk::deserialize(Objects(key)).ok()?, allowed));
        KeySet::new(keys.take(MAX_KEYS).collect())
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn usable_key(jwk: Jwk, allowed: Option<&[Algorithm]>) -> Option<Key> {
    if jwk.r#use.as_deref().is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    if jwk
        .key_ops
        .as_ref()
        .is_some_and(|operations| !operations.iter().any(|name| name == "verify"))
    {
        return None;
    }
    let key = public_key(&jwk)?;
    let bound = jwk.alg.as_deref();
    let algorithms = key.kind().algorithms().iter().copied();
    let algorithms = algorithms
        .filter(|algorithm| allowed.is_none_or(|allowed| allowed.contains(algorithm)))
        .filter(|algorithm| bound.is_none_or(|name| algorithm_named(name) == Some(*algorithm)))
        .collect::<Vec<_>>();
    (!algorithms.is_empty()).then(|| Key::public(&key, jwk.kid, algorithms))
}

/// The key itself. `oct` is not among them: whoever can read a JWKS could sign with such a key.
fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    let bytes = |text: &Option<String>| BASE64URL_NOPAD.decode(text.as_ref()?.as_bytes()).ok();
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => PublicKey::rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?),
        ("EC", Some("P-256")) => PublicKey::ec(KeyKind::P256, &bytes(&jwk.x)?, &bytes(&jwk.y)?),
        ("EC", Some("P-384")) => PublicKey::ec(KeyKind::P384, &bytes(&jwk.x)?, &bytes(&jwk.y)?),
        ("OKP", Some("Ed25519")) => PublicKey::ed25519(&bytes(&jwk.x)?),
        _ => return None,
    };
    key.ok()
}
