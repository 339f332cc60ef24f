//! The session endpoints: read, name the user, count, do, answer.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ClientSecret, SessionBody, Sessions, Subject};
use crate::auth::Caller;
use crate::door::Door;
use crate::error::{Error, ErrorBody};
use crate::extract::{Json, read_json};
use crate::limits::Limits;
use crate::telemetry::request::RequestContext;

/// What the session endpoints can reach.
#[expect(missing_debug_implementations, reason = "it holds the API key")]
pub struct Desk {
    /// Who may come in.
    pub door: Door,
    /// How often a user may ask.
    pub limits: Arc<Limits>,
    /// Who mints and remembers.
    pub sessions: Sessions,
}

/// The session endpoints, with their part of the OpenAPI document.
pub fn router(desk: Arc<Desk>) -> OpenApiRouter<()> {
    OpenApiRouter::new()
        .routes(routes!(create_session, revoke_sessions))
        .routes(routes!(start_session))
        .routes(routes!(refresh_session))
        .with_state(desk)
}

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
    /// The user to mint for. A service token must name one; from anyone else it is ignored.
    user: Option<NameOrId>,
}

/// A name, or an object with an id.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "it documents the body, which `SessionBody` parses")]
#[serde(untagged)]
enum NameOrId {
    /// A workflow's name, or a user's id.
    Name(String),
    /// A workflow's id, or a user's.
    Id {
        /// `wf_…`, or the user's id.
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
    /// The client secret that the page holds. If it is the caller's own, its session is cancelled once the new one exists.
    #[schema(rename = "currentClientSecret")]
    current_client_secret: Option<String>,
}

/// How a session request may fail.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it documents the answers, which `Error` makes")]
enum Refusals {
    /// The body is not as documented; the message names the field.
    #[response(status = 400)]
    Invalid(ErrorBody<'static>),
    /// No credential, or one that is not good.
    #[response(status = 401)]
    Unknown(ErrorBody<'static>),
    /// The caller may not do that.
    #[response(status = 403)]
    Forbidden(ErrorBody<'static>),
    /// Too many requests: wait for `Retry-After` seconds.
    #[response(status = 429)]
    Limited(ErrorBody<'static>),
    /// OpenAI refused what this service sent.
    #[response(status = 502)]
    Refused(ErrorBody<'static>),
    /// OpenAI or this service is away or busy: try again after `Retry-After` seconds.
    #[response(status = 503)]
    Away(ErrorBody<'static>),
    /// OpenAI took too long.
    #[response(status = 504)]
    Late(ErrorBody<'static>),
    /// Any other error, in the same shape.
    #[response(status = "default")]
    Other(ErrorBody<'static>),
}

/// Mints a session for the caller.
#[utoipa::path(
    post,
    path = "/api/chatkit/session",
    tag = "sessions",
    request_body(content = Option<SessionRequest>),
    responses(
        (status = 200, description = "The client secret", body = ClientSecret),
        Refusals
    ),
    security(("user_token" = []), ("service_token" = []), ("visitor_cookie" = []))
)]
async fn create_session(
    State(desk): State<Arc<Desk>>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: Request,
) -> Result<Json<ClientSecret>, Error> {
    let (subject, body) = desk.admit(request, &context).await?;
    let secret = super::create_session(&desk.sessions, &subject, body, &context).await?;
    Ok(Json(secret))
}

/// The same as `POST /api/chatkit/session`.
#[utoipa::path(
    post,
    path = "/api/chatkit/start",
    tag = "sessions",
    request_body(content = Option<SessionRequest>),
    responses(
        (status = 200, description = "The client secret", body = ClientSecret),
        Refusals
    ),
    security(("user_token" = []), ("service_token" = []), ("visitor_cookie" = []))
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
    request_body(content = Option<RefreshRequest>),
    responses(
        (status = 200, description = "The new client secret", body = ClientSecret),
        Refusals
    ),
    security(("user_token" = []), ("service_token" = []), ("visitor_cookie" = []))
)]
async fn refresh_session(
    State(desk): State<Arc<Desk>>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: Request,
) -> Result<Json<ClientSecret>, Error> {
    let (subject, body) = desk.admit(request, &context).await?;
    let secret = super::refresh_session(&desk.sessions, &subject, body, &context).await?;
    Ok(Json(secret))
}

/// Cancels every live session that this service minted for the caller.
#[utoipa::path(
    delete,
    path = "/api/chatkit/session",
    tag = "sessions",
    request_body(content = Option<SessionRequest>),
    responses(
        (status = 204, description = "Every session is cancelled"),
        Refusals
    ),
    security(("user_token" = []), ("service_token" = []), ("visitor_cookie" = []))
)]
async fn revoke_sessions(
    State(desk): State<Arc<Desk>>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: Request,
) -> Result<StatusCode, Error> {
    let (subject, _) = desk.admit(request, &context).await?;
    super::revoke_sessions(&desk.sessions, &subject, &context).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Desk {
    /// Lets the caller in, reads the body, names the user and counts the request. A service's request counts for the
    /// user it names, by the limits for addresses and for users both.
    async fn admit(
        &self,
        request: Request,
        context: &RequestContext,
    ) -> Result<(Subject, SessionBody), Error> {
        let (parts, body) = request.into_parts();
        let caller = self.door.admit(&parts, context).await?;
        let body = SessionBody::parse(&read_json(&parts.headers, body).await?)?;
        let subject = match caller {
            Caller::User { id, claims } => Subject { user: id, claims: Some(claims) },
            Caller::Visitor { id } => Subject { user: id, claims: None },
            Caller::Service { .. } => {
                let user = body.service_user()?;
                context.note_user(&user);
                self.limits.address().count_user(&user, context)?;
                Subject { user, claims: None }
            }
        };
        context.note_user(&subject.user);
        self.limits.count_user(&subject.user, context).await?;
        Ok((subject, body))
    }
}
