//! Where do we listen and how do we behave as a service? Address, logs, CORS, page, metrics, shutdown.

use super::env::Vars;

/// Where to listen and how to behave as a service.
#[derive(Debug)]
pub struct ServiceConfig {}

impl ServiceConfig {
    pub(super) fn from_vars(_vars: &Vars<'_>) -> Self {
        Self {}
    }
}
