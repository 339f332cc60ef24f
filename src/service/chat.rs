//! How is the chat of self-hosted mode put together? The database is reached and migrated, and the agents get their models.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Own, StartError};
use crate::agent::Agent;
use crate::agent::model::ModelAgent;
use crate::chatkit::http::ChatDesk;
use crate::chatkit::links::Links;
use crate::chatkit::queues::Queues;
use crate::chatkit::repeats::Repeats;
use crate::chatkit::uploads::{Uploads, sweep};
use crate::chatkit::{Chat, Speech};
use crate::clock::Clock;
use crate::config::self_hosted::SelfHostedConfig;
use crate::config::upstream::UpstreamConfig;
use crate::door::ChatDoor;
use crate::lifecycle::Lifecycle;
use crate::limits::turns::TurnLimit;
use crate::protocol::Id;
use crate::store::counted::Counted;
use crate::store::files::Files;
use crate::store::{self, Store};
use crate::telemetry::metrics::Metrics;
use crate::upstream::BuildError;
use crate::upstream::model::{ModelApi, ModelClient, ModelEndpoint, ModelSettings};

/// The chat, and what it keeps running in the background.
pub(super) async fn chat_desk(
    config: &SelfHostedConfig,
    upstream: &UpstreamConfig,
    own: Own,
    door: Arc<ChatDoor>,
    lifecycle: &Lifecycle,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<ChatDesk, StartError> {
    let store = match own.store {
        Some(store) => store,
        None => store::connect(config.database_url.expose(), Arc::clone(clock)).await?,
    };
    let store: Arc<dyn Store> = Arc::new(Counted::new(store, metrics.clone()));
    let models = Arc::new(models(upstream, clock, metrics)?);
    let agents = agents(config, &models, upstream, own.agents)?;
    let links = Links::new(&config.signing_keys, Arc::clone(clock)).ok_or(StartError::NoKey)?;
    let uploads = Uploads {
        store: Arc::clone(&store),
        files: Arc::new(Files::new(&config.uploads.dir)),
        links: Arc::new(links),
        clock: Arc::clone(clock),
        config: config.uploads.clone(),
    };
    let (tasks, stopping) = (lifecycle.tasks(), lifecycle.stopping().clone());
    sweep::keep_swept(uploads.clone(), config.retention, tasks, stopping);
    let endpoint = ModelEndpoint {
        base_url: upstream.base.clone(),
        api_key: upstream.api_key.clone(),
        api: ModelApi::Responses,
        organization: upstream.organization.clone(),
        project: upstream.project.clone(),
    };
    let chat = Chat {
        store,
        uploads,
        speech: Speech { models, endpoint, timeout: upstream.timeout },
        agents,
        on_disconnect: config.on_disconnect,
        history: config.history,
        clock: Arc::clone(clock),
        lifecycle: lifecycle.clone(),
        metrics: metrics.clone(),
        repeats: Repeats::default(),
        queues: Queues::default(),
        turns: TurnLimit::new(config.bounds.max_turns_per_user, metrics),
        max_message_bytes: config.bounds.max_message_bytes,
    };
    Ok(ChatDesk { door, chat: Arc::new(chat) })
}

/// How models are reached.
pub(crate) fn models(
    upstream: &UpstreamConfig,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<ModelClient, BuildError> {
    let settings = ModelSettings {
        answer_head: upstream.timeout,
        retries: upstream.retries,
        https_proxy: upstream.https_proxy.clone(),
        ..ModelSettings::default()
    };
    ModelClient::new(settings, Arc::clone(clock), metrics.clone())
}

/// Every configured name with who answers under it: an agent of the program's own, or the configured model.
fn agents(
    config: &SelfHostedConfig,
    models: &Arc<ModelClient>,
    upstream: &UpstreamConfig,
    mut own: HashMap<String, Arc<dyn Agent>>,
) -> Result<HashMap<Id, Arc<dyn Agent>>, StartError> {
    let mut agents = HashMap::new();
    for (name, agent) in &config.agents.by_name {
        let agent: Arc<dyn Agent> = match own.remove(name) {
            Some(own) => own,
            None => Arc::new(ModelAgent::new(Arc::clone(agent), Arc::clone(models), upstream)),
        };
        agents.insert(Id::from(name.as_str()), agent);
    }
    match own.into_keys().next() {
        Some(name) => Err(StartError::UnknownAgent(name)),
        None => Ok(agents),
    }
}
