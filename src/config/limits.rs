//! How often, and how much at once? The settings of the limits.

use super::env::Vars;

/// How often, and how much at once.
#[derive(Debug)]
pub struct LimitsConfig {}

impl LimitsConfig {
    pub(super) fn from_vars(_vars: &Vars<'_>) -> Self {
        Self {}
    }
}
