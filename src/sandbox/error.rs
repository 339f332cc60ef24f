//! How does OpenAI say no? One error type with its shape, and its words for each refusal.

use std::borrow::Cow;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A refusal in OpenAI's shape. All four members are always there; two of them may be null.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after: Option<u16>,
    message: Cow<'static, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<Cow<'static, str>>,
    code: Option<&'static str>,
}

impl ApiError {
    /// An `invalid_request_error`, which is what OpenAI calls nearly every refusal.
    pub(super) fn invalid(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            retry_after: None,
            message: message.into(),
            kind: "invalid_request_error",
            param: None,
            code: None,
        }
    }

    /// A 400 that is about one field of the body.
    pub(super) fn field(
        param: impl Into<Cow<'static, str>>,
        code: &'static str,
        message: String,
    ) -> Self {
        Self::invalid(StatusCode::BAD_REQUEST, message).about(param).code(code)
    }

    /// The same about this field.
    pub(super) fn about(self, param: impl Into<Cow<'static, str>>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// The same with this machine-readable `code`.
    pub(super) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same with this `type`.
    pub(super) fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    /// The same with a `Retry-After` of this many seconds.
    pub(super) fn retry_after(self, seconds: u16) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The body is not JSON.
    pub(super) fn unparsable() -> Self {
        Self::invalid(
            StatusCode::BAD_REQUEST,
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't \
             using your HTTP library correctly. The OpenAI API expects a JSON payload, but what \
             was sent was not valid JSON. If you have trouble figuring out how to fix this, please \
             contact us through our help center at help.openai.com.)",
        )
    }

    /// The body is larger than this many bytes.
    pub(super) fn too_large(limit: usize) -> Self {
        Self::invalid(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Maximum content size limit ({limit}) exceeded."),
        )
    }

    /// The body did not arrive in time.
    pub(super) fn too_slow() -> Self {
        Self::invalid(StatusCode::REQUEST_TIMEOUT, "Timed out reading the request body.")
            .code("request_timeout")
    }

    /// The error that a user asked the scripted model for.
    pub(super) fn as_asked(status: StatusCode) -> Self {
        match status {
            StatusCode::TOO_MANY_REQUESTS => Self::rate_limited(),
            StatusCode::INTERNAL_SERVER_ERROR => Self::server_error(),
            StatusCode::SERVICE_UNAVAILABLE => Self::overloaded(),
            other => {
                let error = Self::invalid(other, "The scripted model was asked for this error.");
                if other.is_server_error() {
                    error.kind("server_error").code("server_error")
                } else {
                    error
                }
            }
        }
    }

    /// The workflow is unknown, or belongs to another project than the key: OpenAI does not tell
    /// which.
    pub(super) fn workflow_not_found(id: &str) -> Self {
        Self::invalid(StatusCode::NOT_FOUND, format!("Workflow with id '{id}' not found."))
    }

    /// The session never was, or is forgotten.
    pub(super) fn session_not_found(id: &str) -> Self {
        Self::invalid(StatusCode::NOT_FOUND, format!("Chatkit Session with id '{id}' not found."))
    }

    /// A transient 429: a moment later the same request is welcome.
    pub(super) fn rate_limited() -> Self {
        Self::invalid(
            StatusCode::TOO_MANY_REQUESTS,
            "Rate limit reached for requests. Please try again in 1s. Visit \
             https://platform.openai.com/account/rate-limits to learn more.",
        )
        .kind("requests")
        .code("rate_limit_exceeded")
        .retry_after(1)
    }

    /// A terminal 429: no retry helps until somebody pays.
    pub(super) fn quota_exhausted() -> Self {
        Self::invalid(
            StatusCode::TOO_MANY_REQUESTS,
            "You exceeded your current quota, please check your plan and billing details. For more \
             information on this error, read the docs: \
             https://platform.openai.com/docs/guides/error-codes/api-errors.",
        )
        .kind("insufficient_quota")
        .code("insufficient_quota")
    }

    /// A fault on OpenAI's side.
    pub(super) fn server_error() -> Self {
        Self::invalid(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The server had an error while processing your request. Sorry about that! You can \
             retry your request, or contact us through our help center at help.openai.com if the \
             error persists.",
        )
        .kind("server_error")
        .code("server_error")
    }

    /// OpenAI sheds load.
    pub(super) fn overloaded() -> Self {
        Self::invalid(
            StatusCode::SERVICE_UNAVAILABLE,
            "Our servers are currently overloaded. Please try again later.",
        )
        .kind("service_unavailable_error")
        .code("server_is_overloaded")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self }).to_string();
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
