//! How does a failure look from outside? [`Error`] is the one edge error: its [`Kind`] fixes
//! status, type and code, its message says what to do, and its cause goes to the log and nowhere
//! else.
//!
//! An `Error` that becomes a response carries itself in the response's extensions; [`render`]
//! writes the one JSON shape when the request's id is known.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What went wrong, as a closed list: every error that a client can see is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each name is the code that the client sees, in camel case")]
pub enum Kind {
    InvalidJson,
    InvalidRequest,
    MissingToken,
    InvalidToken,
    ExpiredToken,
    InsufficientScope,
    WorkflowNotAllowed,
    SessionMismatch,
    OriginNotAllowed,
    NotFound,
    MisdirectedRequest,
    MethodNotAllowed,
    RequestTimeout,
    HeadTooLarge,
    Conflict,
    PreconditionFailed,
    BodyTooLarge,
    QuotaExceeded,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    IdempotencyKeyReused,
    RateLimited,
    InternalError,
    UpstreamAuthFailed,
    UpstreamRejected,
    UpstreamQuotaExhausted,
    UpstreamInvalidResponse,
    UpstreamUnavailable,
    UpstreamRateLimited,
    Overloaded,
    ShuttingDown,
    NotReady,
    UpstreamTimeout,
}

impl Kind {
    /// Status, `type` and `code`.
    #[must_use]
    pub fn parts(self) -> (StatusCode, &'static str, &'static str) {
        const REQUEST: &str = "invalid_request_error";
        const AUTH: &str = "authentication_error";
        const PERMISSION: &str = "permission_error";
        const UPSTREAM: &str = "upstream_error";
        const API: &str = "api_error";
        use StatusCode as S;
        match self {
            Self::InvalidJson => (S::BAD_REQUEST, REQUEST, "invalid_json"),
            Self::InvalidRequest => (S::BAD_REQUEST, REQUEST, "invalid_request"),
            Self::MissingToken => (S::UNAUTHORIZED, AUTH, "missing_token"),
            Self::InvalidToken => (S::UNAUTHORIZED, AUTH, "invalid_token"),
            Self::ExpiredToken => (S::UNAUTHORIZED, AUTH, "expired_token"),
            Self::InsufficientScope => (S::FORBIDDEN, PERMISSION, "insufficient_scope"),
            Self::WorkflowNotAllowed => (S::FORBIDDEN, PERMISSION, "workflow_not_allowed"),
            Self::SessionMismatch => (S::FORBIDDEN, PERMISSION, "session_mismatch"),
            Self::OriginNotAllowed => (S::FORBIDDEN, PERMISSION, "origin_not_allowed"),
            Self::NotFound => (S::NOT_FOUND, REQUEST, "not_found"),
            Self::MisdirectedRequest => (S::MISDIRECTED_REQUEST, REQUEST, "misdirected_request"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, REQUEST, "method_not_allowed"),
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, REQUEST, "request_timeout"),
            Self::HeadTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, REQUEST, "head_too_large"),
            Self::Conflict => (S::CONFLICT, REQUEST, "conflict"),
            Self::PreconditionFailed => (S::PRECONDITION_FAILED, REQUEST, "precondition_failed"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, REQUEST, "body_too_large"),
            Self::QuotaExceeded => (S::PAYLOAD_TOO_LARGE, REQUEST, "quota_exceeded"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, REQUEST, "unsupported_media_type")
            }
            Self::RangeNotSatisfiable => {
                (S::RANGE_NOT_SATISFIABLE, REQUEST, "range_not_satisfiable")
            }
            Self::IdempotencyKeyReused => {
                (S::UNPROCESSABLE_ENTITY, REQUEST, "idempotency_key_reused")
            }
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limited"),
            Self::InternalError => (S::INTERNAL_SERVER_ERROR, API, "internal_error"),
            Self::UpstreamAuthFailed => (S::BAD_GATEWAY, UPSTREAM, "upstream_auth_failed"),
            Self::UpstreamRejected => (S::BAD_GATEWAY, UPSTREAM, "upstream_rejected"),
            Self::UpstreamQuotaExhausted => (S::BAD_GATEWAY, UPSTREAM, "upstream_quota_exhausted"),
            Self::UpstreamInvalidResponse => {
                (S::BAD_GATEWAY, UPSTREAM, "upstream_invalid_response")
            }
            Self::UpstreamUnavailable => (S::SERVICE_UNAVAILABLE, UPSTREAM, "upstream_unavailable"),
            Self::UpstreamRateLimited => {
                (S::SERVICE_UNAVAILABLE, UPSTREAM, "upstream_rate_limited")
            }
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, API, "overloaded"),
            Self::ShuttingDown => (S::SERVICE_UNAVAILABLE, API, "shutting_down"),
            Self::NotReady => (S::SERVICE_UNAVAILABLE, API, "not_ready"),
            Self::UpstreamTimeout => (S::GATEWAY_TIMEOUT, UPSTREAM, "upstream_timeout"),
        }
    }
}

/// A failure on its way to the client.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    message: Cow<'static, str>,
    cause: Option<Arc<str>>,
    retry_after: Option<u64>,
}

impl Error {
    /// An error whose message tells the client what to do about it. Never put a secret, an upstream
    /// body or a path in it.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = (kind.parts().0 == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { kind, message: message.into(), cause: None, retry_after }
    }

    /// A 500 with the fixed public text; the cause goes to the log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(
            Kind::InternalError,
            "Something went wrong here. Try again; if it stays, report the request id.",
        )
        .because(cause)
    }

    /// 400 `invalid_request` for a field: "`user` must be …".
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::InvalidRequest, message)
    }

    /// Adds the cause, for the log line alone.
    #[must_use]
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string().into());
        self
    }

    /// Sets `Retry-After`, in whole seconds (at least 1). A 503 has 1 unless told otherwise.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the log line says: the code, and the cause if one is known.
    #[must_use]
    pub fn log_text(&self) -> String {
        let code = self.kind.parts().2;
        self.cause.as_ref().map_or_else(|| code.to_owned(), |cause| format!("{code}: {cause}"))
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind.parts();
        let mut response = status.into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge(self.kind) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if matches!(self.kind, Kind::BodyTooLarge | Kind::QuotaExceeded | Kind::RequestTimeout) {
            // The rest of the body stays unread, so no other request can follow on this connection;
            // a client that is not told so tries.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// RFC 6750 section 3: no error code when no credential was sent; otherwise what is wrong with it.
fn challenge(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::MissingToken => Some(r#"Bearer realm="chatkit""#),
        Kind::ExpiredToken => Some(
            r#"Bearer realm="chatkit", error="invalid_token", error_description="The token has expired""#,
        ),
        Kind::InvalidToken => Some(
            r#"Bearer realm="chatkit", error="invalid_token", error_description="The token is not valid""#,
        ),
        Kind::InsufficientScope => Some(
            r#"Bearer realm="chatkit", error="insufficient_scope", error_description="The token is not good for this""#,
        ),
        _ => None,
    }
}

/// The body of every error. `message` stands at the top level once more because that is where
/// ChatKit's browser client looks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorBody<'a> {
    error: ErrorDetail<'a>,
    /// The same text as `error.message`.
    message: &'a str,
}

/// What went wrong, in a form for programs and a form for people.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorDetail<'a> {
    /// The family of the error.
    #[schema(example = "authentication_error")]
    r#type: &'a str,
    /// The exact error.
    #[schema(example = "expired_token")]
    code: &'a str,
    /// What to do about it.
    message: &'a str,
    /// The `x-request-id` of this answer.
    request_id: &'a str,
}

/// Writes the JSON body of a response that carries an [`Error`], and returns that error for the
/// log.
pub fn render(response: &mut Response, request_id: &str, head_only: bool) -> Option<Error> {
    let error = response.extensions_mut().remove::<Error>()?;
    let (_, r#type, code) = error.kind.parts();
    let message = &*error.message;
    let body = ErrorBody { error: ErrorDetail { r#type, code, message, request_id }, message };
    let json = serde_json::to_vec(&body).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
    *response.body_mut() = if head_only { Body::empty() } else { Body::from(json) };
    Some(error)
}

/// What a panic said, for the log alone.
#[must_use]
pub fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}
