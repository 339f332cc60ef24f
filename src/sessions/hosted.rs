//! How is a session made at OpenAI? Who the user is and what is configured become one create call.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::mint::{ClientSecret, Error, Mint, MintRequest, Minted};
use super::registry::Session;
use crate::clock::Clock;
use crate::config::hosted::{HostedConfig, StateClaim};
use crate::upstream::Call;
use crate::upstream::sessions::{
    ChatkitConfiguration, CreateSession, ExpiresAfter, FileUploadParam, HistoryParam, RateLimits,
    SessionsApi, Switch, WorkflowParam,
};

/// Makes sessions at OpenAI.
#[expect(missing_debug_implementations, reason = "it holds the API key and the key of user ids")]
pub struct HostedMint {
    api: SessionsApi,
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
    pub fn new(api: SessionsApi, config: &HostedConfig, ttl_seconds: u64, clock: Arc<dyn Clock>) -> Self {
        let key = config.user_id_key.as_ref();
        Self {
            api,
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

    async fn create(&self, request: MintRequest<'_>, call: Call<'_>) -> Result<Minted, Error> {
        let user = request.user.as_str();
        let pseudonym =
            self.user_id_key.as_ref().map(|key| HEXLOWER.encode(hmac::sign(key, user.as_bytes()).as_ref()));
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
        Ok(Minted {
            client_secret: ClientSecret::new(created.client_secret.expose()),
            id: created.id.unwrap_or_default(),
            // OpenAI counts from before its answer, so by our clock the session has ended by then whatever its clock says.
            ends_at: self.clock.unix_seconds().saturating_add(self.ttl_seconds),
        })
    }
}

impl Mint for HostedMint {
    fn mint<'a>(&'a self, request: MintRequest<'a>, call: Call<'a>) -> BoxFuture<'a, Result<Minted, Error>> {
        Box::pin(self.create(request, call))
    }

    fn cancel<'a>(&'a self, id: &'a str, call: Call<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // A session without an id can't be cancelled: it ends by itself.
            if !id.is_empty() {
                self.api.cancel(id, call).await?;
            }
            Ok(())
        })
    }

    fn session_of(&self, _: &str) -> Option<Session> {
        None
    }

    fn cancels_at_once(&self) -> bool {
        false
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
        history: config
            .history
            .map(|history| HistoryParam { enabled: history.enabled, recent_threads: history.recent_threads }),
    };
    let is_empty = configuration.automatic_thread_titling.is_none()
        && configuration.file_upload.is_none()
        && configuration.history.is_none();
    (!is_empty).then_some(configuration)
}
