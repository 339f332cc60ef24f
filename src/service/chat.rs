//! How is the chat of self-hosted mode put together? The database is reached and migrated, and the
//! agents get their models.

use std::collections::HashMap;
use std::sync::Arc;

use super::StartError;
use crate::agent::Agent;
use crate::agent::model::ModelAgent;
use crate::chatkit::Chat;
use crate::chatkit::http::ChatDesk;
use crate::chatkit::links::Links;
use crate::chatkit::queues::Queues;
use crate::chatkit::recordings::Recordings;
use crate::chatkit::repeats::Repeats;
use crate::chatkit::transcribe::Speech;
use crate::chatkit::uploads::under_way::UnderWay;
use crate::chatkit::uploads::{Uploads, sweep};
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

/// What every part of the service goes by.
pub(super) struct Shared<'a> {
    pub(super) lifecycle: &'a Lifecycle,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) metrics: &'a Metrics,
}

/// Where threads and revocations are: in a store of the program's own, or in the configured
/// database.
pub(super) async fn store(
    config: &SelfHostedConfig,
    own: Option<Arc<dyn Store>>,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Arc<dyn Store>, StartError> {
    let store = match own {
        Some(store) => store,
        None => store::connect_alone(config.database_url.expose(), Arc::clone(clock)).await?,
    };
    Ok(Arc::new(Counted::new(store, metrics.clone())))
}

/// The chat, and what it keeps running in the background.
pub(super) fn chat_desk(
    config: &SelfHostedConfig,
    upstream: &UpstreamConfig,
    own_agents: HashMap<String, Arc<dyn Agent>>,
    store: Arc<dyn Store>,
    door: Arc<ChatDoor>,
    shared: &Shared<'_>,
) -> Result<ChatDesk, StartError> {
    let Shared { lifecycle, clock, metrics } = *shared;
    let models = Arc::new(models(upstream, clock, metrics)?);
    let agents = agents(config, &models, upstream, own_agents)?;
    let links = Links::new(&config.signing_keys, Arc::clone(clock)).ok_or(StartError::NoKey)?;
    let uploads = Uploads {
        store: Arc::clone(&store),
        files: Arc::new(Files::new(&config.uploads.dir)),
        links: Arc::new(links),
        clock: Arc::clone(clock),
        config: config.uploads.clone(),
        under_way: UnderWay::new(config.uploads.max_bytes),
        tasks: lifecycle.tasks().clone(),
    };
    let (tasks, stopping) = (lifecycle.tasks(), lifecycle.stopping().clone());
    sweep::keep_swept(uploads.clone(), config.retention, tasks, stopping);
    let speech = config.dictation.enabled.then(|| speech(config, models, upstream));
    let chat = Chat {
        store,
        uploads,
        speech,
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

/// Who turns speech into text: a model of the global server, whichever agent the chat is with.
fn speech(
    config: &SelfHostedConfig,
    models: Arc<ModelClient>,
    upstream: &UpstreamConfig,
) -> Speech {
    let endpoint = ModelEndpoint {
        base_url: upstream.base.clone(),
        api_key: upstream.api_key.clone(),
        api: ModelApi::Responses,
        organization: upstream.organization.clone(),
        project: upstream.project.clone(),
    };
    let model = config.dictation.model.clone();
    Speech { models, endpoint, model, timeout: upstream.timeout, recordings: Recordings::default() }
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

/// Every configured name with who answers under it: an agent of the program's own, or the
/// configured model.
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
