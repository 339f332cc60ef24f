//! How is a session created and cancelled? The two handlers and the session object they answer
//! with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE64_NOPAD, HEXLOWER};
use serde::{Serialize, Serializer};

use super::Sandbox;
use super::error::ApiError;
use super::gate;
use super::request::{self, Configuration, RateLimits, SessionRequest, Workflow};
use super::scenario::Scenario;
use super::store::{Session, SessionId, Status};

/// `POST /v1/chatkit/sessions`
pub(super) async fn create_session(
    State(sandbox): State<Arc<Sandbox>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    gate::check_beta(&head.headers)?;
    let wanted = request::parse(&gate::read_json(&head.headers, body, gate::MAX_BODY).await?)?;
    match Scenario::of(&wanted.workflow.id, &head.uri) {
        Scenario::Mint => {}
        Scenario::MintAfter(wait) => tokio::time::sleep(wait).await,
        Scenario::MintWithoutSecret => {
            return Ok(SessionObject::without_secret(&mint(&sandbox, wanted)).answer());
        }
        Scenario::FailOnce if lock(&sandbox.flaky).is_first(&wanted.user) => {
            return Err(ApiError::server_error());
        }
        Scenario::FailOnce => {}
        Scenario::Answer(answer) => return Ok(*answer),
    }
    Ok(SessionObject::new(&mint(&sandbox, wanted), Status::Active).answer())
}

/// `POST /v1/chatkit/sessions/{id}/cancel`. A body is neither needed nor read.
pub(super) async fn cancel_session(
    State(sandbox): State<Arc<Sandbox>>,
    method: Method,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    gate::check_beta(&headers)?;
    let Ok(Path(id)) = id else { return Err(gate::unknown_path(&method, &uri)) };
    let now = sandbox.clock.unix_seconds();
    let found = parse_id(&id).and_then(|id| lock(&sandbox.sessions).cancel(&id, now));
    let (session, status) = found.ok_or_else(|| ApiError::session_not_found(&id))?;
    Ok(SessionObject::new(&session, status).answer())
}

/// Makes a session and remembers it.
fn mint(sandbox: &Sandbox, request: SessionRequest) -> Arc<Session> {
    let now = sandbox.clock.unix_seconds();
    let session = Arc::new(Session {
        id: gate::random(),
        secret: gate::random(),
        expires_at: now + request.lifetime,
        request,
    });
    lock(&sandbox.sessions).insert(Arc::clone(&session), now);
    session
}

/// What is behind these locks is whole between any two statements, so that a panic elsewhere spoils
/// nothing.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const ID_PREFIX: &str = "cksess_";

fn parse_id(id: &str) -> Option<SessionId> {
    let bytes = HEXLOWER.decode(id.strip_prefix(ID_PREFIX)?.as_bytes()).ok()?;
    bytes.try_into().ok()
}

/// The session as OpenAI shows it. `max_requests_per_1_minute` stands there twice.
#[derive(Serialize)]
struct SessionObject<'a> {
    #[serde(serialize_with = "as_id")]
    id: &'a SessionId,
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<ClientSecret<'a>>,
    expires_at: u64,
    user: &'a str,
    status: Status,
    max_requests_per_1_minute: u64,
    rate_limits: RateLimits,
    workflow: &'a Workflow,
    chatkit_configuration: &'a Configuration,
}

impl<'a> SessionObject<'a> {
    fn new(session: &'a Session, status: Status) -> Self {
        let request = &session.request;
        Self {
            id: &session.id,
            object: "chatkit.session",
            client_secret: Some(ClientSecret {
                random: &session.secret,
                expires_at: session.expires_at,
            }),
            expires_at: session.expires_at,
            user: &request.user,
            status,
            max_requests_per_1_minute: request.rate_limits.max_requests_per_1_minute,
            rate_limits: request.rate_limits,
            workflow: &request.workflow,
            chatkit_configuration: &request.configuration,
        }
    }

    fn without_secret(session: &'a Session) -> Self {
        Self { client_secret: None, ..Self::new(session, Status::Active) }
    }

    fn answer(&self) -> Response {
        let mut body = Vec::with_capacity(1024);
        match serde_json::to_writer(&mut body, self) {
            Ok(()) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(_) => ApiError::server_error().into_response(),
        }
    }
}

fn as_id<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{ID_PREFIX}{}", HEXLOWER.encode_display(id)))
}

/// A client secret as the chat UI of OpenAI reads it: behind its last `_` stand the version `00`
/// and, in base64, when it ends.
struct ClientSecret<'a> {
    random: &'a [u8; 32],
    expires_at: u64,
}

impl Serialize for ClientSecret<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let end = format!("{{\"expires_at\":{}}}", self.expires_at);
        let end = BASE64_NOPAD.encode(end.as_bytes());
        serializer.collect_str(&format_args!("ek_{}_00{end}", HEXLOWER.encode_display(self.random)))
    }
}
