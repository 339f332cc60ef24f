//! Which server is this? Service tokens are known by their SHA-256 alone, and compared in constant
//! time.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

use super::error::Error;
use crate::config::auth::ServiceToken;
use crate::ids::random_hex;

/// What every service token starts with, so that it is not taken for a JWT, and is found by secret
/// scanners.
pub(super) const PREFIX: &str = "cks_";

/// The services that may ask.
#[derive(Debug)]
pub(super) struct Services(Vec<ServiceToken>);

impl Services {
    pub(super) fn new(tokens: &[ServiceToken]) -> Self {
        Self(tokens.to_vec())
    }

    /// Whether no service may call.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the service whose token this is. Every entry is compared, whichever fits.
    pub(super) fn name_of(&self, token: &str) -> Option<Arc<str>> {
        if !token.starts_with(PREFIX) {
            return None;
        }
        let seen = digest(&SHA256, token.as_bytes());
        let mut found = None;
        for entry in &self.0 {
            if verify_slices_are_equal(&entry.digest, seen.as_ref()).is_ok() {
                found = Some(&entry.name);
            }
        }
        found.cloned()
    }
}

/// Makes a service token of 256 random bits, to be shown once, and the entry for `SERVICE_TOKENS`
/// that lets it in.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_service_token(name: &str) -> Result<(String, String), Error> {
    let token = format!("{PREFIX}{}", random_hex::<32>());
    let entry = format!("{name}:{}", HEXLOWER.encode(digest(&SHA256, token.as_bytes()).as_ref()));
    Ok((token, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, token: &str) -> ServiceToken {
        let digest = digest(&SHA256, token.as_bytes()).as_ref().try_into().unwrap();
        ServiceToken { name: name.into(), digest }
    }

    #[test]
    fn a_service_is_known_by_its_whole_token() {
        let services = Services::new(&[
            entry("shop", "cks_one"),
            entry("blog", "cks_two"),
            entry("odd", "plain"),
        ]);
        assert_eq!(services.name_of("cks_one").as_deref(), Some("shop"));
        assert_eq!(services.name_of("cks_two").as_deref(), Some("blog"));
        for unknown in ["cks_", "cks_on", "cks_one ", "CKS_one", "cks_three", "plain", ""] {
            assert_eq!(services.name_of(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn a_new_token_is_let_in_by_the_entry_that_comes_with_it() {
        let (token, entry) = new_service_token("shop").unwrap();
        assert_eq!(token.len(), PREFIX.len() + 64, "256 bits in hex");
        assert!(!entry.contains(&token[4..]), "the entry does not hold the token");
        let lookup = |name: &str| (name == "SERVICE_TOKENS").then(|| entry.clone());
        let vars = crate::config::env::Vars::new(&lookup);
        let config = crate::config::auth::AuthConfig::from_vars(&vars);
        assert_eq!(vars.into_problems(), []);
        assert_eq!(Services::new(&config.service_tokens).name_of(&token).as_deref(), Some("shop"));
        assert_ne!(new_service_token("shop").unwrap().0, token, "no two are the same");
    }
}
