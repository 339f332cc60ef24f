//! What may be set? [`Config::from_vars`] turns variables into a [`Config`] that cannot be wrong,
//! or into every problem that it found. It is pure: it never touches the process environment.

pub mod agents;
mod agents_file;
pub mod auth;
pub mod bounds;
pub mod env;
pub mod features;
mod fields;
pub mod hosted;
pub mod limits;
pub mod origins;
pub mod public_key;
pub mod self_hosted;
pub mod service;
mod uploads;
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
    /// How OpenAI, or a model's server, is reached.
    pub upstream: upstream::UpstreamConfig,
    /// `CHATKIT_SESSION_TTL_SECONDS`: a session's life, 1 to 600 in hosted mode and 60 to 3600 in
    /// self-hosted mode.
    pub session_ttl_seconds: u64,
    /// Who runs the chat, and what only that needs.
    pub mode: Mode,
}

/// `CHATKIT_MODE`: who runs the chat. The variables of the other mode are not read. Where it is
/// unset, a workflow means hosted mode, and everything else self-hosted mode.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub enum Mode {
    /// OpenAI runs a workflow.
    Hosted(hosted::HostedConfig),
    /// This service speaks the ChatKit protocol itself.
    SelfHosted(Box<self_hosted::SelfHostedConfig>),
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

    /// Reads all variables; what is wrong with them is noted in `vars`, and then the result must
    /// not be used.
    #[must_use]
    pub fn read(vars: &Vars<'_>) -> Self {
        Self::with_run_key(vars, None)
    }

    /// The same with a key of this run, whose tokens are good beside those of the configured keys.
    pub(crate) fn with_run_key(vars: &Vars<'_>, run_key: Option<env::Secret>) -> Self {
        // What is wrong with the variables of a mode is told once it is clear which mode is meant.
        let unheard = vars.unheard();
        let (upstream, session_ttl_seconds, mode) = match choose_mode(vars) {
            Choice::SelfHosted => read_self_hosted(vars),
            Choice::Unclear => read_self_hosted(&unheard),
            Choice::Hosted => {
                let upstream = upstream::UpstreamConfig::of_hosted(vars);
                // OpenAI's ceiling.
                (
                    upstream,
                    session_ttl(vars, 1..=600),
                    Mode::Hosted(hosted::HostedConfig::from_vars(vars)),
                )
            }
        };
        Self {
            service: service::ServiceConfig::from_vars(vars),
            auth: Arc::new(auth::AuthConfig::with_run_key(vars, run_key)),
            limits: limits::LimitsConfig::from_vars(vars, matches!(mode, Mode::Hosted(_))),
            upstream,
            session_ttl_seconds,
            mode,
        }
    }

    /// What is allowed and yet probably not meant, a line each, for the log at the start.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.upstream.warnings.clone();
        if let Mode::SelfHosted(own) = &self.mode {
            warnings.extend(own.agents.by_name.values().flat_map(|agent| agent.setting_warnings()));
            warnings
                .extend(own.agents.by_name.values().flat_map(|agent| agent.approval_warnings()));
            for agent in own
                .agents
                .by_name
                .values()
                .filter(|agent| agent.endpoint.base_url != self.upstream.base)
            {
                let name = format!("base_url of the agent {}", agent.name);
                warnings.extend(upstream::plain_http_warning(&name, &agent.endpoint.base_url));
                warnings.extend(self.lent_key_warning(agent));
            }
        }
        warnings
    }

    /// The key of one server goes to another.
    fn lent_key_warning(&self, agent: &agents::AgentConfig) -> Option<String> {
        let (own, lent) = (agent.endpoint.api_key.as_ref()?, self.upstream.api_key.as_ref()?);
        let host = agent.endpoint.base_url.host_str()?;
        let is_lent = own.expose() == lent.expose() && self.upstream.base.host_str() != Some(host);
        let name = &agent.name;
        is_lent.then(|| {
            format!(
                "the agent {name} sends OPENAI_API_KEY to {host}; api_key_env names a key of \
                     its own"
            )
        })
    }
}

/// Which mode the variables mean.
enum Choice {
    Hosted,
    SelfHosted,
    /// The problem is noted.
    Unclear,
}

fn choose_mode(vars: &Vars<'_>) -> Choice {
    const NAME: &str = "CHATKIT_MODE";
    let named = vars.optional(NAME, "`hosted` or `self-hosted`", |mode| match mode {
        "hosted" => Some(Choice::Hosted),
        "self-hosted" => Some(Choice::SelfHosted),
        _ => None,
    });
    if let Some(choice) = named {
        return choice;
    }
    let is_set = |name: &&str| vars.text(name).is_some() || vars.is_blamed(name);
    let workflow = ["CHATKIT_WORKFLOW_ID", "WORKFLOW_ID"].iter().find(|name| is_set(name));
    let model = ["CHATKIT_AGENTS", "CHATKIT_MODEL"].iter().find(|name| is_set(name));
    let is_bad = vars.is_blamed(NAME);
    match (workflow, model) {
        (Some(workflow), Some(model)) => {
            if !is_bad {
                let expected = format!(
                    "must be set, because {workflow} and {model} are both: `hosted` for a workflow \
                     at OpenAI, `self-hosted` for a model"
                );
                vars.problem(NAME, expected);
            }
            Choice::Unclear
        }
        (Some(_), None) => Choice::Hosted,
        (None, None) if is_bad => Choice::Unclear,
        (None, _) => Choice::SelfHosted,
    }
}

fn read_self_hosted(vars: &Vars<'_>) -> (upstream::UpstreamConfig, u64, Mode) {
    let upstream = upstream::UpstreamConfig::of_self_hosted(vars);
    let mode =
        Mode::SelfHosted(Box::new(self_hosted::SelfHostedConfig::from_vars(vars, &upstream)));
    (upstream, session_ttl(vars, 60..=3600), mode)
}

fn session_ttl(vars: &Vars<'_>, bounds: std::ops::RangeInclusive<u64>) -> u64 {
    vars.number("CHATKIT_SESSION_TTL_SECONDS", 600, bounds)
}
