//! Sessions: made, refreshed and revoked for a user, within one deadline for each request of a
//! client.

mod body;
pub mod hosted;
pub mod http;
pub mod mint;
mod packed_id;
pub mod registry;
pub mod registry_redis;
mod shelf;
pub mod signed;
pub mod workflows;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio_util::task::TaskTracker;

pub use body::SessionBody;
pub use mint::ClientSecret;

use crate::error::{Error, Kind};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::RequestContext;
use crate::upstream::{Call, Deadline};
use crate::user::UserId;
use mint::{Found, Mint, MintRequest};
use workflows::{Workflow, Workflows};

/// Everything that session requests need.
#[expect(missing_debug_implementations, reason = "the mint holds the API key")]
pub struct Sessions {
    /// Makes sessions, knows whose they are, and ends them.
    pub mint: Arc<dyn Mint>,
    /// What may be asked for.
    pub workflows: Workflows,
    /// Where work goes on that outlives its request.
    pub tasks: TaskTracker,
    /// Where sessions are counted.
    pub metrics: Metrics,
    /// For one request of a client, whatever number of upstream calls it takes.
    pub timeout: Duration,
}

/// The user that a session request is for. A service has named it; anyone else is it.
#[derive(Clone)]
pub struct Subject {
    /// The user's id.
    pub user: UserId,
    /// The claims of the user's token, where there is one.
    pub claims: Option<Arc<Map<String, Value>>>,
}

/// Claims are the user's own business: `Debug` leaves them out.
impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("user", &self.user).finish_non_exhaustive()
    }
}

/// `POST /api/chatkit/session`: makes a session for the caller.
///
/// # Errors
/// A body that asks for what is not offered, or an upstream that made no session.
pub async fn create_session(
    sessions: &Sessions,
    caller: &Subject,
    body: SessionBody,
    request: &RequestContext,
) -> Result<ClientSecret, Error> {
    let workflow = body.workflow(&sessions.workflows)?;
    sessions.open(caller, workflow, request).await
}

/// `POST /api/chatkit/refresh`: makes a new session, and then ends the one whose secret the caller
/// still holds. An end that takes time comes in the background, and the new session is good whether
/// it succeeds or not.
///
/// # Errors
/// As for [`create_session`], and 403 `session_mismatch` for a secret that is known to be another
/// user's.
pub async fn refresh_session(
    sessions: &Sessions,
    caller: &Subject,
    body: SessionBody,
    request: &RequestContext,
) -> Result<ClientSecret, Error> {
    let workflow = body.workflow(&sessions.workflows)?;
    let old = match body.current_secret()? {
        Some(secret) => sessions.mint.find(secret).await,
        None => None,
    };
    if old.as_ref().is_some_and(|session| session.user != caller.user.fingerprint()) {
        return Err(Error::new(
            Kind::SessionMismatch,
            "`currentClientSecret` belongs to another user. Start a new session.",
        ));
    }
    let fresh = sessions.open(caller, workflow, request).await?;
    if let Some(session) = old {
        sessions.close(caller.user.clone(), session).await;
    }
    Ok(fresh)
}

/// `DELETE /api/chatkit/session`: ends every live session of the caller.
///
/// # Errors
/// The first failure, once all have been tried or the time is over. Then it can be tried again.
pub async fn revoke_sessions(
    sessions: &Sessions,
    caller: &Subject,
    request: &RequestContext,
) -> Result<(), Error> {
    let call = Call { deadline: Deadline::after(sessions.timeout), request: Some(request) };
    Ok(sessions.mint.cancel_all(&caller.user, call).await?)
}

impl Sessions {
    async fn open(
        &self,
        caller: &Subject,
        workflow: &Workflow,
        request: &RequestContext,
    ) -> Result<ClientSecret, Error> {
        let call = Call { deadline: Deadline::after(self.timeout), request: Some(request) };
        let wanted = MintRequest { user: &caller.user, claims: caller.claims.as_deref(), workflow };
        let minted = self.mint.mint(wanted, call).await.map_err(Error::from);
        let outcome = minted.as_ref().map_or_else(|error| error.kind().parts().2, |_| "ok");
        self.metrics.mint(&workflow.name, outcome);
        minted
    }

    /// Ends a session of this user that another one has replaced.
    async fn close(&self, user: UserId, session: Found) {
        let (mint, timeout) = (self.mint.clone(), self.timeout);
        let is_quick = mint.cancels_at_once();
        let end = async move {
            let call = Call { deadline: Deadline::after(timeout), request: None };
            if let Err(error) = mint.cancel(&user, &session, call).await {
                tracing::warn!(%error, "an old session was not cancelled");
            }
        };
        if is_quick {
            end.await;
        } else {
            self.tasks.spawn(end);
        }
    }
}
