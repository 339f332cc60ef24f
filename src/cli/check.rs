//! `check`: reads the configuration and reaches everything it names; a line each, with what to do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Failure, config, say};
use crate::auth::Authenticator;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::config::env::{Environment, Secret};
use crate::config::hosted::HostedConfig;
use crate::error;
use crate::redis_link::RedisLink;
use crate::sessions::hosted::HostedMint;
use crate::sessions::mint::{Mint, MintRequest};
use crate::sessions::workflows::Workflows;
use crate::telemetry::metrics::Metrics;
use crate::upstream::sessions::SessionsApi;
use crate::upstream::{Call, Client, Deadline};
use crate::user::UserId;

/// The user for whom a session is minted, and cancelled, to see whether OpenAI answers.
const CHECK_USER: &str = "chatkit-server-check";

/// How long the keys of an issuer may take.
const KEYS_DEADLINE: Duration = Duration::from_secs(10);

/// Says a line for each thing that is named, and fails if any failed.
pub(super) async fn check(vars: &Environment) -> Result<(), Failure> {
    let config = config(vars)?;
    super::print_warnings(&super::warnings(vars, &config));
    say("ok      configuration: every variable can be used")?;
    let (metrics, _) = Metrics::new(config.limits.redis_url.is_some());
    let mut failed = report("OpenAI", openai(&config.hosted, &metrics).await)?;
    failed |= report("keys", keys(&config, &metrics).await)?;
    if let Some(url) = &config.limits.redis_url {
        failed |= report("Redis", redis(url, &metrics).await)?;
    }
    if failed { Err(Failure::Work(anyhow!("not everything can be reached"))) } else { Ok(()) }
}

/// Says how one thing went; returns whether it failed.
fn report(what: &str, outcome: Result<String, String>) -> Result<bool, Failure> {
    match outcome {
        Ok(text) => say(format_args!("ok      {what}: {text}")).map(|()| false),
        Err(text) => say(format_args!("FAILED  {what}: {text}")).map(|()| true),
    }
}

/// Mints a session with the default workflow and cancels it.
async fn openai(config: &HostedConfig, metrics: &Metrics) -> Result<String, String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let client = Client::new(&config.upstream, Arc::clone(&clock), metrics.clone());
    let client = client.map_err(|error| error.to_string())?;
    let mint = HostedMint::new(SessionsApi::new(client), config, clock);
    let workflows = Workflows::new(config);
    let workflow = workflows.choose(None, None).map_err(|error| error.log_text())?;
    let user = UserId::parse(CHECK_USER).ok_or("the check's own user is none")?;
    let call = || Call { deadline: Deadline::after(config.upstream.timeout), request: None };
    let advice = |error| error::Error::from(error).log_text();
    let request = MintRequest { user: &user, claims: None, workflow };
    let minted = mint.mint(request, call()).await.map_err(advice)?;
    mint.cancel(&minted.id, call()).await.map_err(advice)?;
    Ok(format!("a session of {} was minted and cancelled", workflow.id))
}

/// Waits until every source of keys has some.
async fn keys(config: &Config, metrics: &Metrics) -> Result<String, String> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let authenticator =
        Authenticator::new(&config.auth, Arc::new(SystemClock), metrics.clone(), &tasks, stop.clone());
    let authenticator = authenticator.map_err(|error| error.to_string())?;
    let mut found = vec!["what is configured here can be used".to_owned()];
    for (source, keys) in authenticator.first_keys(KEYS_DEADLINE).await {
        match keys {
            Ok(keys) => found.push(format!("{keys} from {source}")),
            Err(error) => return Err(format!("{source}: {error}")),
        }
    }
    stop.cancel();
    Ok(found.join(", "))
}

async fn redis(url: &Secret, metrics: &Metrics) -> Result<String, String> {
    let link = RedisLink::new(url, metrics).map_err(|error| error.to_string())?;
    link.ping().await.map_err(|error| error.to_string())?;
    Ok("it answers".to_owned())
}
