//! Which key made this signature? Every key is bound to the algorithms that it may verify: the
//! token's own word picks among them and adds none. HMAC keys are `JWT_SECRET` and, under `dev`,
//! the key of the run, and come from nowhere else.

use std::sync::Arc;

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

use super::claims::Unverified;
use super::error::{Error, Flaw};
use super::source::Source;
use crate::config::auth::AuthConfig;
use crate::config::env::Secret;
use crate::config::public_key::PublicKey;

/// How many keys are tried for one token: a token without `kid` must not make us try hundreds.
const MAX_TRIES: usize = 16;

/// How the key of this run signs.
pub(super) const RUN_ALGORITHM: Algorithm = Algorithm::HS256;

/// One key, prepared, with what it may verify.
#[derive(Debug)]
pub(super) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    verifying: DecodingKey,
}

impl Key {
    /// A shared key that verifies these algorithms.
    fn hmac(secret: &Secret, algorithms: Vec<Algorithm>) -> Self {
        Self {
            kid: None,
            algorithms,
            verifying: DecodingKey::from_secret(secret.expose().as_bytes()),
        }
    }

    /// A public key that verifies these algorithms.
    pub(super) fn public(key: &PublicKey, kid: Option<String>, algorithms: Vec<Algorithm>) -> Self {
        Self { kid, algorithms, verifying: key.verifying().clone() }
    }

    /// Whether the key may have made the token's signature: it has the token's `kid` (if both have
    /// one), and does the token's algorithm.
    fn fits(&self, token: &Unverified<'_>) -> bool {
        let named = match (&self.kid, &token.kid) {
            (Some(own), Some(wanted)) => own == wanted,
            (None, _) | (_, None) => true,
        };
        named && self.algorithms.contains(&token.algorithm)
    }

    fn verifies(&self, token: &Unverified<'_>) -> bool {
        // The provider is named rather than looked up: the library's own look-up panics when
        // another crate switches on its second backend.
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&token.algorithm, &self.verifying);
        verifier.is_ok_and(|verifier| verifier.verify(token.message, &token.signature).is_ok())
    }
}

/// The keys of one source, at one time.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

/// What came of trying a set's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// One of them made the signature.
    Verified,
    /// None of them did.
    Wrong,
    /// None of them did, and none has the `kid` that the token names: a newer set may have it.
    UnknownKid,
}

impl KeySet {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn verify(&self, token: &Unverified<'_>) -> Tried {
        if self
            .0
            .iter()
            .filter(|key| key.fits(token))
            .take(MAX_TRIES)
            .any(|key| key.verifies(token))
        {
            return Tried::Verified;
        }
        let is_known = |kid: &String| self.0.iter().any(|key| key.kid.as_ref() == Some(kid));
        match &token.kid {
            Some(kid) if !is_known(kid) => Tried::UnknownKid,
            Some(_) | None => Tried::Wrong,
        }
    }
}

/// Every key that may verify a user's token.
#[derive(Debug)]
pub(super) struct KeyRing {
    /// The key of this run.
    run: Option<Key>,
    fixed: KeySet,
    sources: Vec<Arc<Source>>,
    allowed: Option<Vec<Algorithm>>,
}

impl KeyRing {
    pub(super) fn new(config: &AuthConfig, sources: Vec<Arc<Source>>) -> Self {
        let mut fixed = Vec::new();
        if let Some(secret) = &config.jwt_secret {
            fixed.push(Key::hmac(secret, config.hmac_algorithms().collect()));
        }
        let run = config.run_key.as_ref().map(|secret| Key::hmac(secret, vec![RUN_ALGORITHM]));
        if let Some(key) = &config.public_key {
            let algorithms =
                key.kind().algorithms().iter().copied().filter(|a| config.allows(*a)).collect();
            fixed.push(Key::public(key, None, algorithms));
        }
        Self { run, fixed: KeySet(fixed), sources, allowed: config.algorithms.clone() }
    }

    /// The sources that are fetched.
    pub(super) fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }

    /// Whether a token can be verified although no key was fetched.
    pub(super) fn has_run_key(&self) -> bool {
        self.run.is_some()
    }

    /// Verifies the token's signature; waits for keys that are being fetched, never for long.
    pub(super) async fn verify(&self, token: &Unverified<'_>) -> Result<(), Error> {
        // `JWT_ALGORITHMS` is about the configured keys.
        if self.run.as_ref().is_some_and(|key| key.fits(token) && key.verifies(token)) {
            return Ok(());
        }
        if !self.may_use(token.algorithm) {
            return Err(Flaw::Algorithm.into());
        }
        if self.fixed.verify(token) == Tried::Verified {
            return Ok(());
        }
        if self.sources.is_empty() || token.algorithm.family() == AlgorithmFamily::Hmac {
            return Err(Flaw::Signature.into());
        }
        self.source_for(token).ok_or(Flaw::Issuer)?.verify(token).await
    }

    /// Whether any key could ever verify this algorithm, and it is allowed.
    fn may_use(&self, algorithm: Algorithm) -> bool {
        let allowed = self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&algorithm));
        let fetched = !self.sources.is_empty() && algorithm.family() != AlgorithmFamily::Hmac;
        allowed && (fetched || self.fixed.0.iter().any(|key| key.algorithms.contains(&algorithm)))
    }

    /// The source whose keys count for this token: those of an issuer count for its own tokens
    /// alone, so that no issuer can speak for another.
    fn source_for(&self, token: &Unverified<'_>) -> Option<&Arc<Source>> {
        if let Some(shared) = self.sources.iter().find(|source| source.issuer().is_none()) {
            return Some(shared);
        }
        let issuer = token.claimed_issuer()?;
        self.sources.iter().find(|source| source.issuer() == Some(&issuer))
    }
}
