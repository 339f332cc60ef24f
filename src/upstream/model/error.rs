//! Why did a model not answer to the end? [`ModelError`] says it for the log, and whether asking
//! again makes sense.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;

use crate::upstream::error::{Defect, Detail, Error};
use crate::upstream::redact::sanitise;

const CAUSE_CAP: usize = 300;

/// What went wrong, as a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelErrorKind {
    /// The request holds something that this API can't carry. Nothing was sent.
    Unsupported,
    /// The key was refused.
    Auth,
    /// The request was refused: a wrong model, a setting that it does not know, an address that is
    /// no API.
    Rejected,
    /// The account has nothing left to spend.
    Quota,
    /// Too many requests or tokens right now.
    RateLimited,
    /// The conversation is longer than the model can read.
    ContextTooLong,
    /// No connection, or a server that is overloaded, starting or broken.
    Unavailable,
    /// No answer, or no more of it, in time.
    Timeout,
    /// The stream ended before the answer did.
    Cut,
    /// Something came that is no event of the API.
    BadFrame,
    /// The model said that it failed.
    Failed,
    /// The model stopped early: its limit of tokens, or a filter of content.
    Incomplete,
}

/// An answer that failed. It holds no secret: `Debug` and `Display` are fit for a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelError {
    kind: ModelErrorKind,
    cause: Box<str>,
    status: Option<StatusCode>,
    request_id: Option<Box<str>>,
    retry_after: Option<Duration>,
}

/// What a reader of a stream met in it, before it is made fit for a log.
#[derive(Debug)]
pub(in crate::upstream) enum Trouble {
    /// The server reported an error, in an object of any shape.
    Said(Value),
    /// The model stopped early, for this reason.
    Incomplete(String),
    /// A frame can't be understood.
    Unreadable(String),
}

impl ModelError {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ModelErrorKind {
        self.kind
    }

    /// The status of the answer, if it was an error already.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The server's id of the request, to quote to whoever runs it.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// How long the server asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the same question may be answered a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use ModelErrorKind as K;
        match self.kind {
            K::Unsupported | K::Auth | K::Rejected | K::Quota | K::ContextTooLong => false,
            K::RateLimited
            | K::Unavailable
            | K::Timeout
            | K::Cut
            | K::BadFrame
            | K::Failed
            | K::Incomplete => true,
        }
    }

    /// An error that is known from its kind and these words, which hold nothing from outside.
    pub(in crate::upstream) fn new(kind: ModelErrorKind, cause: impl Into<Box<str>>) -> Self {
        Self { kind, cause: cause.into(), status: None, request_id: None, retry_after: None }
    }

    /// What a stream held in place of the rest of the answer.
    pub(in crate::upstream) fn in_stream(trouble: Trouble, own_key: &str) -> Self {
        match trouble {
            Trouble::Said(value) => Self::said(&value, own_key),
            Trouble::Incomplete(reason) => {
                let reason = sanitise(&reason, own_key, CAUSE_CAP);
                Self::new(ModelErrorKind::Incomplete, format!("the answer is incomplete: {reason}"))
            }
            Trouble::Unreadable(why) => {
                let why = sanitise(&why, own_key, CAUSE_CAP);
                Self::new(ModelErrorKind::BadFrame, format!("an event that can't be read: {why}"))
            }
        }
    }

    /// An error that the server reported, in an object of any shape.
    pub(in crate::upstream) fn said(value: &Value, own_key: &str) -> Self {
        let detail = Detail::of(value, own_key);
        let mut cause = "the model reported an error".to_owned();
        for (name, value) in
            [("type", &detail.r#type), ("code", &detail.code), ("message", &detail.message)]
        {
            if let Some(value) = value {
                cause.push_str(&format!(", {name} {value:?}"));
            }
        }
        // llama.cpp says with a status as its code what it could not say any more in the head.
        let status = detail.code.as_deref().and_then(|code| code.parse().ok());
        let status = status.filter(|status| (400..600).contains(status));
        Self::new(kind_of(status, &detail), cause)
    }

    pub(in crate::upstream) fn with_request_id(self, request_id: Option<Box<str>>) -> Self {
        Self { request_id, ..self }
    }
}

impl From<Error> for ModelError {
    fn from(error: Error) -> Self {
        let cause = error.to_string();
        match error {
            Error::Timeout => {
                Self::new(ModelErrorKind::Timeout, "the model did not begin to answer in time")
            }
            Error::Unreachable(_) => Self::new(ModelErrorKind::Unavailable, cause),
            Error::Invalid(Defect::Key) => Self::new(ModelErrorKind::Auth, cause),
            Error::Invalid(_) => Self::new(ModelErrorKind::Rejected, cause),
            Error::Refused(refusal) => Self {
                status: Some(refusal.status),
                retry_after: refusal.retry_after,
                request_id: refusal.request_id.clone(),
                ..Self::new(kind_of(Some(refusal.status.as_u16()), &refusal.detail), cause)
            },
        }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match &self.request_id {
            // A refusal's words name it already.
            Some(id) if self.status.is_none() => write!(f, ", request id {id}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ModelError {}

/// What a status and the words with it mean. In a stream there is no status, as a rule.
fn kind_of(status: Option<u16>, detail: &Detail) -> ModelErrorKind {
    use ModelErrorKind as K;
    if detail.is_quota() || status == Some(402) {
        return K::Quota;
    }
    if is_about_length(detail) {
        return K::ContextTooLong;
    }
    for label in [&detail.code, &detail.r#type].into_iter().flatten() {
        match &**label {
            "rate_limit_exceeded" | "rate_limit_error" | "slow_down" => return K::RateLimited,
            "server_is_overloaded" | "overloaded_error" | "unavailable_error" => {
                return K::Unavailable;
            }
            "invalid_api_key" | "authentication_error" => return K::Auth,
            _ => {}
        }
    }
    match status {
        Some(401 | 403) => K::Auth,
        Some(429) => K::RateLimited,
        Some(408 | 409 | 500..) => K::Unavailable,
        Some(_) => K::Rejected,
        None => K::Failed,
    }
}

/// Whether the conversation is too long for the model. OpenAI and llama.cpp have a name for it,
/// vLLM and others only words.
fn is_about_length(detail: &Detail) -> bool {
    let label = |label: &Option<Box<str>>, name: &str| label.as_deref() == Some(name);
    let message = detail.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    label(&detail.code, "context_length_exceeded")
        || label(&detail.r#type, "exceed_context_size_error")
        || ["maximum context length", "context window", "context size"]
            .iter()
            .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(value: &Value) -> ModelError {
        ModelError::said(value, "my-own-key")
    }

    #[test]
    fn an_error_in_a_stream_is_understood_in_every_shape() {
        use ModelErrorKind as K;
        for (value, kind) in [
            (json!({"type": "error", "code": "server_error", "message": "m"}), K::Failed),
            (
                json!({"type": "error", "error": {"type": "server_error", "code": "x", "message": "m"}}),
                K::Failed,
            ),
            (json!({"error": "words"}), K::Failed),
            (json!({"error_type": "InternalServerError", "error_message": "m"}), K::Failed),
            (
                json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
                K::Unavailable,
            ),
            (
                json!({"error": {"code": 400, "message": "m", "type": "exceed_context_size_error"}}),
                K::ContextTooLong,
            ),
            (
                json!({"error": {"code": 400, "message": "m", "type": "invalid_request_error"}}),
                K::Rejected,
            ),
            (
                json!({"error": {"message": "This model's maximum context length is 8192 tokens."}}),
                K::ContextTooLong,
            ),
            (json!({"code": "context_length_exceeded", "message": "m"}), K::ContextTooLong),
            (json!({"code": "rate_limit_exceeded", "message": "m"}), K::RateLimited),
            (json!({"code": "insufficient_quota", "message": "m"}), K::Quota),
            (json!({"error": {"code": "server_is_overloaded"}}), K::Unavailable),
            (json!({"error": {"code": "invalid_api_key"}}), K::Auth),
        ] {
            assert_eq!(said(&value).kind(), kind, "{value}");
        }
    }

    #[test]
    fn what_another_try_may_mend_is_retryable() {
        for (value, expected) in [
            (json!({"code": "server_error"}), true),
            (json!({"code": "rate_limit_exceeded"}), true),
            (json!({"code": "insufficient_quota"}), false),
            (json!({"code": "context_length_exceeded"}), false),
            (json!({"code": "invalid_api_key"}), false),
        ] {
            assert_eq!(said(&value).is_retryable(), expected, "{value}");
        }
    }

    #[test]
    fn the_words_for_the_log_hold_no_key() {
        let error = said(
            &json!({"error": {"type": "t", "code": "c", "message": "bad key my-own-key or sk-abc"}}),
        );
        let error = error.with_request_id(Some("req_1".into()));
        assert_eq!(
            error.to_string(),
            "the model reported an error, type \"t\", code \"c\", message \"bad key [redacted] or \
             [redacted]\", request id req_1"
        );
        let error =
            ModelError::in_stream(Trouble::Unreadable("x my-own-key".to_owned()), "my-own-key");
        assert!(!format!("{error} {error:?}").contains("my-own-key"));
    }
}
