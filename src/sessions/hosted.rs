//! How is a session made at OpenAI? Who the user is and what is configured become one create call.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde_json::{Map, Value};

use super::mint::{ClientSecret, Error, Found, Mint, MintRequest};
use super::registry::{Registry, Session};
use crate::clock::Clock;
use crate::config::hosted::{HostedConfig, StateClaim};
use crate::upstream::Call;
use crate::upstream::sessions::{
    ChatkitConfiguration, CreateSession, ExpiresAfter, FileUploadParam, HistoryParam, RateLimits,
    SessionsApi, Switch, WorkflowParam,
};
use crate::user::{Fingerprint, UserId};

/// So many sessions of one user are cancelled at a time.
const CANCELS_AT_A_TIME: usize = 8;

/// Makes sessions at OpenAI, and remembers them.
#[expect(missing_debug_implementations, reason = "it holds the API key and the key of user ids")]
pub struct HostedMint {
    api: SessionsApi,
    /// Knows whose secret is whose.
    registry: Arc<dyn Registry>,
    clock: Arc<dyn Clock>,
    user_id_key: Option<hmac::Key>,
    state_claims: Vec<StateClaim>,
    ttl_seconds: u64,
    rate_limits: Option<RateLimits>,
    chatkit_configuration: Option<ChatkitConfiguration>,
}

impl HostedMint {
    /// A mint with the settings of a configuration, whose sessions live for `ttl_seconds`.
    #[must_use]
    pub fn new(
        api: SessionsApi,
        config: &HostedConfig,
        ttl_seconds: u64,
        registry: Arc<dyn Registry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let key = config.user_id_key.as_ref();
        Self {
            api,
            registry,
            clock,
            user_id_key: key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes())),
            state_claims: config.state_claims.clone(),
            ttl_seconds,
            rate_limits: config
                .requests_per_minute
                .map(|requests| RateLimits { max_requests_per_1_minute: requests }),
            chatkit_configuration: chatkit_configuration(config),
        }
    }

    async fn create(
        &self,
        request: MintRequest<'_>,
        call: Call<'_>,
    ) -> Result<ClientSecret, Error> {
        let user = request.user.as_str();
        let pseudonym = self
            .user_id_key
            .as_ref()
            .map(|key| HEXLOWER.encode(hmac::sign(key, user.as_bytes()).as_ref()));
        let session = CreateSession {
            workflow: WorkflowParam {
                id: &request.workflow.id,
                version: request.workflow.version.as_deref(),
                state_variables: state_variables(&self.state_claims, request.claims),
            },
            user: pseudonym.as_deref().unwrap_or(user),
            expires_after: ExpiresAfter::seconds(self.ttl_seconds),
            rate_limits: self.rate_limits,
            chatkit_configuration: self.chatkit_configuration,
        };
        let created = self.api.create(&session, call).await?;
        let secret = ClientSecret::new(created.client_secret.expose());
        // OpenAI counts from before its answer, so by our clock the session has ended by then
        // whatever its clock says.
        let ends_at = self.clock.unix_seconds().saturating_add(self.ttl_seconds);
        let id = created.id.unwrap_or_default();
        let session = Session { user: request.user.fingerprint(), id, ends_at };
        self.registry.remember(Fingerprint::of(secret.expose().as_bytes()), session).await;
        Ok(secret)
    }

    async fn end(&self, secret: Fingerprint, id: &str, call: Call<'_>) -> Result<(), Error> {
        // A session without an id can't be cancelled: it ends by itself.
        if !id.is_empty() {
            self.api.cancel(id, call).await?;
        }
        self.registry.forget(secret).await;
        Ok(())
    }

    /// Those that OpenAI confirms are forgotten; the others stay registered, so that it can be
    /// tried again.
    async fn end_all(&self, user: &UserId, call: Call<'_>) -> Result<(), Error> {
        let live = self.registry.of_user(user.fingerprint()).await;
        let ends =
            live.into_iter().map(|(secret, id)| async move { self.end(secret, &id, call).await });
        let mut ends = stream::iter(ends).buffer_unordered(CANCELS_AT_A_TIME);
        let mut failure = None;
        while let Some(end) = ends.next().await {
            if let Err(error) = end {
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Mint for HostedMint {
    fn mint<'a>(
        &'a self,
        request: MintRequest<'a>,
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<ClientSecret, Error>> {
        Box::pin(self.create(request, call))
    }

    fn find<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Option<Found>> {
        Box::pin(async move {
            let secret = Fingerprint::of(secret.as_bytes());
            let Session { user, id, .. } = self.registry.find(secret).await?;
            Some(Found { secret, user, id })
        })
    }

    fn cancel<'a>(
        &'a self,
        _: &'a UserId,
        session: &'a Found,
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.end(session.secret, &session.id, call))
    }

    fn cancel_all<'a>(
        &'a self,
        user: &'a UserId,
        call: Call<'a>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.end_all(user, call))
    }

    fn cancels_at_once(&self) -> bool {
        false
    }

    fn remembered(&self) -> usize {
        self.registry.live()
    }
}

/// Strings, numbers and booleans pass: OpenAI takes no other kind.
fn state_variables<'a>(
    wanted: &'a [StateClaim],
    claims: Option<&'a Map<String, Value>>,
) -> BTreeMap<&'a str, &'a Value> {
    let Some(claims) = claims else { return BTreeMap::new() };
    let variable = |state: &'a StateClaim| {
        let value = claims.get(&state.claim)?;
        let passes = matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
        passes.then_some((state.variable.as_str(), value))
    };
    wanted.iter().filter_map(variable).collect()
}

/// What is configured, or nothing at all: OpenAI's own settings hold for what is left out.
fn chatkit_configuration(config: &HostedConfig) -> Option<ChatkitConfiguration> {
    let configuration = ChatkitConfiguration {
        automatic_thread_titling: config.thread_titles.map(|enabled| Switch { enabled }),
        file_upload: config.file_upload.map(|upload| FileUploadParam {
            enabled: upload.enabled,
            max_file_size: upload.max_file_size_mb,
            max_files: upload.max_files,
        }),
        history: config.history.map(|history| HistoryParam {
            enabled: history.enabled,
            recent_threads: history.recent_threads,
        }),
    };
    let is_empty = configuration.automatic_thread_titling.is_none()
        && configuration.file_upload.is_none()
        && configuration.history.is_none();
    (!is_empty).then_some(configuration)
}
