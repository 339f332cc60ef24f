//! `check` in self-hosted mode: does the database answer, and does each model?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::check::{CLIENT_STEP, Fault};
use crate::agent::model::endpoint;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::config::agents::AgentConfig;
use crate::config::env::Secret;
use crate::config::self_hosted::SelfHostedConfig;
use crate::service::chat;
use crate::store::files::Files;
use crate::store::{self, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::upstream::model::{
    InputItem, InputPart, ModelClient, ModelEndpoint, ModelError, ModelErrorKind, ModelRequest,
    Role,
};

/// The least that OpenAI takes.
const MAX_OUTPUT_TOKENS: u64 = 16;
/// A model that is loaded first takes its time.
const MODEL_DEADLINE: Duration = Duration::from_secs(30);

/// Reaches the database, and brings its schema up to date as a start would.
pub(super) async fn database(config: &SelfHostedConfig) -> Result<String, Fault> {
    let url = config.database_url.expose();
    let step = if url.starts_with("sqlite") {
        "set DATABASE_URL to a file that this user can write to, in a folder that can be made"
    } else {
        "set DATABASE_URL to the address of a PostgreSQL that this machine reaches, with a user \
         that may make tables"
    };
    let fault = |error| match error {
        StoreError::Away(_) => Fault::unreached(error, step),
        StoreError::Failed(_) => Fault::new(error, step),
    };
    let store = store::connect(url, Arc::new(SystemClock)).await.map_err(fault)?;
    store.ping().await.map_err(fault)?;
    let kind = if url.starts_with("sqlite") { "SQLite" } else { "PostgreSQL" };
    Ok(format!("{kind} answers, and its schema is up to date"))
}

/// Writes a file to the folder of uploads, which is made if it is not there.
pub(super) async fn uploads(config: &SelfHostedConfig) -> Result<String, Fault> {
    let dir = &config.uploads.dir;
    let step = "set CHATKIT_UPLOADS_DIR to a folder that this user can write to or make; made \
                images are kept there too";
    let fault = |error| {
        Fault::new(format_args!("no file can be written to {}: {error}", dir.display()), step)
    };
    Files::new(dir).probe().await.map_err(fault)?;
    Ok(format!("files can be written to {}", dir.display()))
}

/// Asks each model once, however many agents it has. Says of each how it went.
pub(super) async fn models(
    config: &Config,
    own: &SelfHostedConfig,
    metrics: &Metrics,
) -> Vec<(String, Result<String, Fault>)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let models = match chat::models(&config.upstream, &clock, metrics) {
        Ok(models) => models,
        Err(error) => return vec![("models".to_owned(), Err(Fault::new(error, CLIENT_STEP)))],
    };
    let mut said = Vec::new();
    for agents in distinct(own).into_values() {
        let Some(agent) = agents.first() else { continue };
        let what = format!("model {}", agent.model);
        let at = agent.endpoint.base_url.host_str().unwrap_or_default();
        let names: Vec<_> = agents.iter().map(|agent| agent.name.as_str()).collect();
        let of =
            format!("{} {}", if names.len() == 1 { "agent" } else { "agents" }, names.join(", "));
        let asked = ask(&models, &endpoint(agent, &config.upstream), agent).await;
        let asked = asked.map(|()| format!("it answers at {at} ({of})"));
        said.push((what, asked.map_err(|fault| fault.of(&of))));
    }
    said
}

/// The agents of each model at each server under each key.
fn distinct(
    own: &SelfHostedConfig,
) -> BTreeMap<(&str, &str, Option<&str>, bool), Vec<&AgentConfig>> {
    let mut models: BTreeMap<_, Vec<&AgentConfig>> = BTreeMap::new();
    for agent in own.agents.by_name.values() {
        let at = &agent.endpoint;
        let is_responses = at.api == crate::config::agents::ModelApi::Responses;
        let key = at.api_key.as_ref().map(Secret::expose);
        let model = (at.base_url.as_str(), agent.model.as_str(), key, is_responses);
        models.entry(model).or_default().push(agent);
    }
    models
}

/// Asks for a word. The first event is enough: what follows is not waited for.
async fn ask(
    models: &ModelClient,
    endpoint: &ModelEndpoint,
    agent: &AgentConfig,
) -> Result<(), Fault> {
    let parts = vec![InputPart::Text("Say ok.".to_owned())];
    let request = ModelRequest {
        model: agent.model.clone(),
        input: vec![InputItem::Message { role: Role::User, parts }],
        max_output_tokens: Some(MAX_OUTPUT_TOKENS),
        ..ModelRequest::default()
    };
    let first = async {
        let mut stream = models.stream(endpoint, &request, None).await?;
        stream.next().await.transpose()
    };
    match timeout(MODEL_DEADLINE, first).await {
        Ok(Ok(_)) => Ok(()),
        // It spent its few tokens on thoughts.
        Ok(Err(error)) if error.kind() == ModelErrorKind::Incomplete => Ok(()),
        Ok(Err(error)) if is_unreached(&error) => Err(Fault::unreached(&error, step(&error))),
        Ok(Err(error)) => Err(Fault::new(&error, step(&error))),
        Err(_) => Err(Fault::unreached("no answer within 30 s", UNREACHED)),
    }
}

const UNREACHED: &str = "see that this machine reaches OPENAI_BASE_URL (unset: \
                         https://api.openai.com/v1) or the agent's base_url, through HTTPS_PROXY \
                         if it needs one, and that the model is loaded there";

/// Whether nothing answered at all.
fn is_unreached(error: &ModelError) -> bool {
    let is_away = matches!(error.kind(), ModelErrorKind::Unavailable | ModelErrorKind::Timeout);
    is_away && error.status().is_none()
}

/// What to change after this failure of a model.
fn step(error: &ModelError) -> &'static str {
    match error.kind() {
        ModelErrorKind::Auth => {
            "set OPENAI_API_KEY, or the variable that the agent's api_key_env names, to a key of \
             that server that may use this model"
        }
        ModelErrorKind::Quota => {
            "add credit to the account that the key belongs to, or raise its spending limit"
        }
        ModelErrorKind::RateLimited => {
            "wait a minute and check again; if it stays, raise the limits of the key's project"
        }
        ModelErrorKind::Unavailable | ModelErrorKind::Timeout | ModelErrorKind::Cut => UNREACHED,
        ModelErrorKind::Unsupported
        | ModelErrorKind::Rejected
        | ModelErrorKind::ContextTooLong
        | ModelErrorKind::BadFrame
        | ModelErrorKind::Failed
        | ModelErrorKind::Incomplete => {
            "set CHATKIT_MODEL, or the agent's model, to one that this server has; OPENAI_BASE_URL \
             or base_url to an address that ends in /v1; and CHATKIT_MODEL_API or model_api to \
             `chat-completions` if it knows no responses"
        }
    }
}
