//! What does self-hosted mode need? Where threads and files are kept, what signs client secrets, and who answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::agents::{Agents, Defaults, Endpoint, ModelApi};
use super::env::{Secret, Vars};
use super::features::{History, file_upload, history, thread_titles};
use super::upstream::UpstreamConfig;

/// No key of ours is shorter.
const LEAST_KEY_BYTES: usize = 32;
const MEBIBYTE: u64 = 1024 * 1024;

/// What self-hosted mode needs.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct SelfHostedConfig {
    /// `DATABASE_URL`: starts with `sqlite:` or `postgres:` (`postgresql:`), and may hold a password.
    pub database_url: Secret,
    /// `CHATKIT_SIGNING_KEY`: one or more of 32 bytes or more each. The first signs, all verify.
    pub signing_keys: Vec<Secret>,
    /// `CHATKIT_AGENTS`, or the agent of `CHATKIT_MODEL`.
    pub agents: Arc<Agents>,
    /// What becomes of uploads.
    pub uploads: UploadsConfig,
    /// `CHATKIT_HISTORY`: on by default.
    pub history: History,
    /// `CHATKIT_RETENTION_DAYS`: threads untouched for longer are deleted; `None` keeps them.
    pub retention: Option<Duration>,
    /// `CHATKIT_ON_DISCONNECT`: what becomes of an answer whose reader has left.
    pub on_disconnect: OnDisconnect,
    /// `CHATKIT_DOMAIN_KEY`: handed to the page.
    pub domain_key: String,
}

/// What becomes of uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsConfig {
    /// Whether there are any: on, unless `CHATKIT_FILE_UPLOAD` is `off`.
    pub enabled: bool,
    /// `CHATKIT_UPLOADS_DIR`: `data/uploads` by default. It need not exist yet.
    pub dir: PathBuf,
    /// The largest file in bytes: `CHATKIT_UPLOAD_MAX_BYTES` (20 MiB by default), or `max_file_size_mb` of
    /// `CHATKIT_FILE_UPLOAD` if that is less.
    pub max_bytes: u64,
    /// Files in one message, 1 or more: `max_files` of `CHATKIT_FILE_UPLOAD`.
    pub max_files: Option<u32>,
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
        let api = vars.or("CHATKIT_MODEL_API", ModelApi::Responses, ModelApi::EXPECTED, ModelApi::parse);
        let endpoint = Endpoint { base_url: upstream.base.clone(), api_key: upstream.api_key.clone(), api };
        let defaults = Defaults { endpoint, titles: thread_titles(vars).unwrap_or(true) };
        let days = vars.number("CHATKIT_RETENTION_DAYS", 0, 0..=36_500);
        Self {
            database_url: database_url(vars),
            signing_keys: signing_keys(vars),
            agents: Arc::new(Agents::from_vars(vars, &defaults)),
            uploads: uploads(vars),
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
        Some(("postgres" | "postgresql", rest)) => rest.starts_with("//") && Url::parse(text).is_ok(),
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
    let keys: Vec<&str> = list.expose().split(',').map(str::trim).filter(|key| !key.is_empty()).collect();
    if keys.is_empty() || keys.iter().any(|key| key.len() < LEAST_KEY_BYTES) {
        let expected = "must be one key of 32 bytes or more, or several with commas between them: \
                        `openssl rand -hex 32` makes one";
        vars.problem(NAME, expected);
    }
    let of_users = vars.secret("JWT_SECRET");
    if of_users.is_some_and(|secret| keys.contains(&secret.expose())) {
        vars.problem(NAME, "must not be JWT_SECRET: whoever signs users in could sign client secrets too");
    }
    keys.into_iter().map(Secret::new).collect()
}

fn uploads(vars: &Vars<'_>) -> UploadsConfig {
    let max_bytes = vars.number("CHATKIT_UPLOAD_MAX_BYTES", 20 * MEBIBYTE, 1..=512 * MEBIBYTE);
    let asked = file_upload(vars);
    let megabytes = asked.and_then(|upload| upload.max_file_size_mb);
    UploadsConfig {
        enabled: asked.is_none_or(|upload| upload.enabled),
        dir: vars.text("CHATKIT_UPLOADS_DIR").map_or_else(|| PathBuf::from("data/uploads"), PathBuf::from),
        max_bytes: megabytes.map_or(max_bytes, |megabytes| max_bytes.min(u64::from(megabytes) * MEBIBYTE)),
        max_files: asked.and_then(|upload| upload.max_files),
    }
}
