//! Who may ask? The settings of user tokens, visitors and service tokens.

use super::env::Vars;

/// Who may ask.
#[derive(Debug)]
pub struct AuthConfig {}

impl AuthConfig {
    pub(super) fn from_vars(_vars: &Vars<'_>) -> Self {
        Self {}
    }
}
