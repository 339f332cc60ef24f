//! `check`: reads the configuration and reaches everything it names; a line each, with what to do.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Failure, check_chat, config, say};
use crate::auth::Authenticator;
use crate::clock::{Clock, SystemClock};
use crate::config::env::{Environment, Secret};
use crate::config::hosted::HostedConfig;
use crate::config::{Config, Mode};
use crate::error::{self, Kind};
use crate::redis_link::{RedisLink, Unusable};
use crate::sessions::hosted::HostedMint;
use crate::sessions::mint::{self, Mint, MintRequest};
use crate::sessions::registry::LocalRegistry;
use crate::sessions::workflows::Workflows;
use crate::telemetry::metrics::Metrics;
use crate::upstream::sessions::SessionsApi;
use crate::upstream::{self, Call, Client, Deadline};
use crate::user::UserId;

/// The user for whom a session is minted, and cancelled, to see whether OpenAI answers.
const CHECK_USER: &str = "chatkit-server-check";

/// How long the keys of an issuer may take.
const KEYS_DEADLINE: Duration = Duration::from_secs(10);

/// What to do when no HTTP client can be built.
pub(super) const CLIENT_STEP: &str = "check HTTPS_PROXY, and that this machine has CA certificates";

/// Says a line for each thing that is named, and fails if any failed.
pub(super) async fn check(vars: &Environment) -> Result<(), Failure> {
    let config = config(vars)?;
    super::print_warnings(&super::warnings(vars, &config));
    say("ok      configuration: every variable can be used")?;
    let (metrics, _) = Metrics::new(config.limits.redis_url.is_some());
    let mut tally = Tally::default();
    match &config.mode {
        Mode::Hosted(hosted) => tally.report("OpenAI", openai(&config, hosted, &metrics).await)?,
        Mode::SelfHosted(own) => {
            tally.report("database", check_chat::database(own).await)?;
            for (what, outcome) in check_chat::models(&config, own, &metrics).await {
                tally.report(&what, outcome)?;
            }
            tally.report("uploads", check_chat::uploads(own).await)?;
        }
    }
    tally.report("keys", keys(&config, &metrics).await)?;
    if let Some(url) = &config.limits.redis_url {
        tally.report("Redis", redis(url, &metrics).await)?;
    }
    match tally {
        Tally { is_unreached: true, .. } => {
            Err(Failure::Work(anyhow!("not everything can be reached")))
        }
        Tally { has_failed: true, .. } => {
            Err(Failure::Work(anyhow!("not everything that is configured can be used")))
        }
        Tally { .. } => Ok(()),
    }
}

/// Why something can't be used, and which variables to change how.
pub(super) struct Fault {
    cause: String,
    step: &'static str,
    /// Whether nothing answered.
    is_unreached: bool,
}

impl Fault {
    pub(super) fn new(cause: impl Display, step: &'static str) -> Self {
        Self { cause: cause.to_string(), step, is_unreached: false }
    }

    /// The same, naming whose it is.
    pub(super) fn of(self, whose: &str) -> Self {
        Self { cause: format!("{} ({whose})", self.cause), ..self }
    }

    /// The same where nothing answered.
    pub(super) fn unreached(cause: impl Display, step: &'static str) -> Self {
        Self { is_unreached: true, ..Self::new(cause, step) }
    }
}

/// What was found so far.
#[derive(Default)]
struct Tally {
    has_failed: bool,
    is_unreached: bool,
}

impl Tally {
    /// Says how one thing went.
    fn report(&mut self, what: &str, outcome: Result<String, Fault>) -> Result<(), Failure> {
        match outcome {
            Ok(text) => say(format_args!("ok      {what}: {text}")),
            Err(Fault { cause, step, is_unreached }) => {
                self.has_failed = true;
                self.is_unreached |= is_unreached;
                say(format_args!("FAILED  {what}: {cause}; what to do: {step}"))
            }
        }
    }
}

/// Mints a session with the default workflow and cancels it.
async fn openai(
    config: &Config,
    hosted: &HostedConfig,
    metrics: &Metrics,
) -> Result<String, Fault> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let client = Client::new(&config.upstream, Arc::clone(&clock), metrics.clone());
    let client = client.map_err(|error| Fault::new(error, CLIENT_STEP))?;
    let registry = Arc::new(LocalRegistry::new(1, Arc::clone(&clock), metrics));
    let mint = HostedMint::new(
        SessionsApi::new(client),
        hosted,
        config.session_ttl_seconds,
        registry,
        clock,
    );
    let workflows = Workflows::new(hosted);
    let workflow = workflows.choose(None, None);
    let workflow =
        workflow.map_err(|error| Fault::new(error.log_text(), "check CHATKIT_WORKFLOW_ID"))?;
    let user = UserId::parse(CHECK_USER);
    let user =
        user.ok_or_else(|| Fault::new("the check's own user is none", "report it as a bug"))?;
    let call = || Call { deadline: Deadline::after(config.upstream.timeout), request: None };
    let fault = |error| match error {
        mint::Error::Upstream(error) => {
            let is_unreached =
                matches!(error, upstream::Error::Timeout | upstream::Error::Unreachable(_));
            let fault = Fault::new(error::Error::from(&error).log_text(), openai_step(&error));
            Fault { is_unreached, ..fault }
        }
        error @ (mint::Error::Unsigned(_) | mint::Error::Store(_)) => {
            Fault::new(error, "report it as a bug")
        }
    };
    let request = MintRequest { user: &user, claims: None, workflow };
    mint.mint(request, call()).await.map_err(fault)?;
    mint.cancel_all(&user, call()).await.map_err(fault)?;
    Ok(format!("a session of {} was minted and cancelled", workflow.id))
}

/// What to change after this failure at OpenAI.
fn openai_step(error: &upstream::Error) -> &'static str {
    let status = match error {
        upstream::Error::Refused(refusal) => refusal.status.as_u16(),
        upstream::Error::Timeout
        | upstream::Error::Unreachable(_)
        | upstream::Error::Invalid(_) => 0,
    };
    match (error.kind(), status) {
        (Kind::UpstreamAuthFailed, _) => {
            "set OPENAI_API_KEY to a valid key of the project that holds the workflow, for the \
             server that CHATKIT_API_BASE names"
        }
        (Kind::UpstreamRejected, 404 | 410) => {
            "set CHATKIT_WORKFLOW_ID to a workflow of the project that OPENAI_API_KEY belongs to"
        }
        (Kind::UpstreamRejected, 400 | 422) => {
            "check CHATKIT_WORKFLOW_ID, CHATKIT_WORKFLOW_VERSION and the other CHATKIT_ variables \
             of a session"
        }
        (Kind::UpstreamQuotaExhausted, _) => {
            "add credit to the account that OPENAI_API_KEY belongs to, or raise its spending limit"
        }
        (Kind::UpstreamRateLimited, _) => {
            "wait a minute and check again; if it stays, raise the limits of the project that \
             OPENAI_API_KEY belongs to"
        }
        (Kind::UpstreamTimeout, _) => {
            "see that this machine reaches CHATKIT_API_BASE (unset: https://api.openai.com), \
             through HTTPS_PROXY if it needs one, or raise UPSTREAM_TIMEOUT_SECONDS"
        }
        (Kind::UpstreamUnavailable, _) => {
            "see that this machine reaches CHATKIT_API_BASE (unset: https://api.openai.com), \
             through HTTPS_PROXY if it needs one"
        }
        _ => "set CHATKIT_API_BASE to a server with OpenAI's API, or leave it unset",
    }
}

/// Waits until every source of keys has some.
async fn keys(config: &Config, metrics: &Metrics) -> Result<String, Fault> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let authenticator = Authenticator::new(
        &config.auth,
        Arc::new(SystemClock),
        metrics.clone(),
        &tasks,
        stop.clone(),
    );
    let authenticator = authenticator.map_err(|error| Fault::new(error, CLIENT_STEP))?;
    let auth = &config.auth;
    let here =
        [(auth.jwt_secret.is_some(), "JWT_SECRET"), (auth.public_key.is_some(), "JWT_PUBLIC_KEY")];
    let here = here.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name.to_owned());
    let mut is_unreached = false;
    let (mut found, mut failed) = (here.collect::<Vec<_>>(), Vec::new());
    for (source, keys) in authenticator.first_keys(KEYS_DEADLINE).await {
        match keys {
            Ok(1) => found.push(format!("1 key from {source}")),
            Ok(keys) => found.push(format!("{keys} keys from {source}")),
            Err(error) => {
                let is_away = ["it could not be reached", "it has not answered"];
                is_unreached |= is_away.iter().any(|start| error.starts_with(start));
                failed.push(format!("{source}: {error}"));
            }
        }
    }
    stop.cancel();
    if failed.is_empty() && found.is_empty() {
        return Ok(
            "no token of a user is taken: visitors or service tokens alone come in".to_owned()
        );
    }
    if failed.is_empty() {
        return Ok(format!("tokens of users are checked with {}", found.join(", ")));
    }
    let step = if config.auth.jwks_url.is_some() {
        "set JWKS_URL to the address of a set of RSA, EC or Ed25519 public keys that this machine \
         reaches"
    } else {
        "set JWT_ISSUER to issuers whose OpenID configuration and keys this machine reaches, or \
         JWKS_URL to their keys"
    };
    Err(Fault { is_unreached, ..Fault::new(failed.join(", "), step) })
}

async fn redis(url: &Secret, metrics: &Metrics) -> Result<String, Fault> {
    let step = "set REDIS_URL to the address of a Redis that this machine reaches, with its user \
                name and password";
    let link = RedisLink::new(url, metrics).map_err(|error| Fault::new(error, step))?;
    let fault = |error: Unusable| Fault { is_unreached: error.is_away, ..Fault::new(error, step) };
    link.ping().await.map_err(fault)?;
    Ok("it answers".to_owned())
}
