//! What does the API look like to a program? The parts of the OpenAPI 3.1 document that no single
//! endpoint owns.

mod answers;
mod shape;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::error::ErrorBody;

/// The document's head. The endpoints are described where they are routed.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "chatkit-server",
        description = "A site's ChatKit backend: the chat itself or OpenAI's sessions, behind the \
                       site's own sign-in."
    ),
    tags(
        (name = "sessions", description = "Client secrets for ChatKit"),
        (name = "chat", description = "The ChatKit protocol, in self-hosted mode"),
        (name = "attachments", description = "The files of messages, in self-hosted mode"),
        (name = "page", description = "What an embedding page needs"),
        (name = "operations", description = "Health and readiness"),
    ),
    components(schemas(ErrorBody)),
    modifiers(&Credentials)
)]
pub struct Document;

/// How a request may fail.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it documents the answers, which `Error` makes")]
pub(crate) enum Refusals {
    /// `invalid_json` or `invalid_request`: the body is not as documented; the message names the
    /// field.
    #[response(status = 400)]
    Invalid(ErrorBody<'static>),
    /// `missing_token`, `invalid_token` or `expired_token`: no credential, or one that is not good.
    #[response(status = 401)]
    Unknown(ErrorBody<'static>),
    /// `workflow_not_allowed`, `session_mismatch`, `origin_not_allowed` or `insufficient_scope`:
    /// the caller may not do that.
    #[response(status = 403)]
    Forbidden(ErrorBody<'static>),
    /// `request_timeout`: the body took too long.
    #[response(status = 408)]
    Slow(ErrorBody<'static>),
    /// `unsupported_media_type`: a body that is not `application/json`.
    #[response(status = 415)]
    Untyped(ErrorBody<'static>),
    /// `rate_limited`: too many requests. Wait for `Retry-After` seconds.
    #[response(status = 429)]
    Limited(ErrorBody<'static>),
    /// `internal_error`.
    #[response(status = 500)]
    Broken(ErrorBody<'static>),
    /// `upstream_auth_failed`, `upstream_rejected`, `upstream_quota_exhausted` or
    /// `upstream_invalid_response`: the upstream refused what this service sent.
    #[response(status = 502)]
    Refused(ErrorBody<'static>),
    /// `upstream_unavailable`, `upstream_rate_limited`, `overloaded`, `shutting_down` or
    /// `not_ready`: the upstream or this service is away or busy. Try again after `Retry-After`
    /// seconds.
    #[response(status = 503)]
    Away(ErrorBody<'static>),
    /// `upstream_timeout`: the upstream took too long.
    #[response(status = 504)]
    Late(ErrorBody<'static>),
}

/// How callers say who they are.
#[derive(Debug)]
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = |format: &str, text: &str| {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format(format);
            SecurityScheme::Http(scheme.description(Some(text)).build())
        };
        let cookie = ApiKeyValue::with_description(
            "chatkit_visitor",
            "A visitor without a token, where they are let in",
        );
        let own = ApiKeyValue::with_description(
            "JWT_COOKIE",
            "The user's JWT, in the cookie that JWT_COOKIE names",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("user_cookie", SecurityScheme::ApiKey(ApiKey::Cookie(own)));
        components.add_security_scheme(
            "user_token",
            bearer("JWT", "The JWT of the site's signed-in user"),
        );
        components.add_security_scheme(
            "client_secret",
            bearer("JWT", "The client secret of `POST /api/chatkit/session`, in self-hosted mode"),
        );
        components.add_security_scheme(
            "service_token",
            bearer("cks_…", "A server that mints for a user it names"),
        );
        components
            .add_security_scheme("visitor_cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// What the configuration allows of files.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    /// The bytes of one file.
    pub bytes: u64,
    /// The files of one message.
    pub count: u32,
}

/// The whole document as JSON; `files` where the chat takes files.
#[must_use]
pub fn to_json(document: &utoipa::openapi::OpenApi, files: Option<FileLimits>) -> String {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    shape::name_choices(&mut document);
    if let Some(files) = files {
        shape::limit_files(&mut document, files);
    }
    answers::complete(&mut document);
    document.to_string()
}
