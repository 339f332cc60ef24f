//! The session endpoints: read, name the user, count, do, answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use utoipa::OpenApi;

use super::{ClientSecret, SessionBody, Sessions, Subject};
use crate::auth::Caller;
use crate::door::Door;
use crate::error::{Error, ErrorBody};
use crate::extract::{Json, read_json};
use crate::limits::Limits;
use crate::openapi::Refusals;
use crate::telemetry::request::RequestContext;
use crate::user::UserId;

/// What the session endpoints can reach.
#[expect(missing_debug_implementations, reason = "it holds the API key")]
pub struct Desk {
    /// Who may come in.
    pub door: Arc<Door>,
    /// How often a user may ask.
    pub limits: Arc<Limits>,
    /// Who mints and remembers.
    pub sessions: Sessions,
}

/// The session endpoints.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/api/chatkit/session", post(create_session).delete(revoke_sessions))
        .route("/api/chatkit/start", post(start_session))
        .route("/api/chatkit/refresh", post(refresh_session))
        .with_state(desk)
}

/// The session endpoints, as the OpenAPI document describes them.
#[derive(Debug, OpenApi)]
#[openapi(paths(create_session, revoke_sessions, start_session, refresh_session))]
pub struct Paths;

/// What may be asked for. Every field may be left out, and the body with them.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it documents the body, which `SessionBody` parses")]
#[schema(as = SessionRequest)]
struct SessionRequest {
    /// A configured workflow. Left out: the default workflow.
    workflow: Option<NameOrId>,
    /// The id of a configured workflow.
    #[schema(rename = "workflowId")]
    workflow_id: Option<String>,
    /// The user to mint for: a string, a whole number, or an object with one of these as its `id`.
    /// A service token must name one; from anyone else it is ignored, whatever it is.
    user: Option<serde_json::Value>,
}

/// Whose sessions are to be cancelled. A service token must say so; from anyone else it is ignored.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it documents the body, which `SessionBody` parses")]
struct RevokeRequest {
    /// As in a `SessionRequest`.
    user: Option<serde_json::Value>,
}

/// A name, or an object with an id.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "it documents the body, which `SessionBody` parses")]
#[serde(untagged)]
enum NameOrId {
    /// A workflow's name.
    Name(String),
    /// A workflow's id.
    Id {
        /// `wf_…`, or an agent's name.
        id: String,
    },
}

/// A session request that may name the secret to replace.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it documents the body, which `SessionBody` parses")]
#[schema(as = RefreshRequest)]
struct RefreshRequest {
    #[serde(flatten)]
    session: SessionRequest,
    /// The client secret that the page holds. If it is the caller's own, its session is cancelled
    /// once the new one exists.
    #[schema(rename = "currentClientSecret")]
    current_client_secret: Option<String>,
}

/// Mints a session for the caller.
#[utoipa::path(
    post,
    path = "/api/chatkit/session",
    tag = "sessions",
    request_body(content = SessionRequest),
    responses(
        (status = 200, description = "The client secret", body = ClientSecret),
        (status = 413, description = "`body_too_large`: over 64 KiB", body = ErrorBody),
        Refusals
    ),
    security(("user_token" = []), ("user_cookie" = []), ("service_token" = []), ("visitor_cookie" = []))
)]
async fn create_session(
    State(desk): State<Arc<Desk>>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: Request,
) -> Result<Json<ClientSecret>, Error> {
    let (subject, body) = desk.admit(request, &context).await?;
    let tasks = desk.sessions.tasks.clone();
    let work = async move {
        super::create_session(&desk.sessions, &subject, body, &context).await.map(Json)
    };
    to_the_end(&tasks, work).await
}

/// The same as `POST /api/chatkit/session`.
#[utoipa::path(
    post,
    path = "/api/chatkit/start",
    tag = "sessions",
    request_body(content = SessionRequest),
    responses(
        (status = 200, description = "The client secret", body = ClientSecret),
        (status = 413, description = "`body_too_large`: over 64 KiB", body = ErrorBody),
        Refusals
    ),
    security(("user_token" = []), ("user_cookie" = []), ("service_token" = []), ("visitor_cookie" = []))
)]
async fn start_session(
    desk: State<Arc<Desk>>,
    context: Extension<Arc<RequestContext>>,
    request: Request,
) -> Result<Json<ClientSecret>, Error> {
    create_session(desk, context, request).await
}

/// Mints a new session in place of the one whose secret the page holds.
#[utoipa::path(
    post,
    path = "/api/chatkit/refresh",
    tag = "sessions",
    request_body(content = RefreshRequest),
    responses(
        (status = 200, description = "The new client secret", body = ClientSecret),
        (status = 413, description = "`body_too_large`: over 64 KiB", body = ErrorBody),
        Refusals
    ),
    security(("user_token" = []), ("user_cookie" = []), ("service_token" = []), ("visitor_cookie" = []))
)]
async fn refresh_session(
    State(desk): State<Arc<Desk>>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: Request,
) -> Result<Json<ClientSecret>, Error> {
    let (subject, body) = desk.admit(request, &context).await?;
    let tasks = desk.sessions.tasks.clone();
    let work = async move {
        super::refresh_session(&desk.sessions, &subject, body, &context).await.map(Json)
    };
    to_the_end(&tasks, work).await
}

/// Cancels every live session that this service minted for the caller.
#[utoipa::path(
    delete,
    path = "/api/chatkit/session",
    tag = "sessions",
    request_body(content = RevokeRequest),
    responses(
        (status = 204, description = "Every session is cancelled"),
        (status = 413, description = "`body_too_large`: over 64 KiB", body = ErrorBody),
        Refusals
    ),
    security(("user_token" = []), ("user_cookie" = []), ("service_token" = []), ("visitor_cookie" = []))
)]
async fn revoke_sessions(
    State(desk): State<Arc<Desk>>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: Request,
) -> Result<StatusCode, Error> {
    let (subject, _) = desk.admit(request, &context).await?;
    let tasks = desk.sessions.tasks.clone();
    let work = async move { super::revoke_sessions(&desk.sessions, &subject, &context).await };
    to_the_end(&tasks, work).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Desk {
    /// Lets the caller in, names the user, counts the request and reads the body. A service names
    /// its user in the body, and its request counts for that user, by the limits for addresses and
    /// for users both.
    async fn admit(
        &self,
        request: Request,
        context: &RequestContext,
    ) -> Result<(Subject, SessionBody), Error> {
        let (parts, body) = request.into_parts();
        let (user, claims) = match self.door.admit(&parts, context).await? {
            Caller::User { id, claims } => (Some(id), Some(claims)),
            Caller::Visitor { id } => (Some(id), None),
            Caller::Service { .. } => (None, None),
        };
        if let Some(user) = &user {
            context.note_user(user);
            self.limits.count_user(user, context).await?;
        }
        let body = SessionBody::parse(&read_json(&parts.headers, body).await?)?;
        let user = match user {
            Some(user) => user,
            None => self.named_by_service(&body, context).await?,
        };
        Ok((Subject { user, claims }, body))
    }

    async fn named_by_service(
        &self,
        body: &SessionBody,
        context: &RequestContext,
    ) -> Result<UserId, Error> {
        let user = body.service_user()?;
        context.note_user(&user);
        self.limits.address().count_user(&user, context)?;
        self.limits.count_user(&user, context).await?;
        Ok(user)
    }
}

/// Does the work to its end even when the client leaves: a session that OpenAI has made must be
/// known here.
async fn to_the_end<T: Send + 'static>(
    tasks: &TaskTracker,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    Finished { work: Some(Box::pin(work)), tasks }.await
}

/// Work that a request waits for. If the request is dropped, the work goes on in the background; as
/// long as it is not, no task is needed.
struct Finished<'a, T: Send + 'static> {
    work: Option<BoxFuture<'static, Result<T, Error>>>,
    tasks: &'a TaskTracker,
}

impl<T: Send + 'static> Future for Finished<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(Err(Error::internal("work was waited for after its end")));
        };
        let outcome = ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(outcome)
    }
}

impl<T: Send + 'static> Drop for Finished<'_, T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tasks.spawn(work.in_current_span());
        }
    }
}
