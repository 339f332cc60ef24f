//! How is a service put together? [`Service::bind`] turns a [`Config`] into something that listens,
//! [`Service::run`] serves until a signal ends it.

pub(crate) mod chat;
mod operations;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use prometheus_client::registry::Registry;

use crate::agent::Agent;
use crate::app::{App, Front};
use crate::auth::{self, Authenticator, ClientSecrets};
use crate::clock::{Clock, SystemClock};
use crate::config::auth::AuthConfig;
use crate::config::origins::OriginList;
use crate::config::service::{Assets, PageSource};
use crate::config::{Config, Mode};
use crate::dev::DevTokens;
use crate::door::{ChatDoor, Door};
use crate::layers::shed::Shed;
use crate::lifecycle::Lifecycle;
use crate::limits::Limits;
use crate::limits::connections::ConnectionLimit;
use crate::page::assets::CdnProxy;
use crate::page::folder::Folder;
use crate::page::{PageSettings, PublicConfig, sample_page};
use crate::readiness::Readiness;
use crate::redis_link::{BadUrl, RedisLink};
use crate::server::Server;
use crate::sessions::Sessions;
use crate::sessions::hosted::HostedMint;
use crate::sessions::http::Desk;
use crate::sessions::mint::Mint;
use crate::sessions::registry::{CAPACITY, LocalRegistry, Registry as SessionRegistry, keep_swept};
use crate::sessions::registry_redis::RedisRegistry;
use crate::sessions::signed::SignedMint;
use crate::sessions::workflows::Workflows;
use crate::store::revoked::Revoked;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::upstream::sessions::SessionsApi;
use crate::upstream::{BuildError, Client};

/// How many more connections than requests are held: idle ones, and those that wait for their turn.
const SPARE_CONNECTIONS: usize = 1024;

/// Why a service can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be bound.
    #[error("{variable}: {host}:{port} can't be bound")]
    Bind {
        /// What names the address.
        variable: &'static str,
        /// The host that was named.
        host: String,
        /// The port that was named.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// `REDIS_URL` can't be read.
    #[error("REDIS_URL")]
    Redis(#[from] BadUrl),
    /// The keys of users can't be prepared.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The client for calls to OpenAI can't be made: no CA certificates, most often.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// `DATABASE_URL` can't be reached, or its schema can't be brought up to date.
    #[error("DATABASE_URL")]
    Store(#[from] StoreError),
    /// There is no key that signs links.
    #[error("CHATKIT_SIGNING_KEY")]
    NoKey,
    /// An agent of the program's own has a name that no configured agent has.
    #[error("no agent `{0}` is configured")]
    UnknownAgent(String),
}

/// What a program that embeds the service brings of its own.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "agents and the keys of `dev` are secret")]
pub struct Own {
    /// Who signs anybody in, under `dev` alone.
    pub dev: Option<DevTokens>,
    /// In self-hosted mode: who answers in place of the configured agents of these names.
    pub agents: HashMap<String, Arc<dyn Agent>>,
    /// In self-hosted mode: where threads live, in place of `DATABASE_URL`.
    pub store: Option<Arc<dyn Store>>,
}

/// Binds the address that a variable names.
///
/// # Errors
/// [`StartError::Bind`].
pub async fn bound(variable: &'static str, host: &str, port: u16) -> Result<Server, StartError> {
    let failed = |source| StartError::Bind { variable, host: host.to_owned(), port, source };
    Server::bind(host, port).await.map_err(failed)
}

/// A service that listens and does not serve yet.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct Service {
    server: Server,
    metrics_server: Option<Server>,
    metrics: Arc<Registry>,
    app: Arc<App>,
    max_connections: usize,
    grace: Duration,
}

impl Service {
    /// Binds the addresses and puts the parts together. Background tasks start here, so it needs a
    /// runtime.
    ///
    /// # Errors
    /// When an address can't be bound, a client can't be built (no CA certificates, most often), or
    /// the database can't be reached.
    pub async fn bind(config: Config, own: Own) -> Result<Self, StartError> {
        let server = bound("HOST and PORT", &config.service.host, config.service.port).await?;
        Self::on(server, config, own).await
    }

    /// Like [`Service::bind`], on an address that is bound already.
    ///
    /// # Errors
    /// As for [`Service::bind`].
    pub async fn on(server: Server, config: Config, own: Own) -> Result<Self, StartError> {
        let metrics_server = match config.service.metrics {
            Some(addr) => Some(bound("METRICS_ADDR", &addr.ip().to_string(), addr.port()).await?),
            None => None,
        };
        let lifecycle = Lifecycle::default();
        let (metrics, registry) = Metrics::new(config.limits.redis_url.is_some());
        let max_connections =
            config.limits.max_concurrent_requests.saturating_add(SPARE_CONNECTIONS);
        let server = server.limited(ConnectionLimit::new(&config.limits, &metrics));
        let grace = config.service.shutdown_grace;
        let app = Arc::new(assemble(config, own, lifecycle, metrics).await?);
        Ok(Self {
            server,
            metrics_server,
            metrics: Arc::new(registry),
            app,
            max_connections,
            grace,
        })
    }

    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Serves until `signal` resolves, then drains. Returns whether everything finished within the
    /// grace.
    pub async fn run<S: Future<Output = ()>>(self, signal: impl FnMut() -> S) -> bool {
        let lifecycle = self.app.shed.lifecycle.clone();
        // The crypto library gathers entropy at its first use, for a tenth of a second. Nobody
        // should wait for that.
        lifecycle.tasks().spawn_blocking(|| rand::fill(&mut [0; 16]).is_ok());
        if let Some(server) = self.metrics_server {
            tracing::info!(address = %server.local_addr(), "metrics");
            let answer = operations::answer(Arc::clone(&self.app), self.metrics);
            lifecycle.tasks().spawn(server.serve(answer, SPARE_CONNECTIONS, lifecycle.clone()));
        }
        let front = Front::new(self.app);
        let answer = move |request| front.clone().answer(request);
        lifecycle.tasks().spawn(self.server.serve(answer, self.max_connections, lifecycle.clone()));
        lifecycle.run_until(signal, self.grace).await
    }
}

/// Warns of what lets in more than its operator may think.
fn warn_of_neighbours(auth: &AuthConfig, origins: &OriginList, is_dev: bool) {
    for pattern in origins.shared() {
        tracing::warn!(
            pattern,
            "CORS_ALLOWED_ORIGINS allows the pages of everybody who is with that hoster; name your \
             own"
        );
    }
    let is_checked = !auth.audiences.is_empty() || is_dev;
    if auth.has_keys() && !is_checked {
        tracing::warn!(
            "JWT_AUDIENCE is not set: a token that was signed with the same keys for any other \
             application is accepted too"
        );
    }
}

async fn assemble(
    config: Config,
    mut own: Own,
    lifecycle: Lifecycle,
    metrics: Metrics,
) -> Result<App, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Config { service, auth, limits, upstream: upstream_config, session_ttl_seconds, mode } =
        config;
    warn_of_neighbours(&auth, &service.origins, own.dev.is_some());
    let (tasks, stopping) = (lifecycle.tasks().clone(), lifecycle.stopping().clone());

    let redis = match &limits.redis_url {
        Some(url) => Some(Arc::new(RedisLink::new(url, &metrics)?)),
        None => None,
    };
    if let Some(link) = &redis {
        link.keep(&tasks, stopping.clone());
    }
    let authenticator =
        Authenticator::new(&auth, Arc::clone(&clock), metrics.clone(), &tasks, stopping.clone())?;
    let page_settings = PageSettings {
        dev: own.dev.is_some(),
        anonymous: auth.visitors.is_some(),
        session_ttl_seconds,
    };
    let timeout = upstream_config.timeout;
    let upstream = Client::new(&upstream_config, Arc::clone(&clock), metrics.clone())?;
    let cdn = (service.page.assets == Assets::Proxy)
        .then(|| CdnProxy::new(upstream.connections().clone(), service.page.cdn_base.clone()));
    let shared_limits = Arc::new(Limits::new(&limits, redis.as_ref(), &metrics));
    shared_limits.keep_swept(&tasks, stopping.clone());
    let door =
        Arc::new(Door { authenticator, proxies: limits, origins: Arc::new(service.origins) });

    let dev = own.dev.take();
    let (mint, workflows, chat): (Arc<dyn Mint>, _, _) = match &mode {
        Mode::Hosted(hosted) => {
            let registry = session_registry(redis, &clock, &metrics);
            keep_swept(&registry, &tasks, stopping);
            let api = SessionsApi::new(upstream);
            let mint = HostedMint::new(api, hosted, session_ttl_seconds, registry, clock);
            (Arc::new(mint), Workflows::new(hosted), None)
        }
        Mode::SelfHosted(config) => {
            let secrets = Arc::new(ClientSecrets::new(&config.signing_keys, Arc::clone(&clock)));
            let store = chat::store(config, own.store, &clock, &metrics).await?;
            let revoked = Arc::new(Revoked::new(Arc::clone(&store)));
            revoked.keep_swept(&tasks, stopping);
            let mint =
                SignedMint::new(Arc::clone(&secrets), Arc::clone(&revoked), session_ttl_seconds);
            let agents = Arc::clone(&config.agents);
            let (door, limits) = (Arc::clone(&door), Arc::clone(&shared_limits));
            let chat_door = Arc::new(ChatDoor { door, limits, secrets, revoked, agents });
            let shared = chat::Shared { lifecycle: &lifecycle, clock: &clock, metrics: &metrics };
            let chat =
                chat::chat_desk(config, &upstream_config, own.agents, store, chat_door, &shared)?;
            (Arc::new(mint), Workflows::of_agents(&config.agents), Some(Arc::new(chat)))
        }
    };
    let store = chat.as_ref().map(|desk| Arc::clone(&desk.chat.store));
    let readiness = Readiness::new(lifecycle.clone(), Arc::clone(&door), store);
    let sessions = Sessions { mint, workflows, tasks, metrics: metrics.clone(), timeout };
    Ok(App {
        credentials: auth.cookies_authenticate(),
        shed: Shed { lifecycle, max_requests: door.proxies.max_concurrent_requests },
        chat,
        readiness,
        desk: Arc::new(Desk { door, limits: shared_limits, sessions }),
        metrics,
        public_config: match &mode {
            Mode::Hosted(_) => PublicConfig::new(&service.page),
            Mode::SelfHosted(own) => {
                let (uploads, dictation) = (own.uploads.enabled, own.dictation.enabled);
                PublicConfig::self_hosted(&service.page, own.domain_key.clone(), uploads, dictation)
            }
        },
        page: (service.page.source == PageSource::BuiltIn)
            .then(|| sample_page(&service.page, page_settings)),
        folder: match &service.page.source {
            PageSource::Folder(root) => Some(Folder::new(root)),
            PageSource::BuiltIn | PageSource::Off => None,
        },
        cdn,
        dev,
    })
}

/// Where hosted mode remembers its sessions: in Redis, if there is one, else in this process.
fn session_registry(
    redis: Option<Arc<RedisLink>>,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Arc<dyn SessionRegistry> {
    let local = LocalRegistry::new(CAPACITY, Arc::clone(clock), metrics);
    match redis {
        Some(link) => Arc::new(RedisRegistry::new(link, local, Arc::clone(clock))),
        None => Arc::new(local),
    }
}
