//! What may be set? [`Config::from_vars`] turns variables into a [`Config`] that cannot be wrong, or into every problem
//! that it found. It is pure: it never touches the process environment.

pub mod auth;
pub mod env;
pub mod hosted;
pub mod limits;
pub mod origins;
pub mod public_key;
pub mod service;
pub mod upstream;
pub mod variables;

use std::sync::Arc;

use env::{Problem, Vars};

/// The whole configuration, one struct a subject.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct Config {
    /// Where to listen and how to behave as a service.
    pub service: service::ServiceConfig,
    /// Who may ask.
    pub auth: Arc<auth::AuthConfig>,
    /// How often, and how much at once.
    pub limits: limits::LimitsConfig,
    /// What is asked of OpenAI.
    pub hosted: hosted::HostedConfig,
}

impl Config {
    /// Reads all variables.
    ///
    /// # Errors
    /// Every problem found, in the order of the subjects.
    pub fn from_vars(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let vars = Vars::new(lookup);
        let config = Self::read(&vars);
        let problems = vars.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Reads all variables; what is wrong with them is noted in `vars`, and then the result must not be used.
    #[must_use]
    pub fn read(vars: &Vars<'_>) -> Self {
        Self {
            service: service::ServiceConfig::from_vars(vars),
            auth: Arc::new(auth::AuthConfig::from_vars(vars)),
            limits: limits::LimitsConfig::from_vars(vars),
            hosted: hosted::HostedConfig::from_vars(vars),
        }
    }
}
