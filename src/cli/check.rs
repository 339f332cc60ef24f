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
use crate::redis_link::RedisLink;
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
    let mut failed = false;
    match &config.mode {
        Mode::Hosted(hosted) => failed |= report("OpenAI", openai(&config, hosted, &metrics).await)?,
        Mode::SelfHosted(own) => {
            failed |= report("database", check_chat::database(own).await)?;
            for (what, outcome) in check_chat::models(&config, own, &metrics).await {
                failed |= report(&what, outcome)?;
            }
        }
    }
    failed |= report("keys", keys(&config, &metrics).await)?;
    if let Some(url) = &config.limits.redis_url {
        failed |= report("Redis", redis(url, &metrics).await)?;
    }
    if failed { Err(Failure::Work(anyhow!("not everything can be reached"))) } else { Ok(()) }
}

/// Why something can't be used, and which variables to change how.
pub(super) struct Fault {
    cause: String,
    step: &'static str,
}

impl Fault {
    pub(super) fn new(cause: impl Display, step: &'static str) -> Self {
        Self { cause: cause.to_string(), step }
    }
}

/// Says how one thing went; returns whether it failed.
fn report(what: &str, outcome: Result<String, Fault>) -> Result<bool, Failure> {
    match outcome {
        Ok(text) => say(format_args!("ok      {what}: {text}")).map(|()| false),
        Err(Fault { cause, step }) => {
            say(format_args!("FAILED  {what}: {cause}; what to do: {step}")).map(|()| true)
        }
    }
}

/// Mints a session with the default workflow and cancels it.
async fn openai(config: &Config, hosted: &HostedConfig, metrics: &Metrics) -> Result<String, Fault> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let client = Client::new(&config.upstream, Arc::clone(&clock), metrics.clone());
    let client = client.map_err(|error| Fault::new(error, CLIENT_STEP))?;
    let registry = Arc::new(LocalRegistry::new(1, Arc::clone(&clock), metrics));
    let mint = HostedMint::new(SessionsApi::new(client), hosted, config.session_ttl_seconds, registry, clock);
    let workflows = Workflows::new(hosted);
    let workflow = workflows.choose(None, None);
    let workflow = workflow.map_err(|error| Fault::new(error.log_text(), "check CHATKIT_WORKFLOW_ID"))?;
    let user = UserId::parse(CHECK_USER);
    let user = user.ok_or_else(|| Fault::new("the check's own user is none", "report it as a bug"))?;
    let call = || Call { deadline: Deadline::after(config.upstream.timeout), request: None };
    let fault = |error| match error {
        mint::Error::Upstream(error) => {
            Fault::new(error::Error::from(&error).log_text(), openai_step(&error))
        }
        error @ (mint::Error::Unsigned(_) | mint::Error::Store(_)) => Fault::new(error, "report it as a bug"),
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
        upstream::Error::Timeout | upstream::Error::Unreachable(_) | upstream::Error::Invalid(_) => 0,
    };
    match (error.kind(), status) {
        (Kind::UpstreamAuthFailed, _) => {
            "set OPENAI_API_KEY to a valid key of the project that holds the workflow, for the server that \
             CHATKIT_API_BASE names"
        }
        (Kind::UpstreamRejected, 404 | 410) => {
            "set CHATKIT_WORKFLOW_ID to a workflow of the project that OPENAI_API_KEY belongs to"
        }
        (Kind::UpstreamRejected, 400 | 422) => {
            "check CHATKIT_WORKFLOW_ID, CHATKIT_WORKFLOW_VERSION and the other CHATKIT_ variables of a session"
        }
        (Kind::UpstreamQuotaExhausted, _) => {
            "add credit to the account that OPENAI_API_KEY belongs to, or raise its spending limit"
        }
        (Kind::UpstreamRateLimited, _) => {
            "wait a minute and check again; if it stays, raise the limits of the project that OPENAI_API_KEY belongs to"
        }
        (Kind::UpstreamTimeout, _) => {
            "see that this machine reaches CHATKIT_API_BASE (unset: https://api.openai.com), through HTTPS_PROXY if it \
             needs one, or raise UPSTREAM_TIMEOUT_SECONDS"
        }
        (Kind::UpstreamUnavailable, _) => {
            "see that this machine reaches CHATKIT_API_BASE (unset: https://api.openai.com), through HTTPS_PROXY if it \
             needs one"
        }
        _ => "set CHATKIT_API_BASE to a server with OpenAI's API, or leave it unset",
    }
}

/// Waits until every source of keys has some.
async fn keys(config: &Config, metrics: &Metrics) -> Result<String, Fault> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let authenticator =
        Authenticator::new(&config.auth, Arc::new(SystemClock), metrics.clone(), &tasks, stop.clone());
    let authenticator = authenticator.map_err(|error| Fault::new(error, CLIENT_STEP))?;
    let (mut found, mut failed) = (vec!["what is configured here can be used".to_owned()], Vec::new());
    for (source, keys) in authenticator.first_keys(KEYS_DEADLINE).await {
        match keys {
            Ok(keys) => found.push(format!("{keys} from {source}")),
            Err(error) => failed.push(format!("{source}: {error}")),
        }
    }
    stop.cancel();
    if failed.is_empty() {
        return Ok(found.join(", "));
    }
    let step = if config.auth.jwks_url.is_some() {
        "set JWKS_URL to the address of a set of RSA, EC or Ed25519 public keys that this machine reaches"
    } else {
        "set JWT_ISSUER to issuers whose OpenID configuration and keys this machine reaches, or JWKS_URL to their keys"
    };
    Err(Fault::new(failed.join(", "), step))
}

async fn redis(url: &Secret, metrics: &Metrics) -> Result<String, Fault> {
    let step =
        "set REDIS_URL to the address of a Redis that this machine reaches, with its user name and password";
    let link = RedisLink::new(url, metrics).map_err(|error| Fault::new(error, step))?;
    link.ping().await.map_err(|error| Fault::new(error, step))?;
    Ok("it answers".to_owned())
}
