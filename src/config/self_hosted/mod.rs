//! What does self-hosted mode need? Where threads and files are kept, what signs client secrets,
//! and who answers.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::agents::{Agents, Defaults, Endpoint, ModelApi};
use super::bounds::Bounds;
use super::env::{Secret, Vars};
use super::features::{Dictation, History, dictation, history, thread_titles};
pub use super::uploads::UploadsConfig;
use super::uploads::uploads;
use super::upstream::UpstreamConfig;

/// No key of ours is shorter.
const LEAST_KEY_BYTES: usize = 32;

/// What self-hosted mode needs.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct SelfHostedConfig {
    /// `DATABASE_URL`: starts with `sqlite:` or `postgres:` (`postgresql:`), and may hold a
    /// password.
    pub database_url: Secret,
    /// `CHATKIT_SIGNING_KEY`: one or more of 32 bytes or more each. The first signs, all verify.
    pub signing_keys: Vec<Secret>,
    /// `CHATKIT_AGENTS`, or the agent of `CHATKIT_MODEL`.
    pub agents: Arc<Agents>,
    /// What becomes of uploads.
    pub uploads: UploadsConfig,
    /// Whether speech is turned into text.
    pub dictation: Dictation,
    /// What bounds one user.
    pub bounds: Bounds,
    /// `CHATKIT_HISTORY`: on by default.
    pub history: History,
    /// `CHATKIT_RETENTION_DAYS`: threads untouched for longer are deleted; `None` keeps them.
    pub retention: Option<Duration>,
    /// `CHATKIT_ON_DISCONNECT`: what becomes of an answer whose reader has left.
    pub on_disconnect: OnDisconnect,
    /// `CHATKIT_DOMAIN_KEY`: handed to the page.
    pub domain_key: String,
}

/// What becomes of an answer whose reader has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The model is stopped, and what it said is kept.
    Cancel,
    /// The answer runs to its end, and is there on the next load.
    Finish,
}

impl SelfHostedConfig {
    pub(super) fn from_vars(vars: &Vars<'_>, upstream: &UpstreamConfig) -> Self {
        let api =
            vars.or("CHATKIT_MODEL_API", ModelApi::Responses, ModelApi::EXPECTED, ModelApi::parse);
        let endpoint =
            Endpoint { base_url: upstream.base.clone(), api_key: upstream.api_key.clone(), api };
        let defaults = Defaults { endpoint, titles: thread_titles(vars).unwrap_or(true) };
        let days = vars.number("CHATKIT_RETENTION_DAYS", 0, 0..=36_500);
        Self {
            database_url: database_url(vars),
            signing_keys: signing_keys(vars),
            agents: Arc::new(Agents::from_vars(vars, &defaults)),
            uploads: uploads(vars),
            dictation: dictation(vars),
            bounds: Bounds::from_vars(vars),
            history: history(vars).unwrap_or(History { enabled: true, recent_threads: None }),
            retention: (days > 0).then(|| Duration::from_secs(days * 24 * 60 * 60)),
            on_disconnect: vars.or(
                "CHATKIT_ON_DISCONNECT",
                OnDisconnect::Cancel,
                "`cancel` or `finish`",
                |text| match text {
                    "cancel" => Some(OnDisconnect::Cancel),
                    "finish" => Some(OnDisconnect::Finish),
                    _ => None,
                },
            ),
            domain_key: vars.or(
                "CHATKIT_DOMAIN_KEY",
                "domain_pk_localhost_dev".to_owned(),
                "visible ASCII characters without spaces, like `domain_pk_…`",
                |key| key.bytes().all(|byte| byte.is_ascii_graphic()).then(|| key.to_owned()),
            ),
        }
    }
}

fn database_url(vars: &Vars<'_>) -> Secret {
    const NAME: &str = "DATABASE_URL";
    let url = vars.secret(NAME).unwrap_or_else(|| Secret::new("sqlite://data/chatkit.db"));
    if !is_database_url(url.expose()) {
        let expected = "must look like sqlite://data/chatkit.db, sqlite::memory: or \
                        postgres://user:password@host:5432/name";
        vars.problem(NAME, expected);
    }
    url
}

fn is_database_url(text: &str) -> bool {
    match text.split_once(':') {
        Some(("sqlite", ":memory:")) => true,
        Some(("sqlite", rest)) => rest.strip_prefix("//").is_some_and(|path| !path.is_empty()),
        Some(("postgres" | "postgresql", rest)) => {
            rest.starts_with("//") && Url::parse(text).is_ok()
        }
        _ => false,
    }
}

fn signing_keys(vars: &Vars<'_>) -> Vec<Secret> {
    const NAME: &str = "CHATKIT_SIGNING_KEY";
    let Some(list) = vars.secret(NAME) else {
        if !vars.is_blamed(NAME) {
            vars.problem(NAME, "is required: 32 bytes or more, `openssl rand -hex 32` makes one");
        }
        return Vec::new();
    };
    let keys: Vec<&str> =
        list.expose().split(',').map(str::trim).filter(|key| !key.is_empty()).collect();
    if keys.is_empty() || keys.iter().any(|key| key.len() < LEAST_KEY_BYTES) {
        let expected = "must be one key of 32 bytes or more, or several with commas between them: \
                        `openssl rand -hex 32` makes one";
        vars.problem(NAME, expected);
    }
    let of_users = vars.secret("JWT_SECRET");
    if of_users.is_some_and(|secret| keys.contains(&secret.expose())) {
        vars.problem(
            NAME,
            "must not be JWT_SECRET: whoever signs users in could sign client secrets too",
        );
    }
    keys.into_iter().map(Secret::new).collect()
}

#[cfg(test)]
mod tests;
