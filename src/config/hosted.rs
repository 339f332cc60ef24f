//! What is asked of OpenAI? The settings of hosted sessions and of the way to the upstream.

use super::env::Vars;

/// What is asked of OpenAI.
#[derive(Debug)]
pub struct HostedConfig {}

impl HostedConfig {
    pub(super) fn from_vars(_vars: &Vars<'_>) -> Self {
        Self {}
    }
}
