//! The rooms under test, set up from variables as the binary does it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use chatkit_server::clock::TestClock;
use chatkit_server::config::{Config, Mode};
use chatkit_server::error::{Error, render};
use chatkit_server::sessions::hosted::HostedMint;
use chatkit_server::sessions::registry::{LocalRegistry, Registry};
use chatkit_server::sessions::workflows::Workflows;
use chatkit_server::sessions::{
    ClientSecret, SessionBody, Sessions, Subject, create_session, refresh_session, revoke_sessions,
};
use chatkit_server::telemetry::metrics::{self, Metrics};
use chatkit_server::telemetry::request::RequestContext;
use chatkit_server::upstream::Client;
use chatkit_server::upstream::sessions::SessionsApi;
use chatkit_server::user::UserId;
use serde_json::{Map, Value};
use tokio_util::task::TaskTracker;

use crate::support::upstream::{Reply, ScriptedUpstream};

/// The time at which all of this happens.
pub(crate) const NOW: u64 = 1_800_000_000;
/// The server-held key: its words must not be seen anywhere.
pub(crate) const KEY: &str = "sk-canary-of-the-api-key";

/// Sessions, and the upstream that they meet.
pub(crate) struct House {
    pub(crate) sessions: Sessions,
    pub(crate) registry: Arc<LocalRegistry>,
    pub(crate) upstream: ScriptedUpstream,
    metrics: prometheus_client::registry::Registry,
}

/// What an error looks like from outside, and in the log.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) log: String,
}

impl House {
    /// The least configuration, and further variables.
    pub(crate) async fn with(
        script: impl IntoIterator<Item = Reply>,
        extra: &[(&str, &str)],
    ) -> Self {
        let upstream = ScriptedUpstream::start(script).await;
        let base = upstream.base();
        Self::at(upstream, &[&[("CHATKIT_API_BASE", base.as_str())], extra].concat())
    }

    /// The least configuration.
    pub(crate) async fn new(script: impl IntoIterator<Item = Reply>) -> Self {
        Self::with(script, &[]).await
    }

    /// With variables that say where the upstream is.
    pub(crate) fn at(upstream: ScriptedUpstream, extra: &[(&str, &str)]) -> Self {
        let least = [
            ("OPENAI_API_KEY", KEY),
            ("CHATKIT_WORKFLOW_ID", "wf_1"),
            ("JWT_SECRET", "a secret of thirty-two bytes or more"),
        ];
        let vars: HashMap<&str, &str> = least.iter().chain(extra).copied().collect();
        let config = Config::from_vars(&|name| vars.get(name).map(|value| (*value).to_owned()));
        let config = config.unwrap_or_else(|problems| panic!("{problems:?}"));
        let Mode::Hosted(hosted) = &config.mode else { panic!("hosted mode is the default") };
        let clock = Arc::new(TestClock::at(NOW));
        let (metrics, metrics_registry) = Metrics::new(false);
        let client = Client::new(&config.upstream, clock.clone(), metrics.clone());
        let client = client.expect("the client can be made");
        let registry = Arc::new(LocalRegistry::new(1000, clock.clone(), &metrics));
        let sessions = Sessions {
            mint: Arc::new(HostedMint::new(
                SessionsApi::new(client),
                hosted,
                config.session_ttl_seconds,
                registry.clone(),
                clock,
            )),
            workflows: Workflows::new(hosted),
            tasks: TaskTracker::new(),
            metrics,
            timeout: config.upstream.timeout,
        };
        Self { sessions, registry, upstream, metrics: metrics_registry }
    }

    /// A mint for `ada`.
    pub(crate) async fn mint(&self) -> Result<ClientSecret, Error> {
        self.create(&user("ada"), "{}").await
    }

    pub(crate) async fn create(&self, caller: &Subject, json: &str) -> Result<ClientSecret, Error> {
        create_session(&self.sessions, caller, body(json), &RequestContext::default()).await
    }

    pub(crate) async fn refresh(
        &self,
        caller: &Subject,
        json: &str,
    ) -> Result<ClientSecret, Error> {
        refresh_session(&self.sessions, caller, body(json), &RequestContext::default()).await
    }

    pub(crate) async fn revoke(&self, caller: &Subject) -> Result<(), Error> {
        revoke_sessions(&self.sessions, caller, &RequestContext::default()).await
    }

    /// The ids of the live sessions of `ada` and `eve`, sorted.
    pub(crate) async fn ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for name in ["ada", "eve"] {
            let own = self.registry.of_user(user(name).user.fingerprint()).await;
            ids.extend(own.into_iter().map(|(_, id)| id.to_string()));
        }
        ids.sort();
        ids
    }

    /// Waits until the work in the background is done.
    pub(crate) async fn settle(&self) {
        self.sessions.tasks.close();
        let done = tokio::time::timeout(Duration::from_secs(5), self.sessions.tasks.wait()).await;
        done.expect("the background work ends");
        self.sessions.tasks.reopen();
    }

    /// The value of a metric, by its name and labels.
    pub(crate) fn metric(&self, name: &str) -> Option<String> {
        let text = metrics::render(&self.metrics);
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
    }
}

/// A user without claims.
pub(crate) fn user(name: &str) -> Subject {
    Subject { user: UserId::parse(name).unwrap(), claims: None }
}

/// A user whose token has these claims.
pub(crate) fn user_with_claims(name: &str, claims: Value) -> Subject {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    let claims: Map<String, Value> = claims;
    Subject { claims: Some(Arc::new(claims)), ..user(name) }
}

pub(crate) fn body(json: &str) -> SessionBody {
    SessionBody::parse(json.as_bytes()).unwrap()
}

/// What a client and the log see of an error.
pub(crate) async fn seen<T>(result: Result<T, Error>) -> Seen {
    let Err(error) = result else { panic!("an error was expected") };
    let log = error.log_text();
    let mut response = error.into_response();
    render(&mut response, "request-1", false).unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 64 * 1024).await.unwrap();
    let json: Value = serde_json::from_slice(&body).unwrap();
    Seen {
        status: head.status.as_u16(),
        code: json["error"]["code"].as_str().unwrap().to_owned(),
        retry_after: head
            .headers
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned()),
        log,
    }
}
