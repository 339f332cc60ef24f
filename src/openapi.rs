//! What does the API look like to a program? The parts of the OpenAPI 3.1 document that no single endpoint owns.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{RefOr, Required};
use utoipa::{Modify, OpenApi};

use crate::error::ErrorBody;

/// The document's head; the endpoints add themselves where they are routed.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "chatkit-server",
        description = "A site's ChatKit backend: the chat itself or OpenAI's sessions, behind the site's own sign-in."
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
    /// The upstream refused what this service sent.
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
        components.add_security_scheme("user_token", bearer("JWT", "The JWT of the site's signed-in user"));
        components.add_security_scheme(
            "client_secret",
            bearer("JWT", "The client secret of `POST /api/chatkit/session`, in self-hosted mode"),
        );
        components
            .add_security_scheme("service_token", bearer("cks_…", "A server that mints for a user it names"));
        components.add_security_scheme("visitor_cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// The whole document as JSON. JSON bodies are never required: an empty one counts as `{}`.
#[must_use]
pub fn to_json(mut document: utoipa::openapi::OpenApi) -> String {
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.post, &mut item.delete].into_iter().flatten() {
            if let Some(RefOr::T(body)) = &mut operation.request_body
                && body.content.contains_key("application/json")
            {
                body.required = Some(Required::False);
            }
        }
    }
    document.to_json().unwrap_or_default()
}
