//! What went wrong at OpenAI, and how does a client learn of it? [`Error`] says it for the log; its
//! conversion into the edge error is the one table of what the client sees.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;

use super::redact::sanitise;
use crate::error::{Error as EdgeError, Kind};

/// OpenAI's words in a log line are cut to this many characters.
const MESSAGE_CAP: usize = 200;
const LABEL_CAP: usize = 64;

/// A call that brought nothing. It holds no secret and no body: `Display` is fit for a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The time that one request of a client has is over.
    #[error("no answer in the time that one request has (UPSTREAM_TIMEOUT_SECONDS)")]
    Timeout,
    /// No connection, or one that broke before the answer was whole.
    #[error("connection failed: {0}")]
    Unreachable(Box<str>),
    /// An answer with a status that is an error.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// An answer that can't be used.
    #[error("{0}")]
    Invalid(Defect),
}

/// Why an answer can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Redirects are not followed: they would carry the key to another host.
    #[error("a redirect, which is not followed (is CHATKIT_API_BASE, or OPENAI_BASE_URL, right?)")]
    Redirect,
    /// The body is over 1 MiB.
    #[error("an answer of more than 1 MiB")]
    TooLarge,
    /// The body is no JSON, or no object.
    #[error(
        "an answer that is not a JSON object (is CHATKIT_API_BASE, or OPENAI_BASE_URL, right?)"
    )]
    NotJson,
    /// The body is a JSON object without a `client_secret`.
    #[error("an answer without a client secret")]
    NoClientSecret,
    /// Nothing was sent: the key holds what a header can't.
    #[error("the API key can't stand in a header")]
    Key,
    /// The answer to a recording is a JSON object without a `text`.
    #[error("an answer without a text")]
    NoText,
}

/// Which of the two sides of us an upstream is: what a status usually means depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's ChatKit API, in hosted mode.
    ChatKit,
    /// A server that runs models: OpenAI's, or one that speaks like it.
    Model,
}

/// What OpenAI said with an error status, cut short and with secrets taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who refused.
    pub api: Api,
    /// The status of the answer.
    pub status: StatusCode,
    /// OpenAI's id of the request, from `x-request-id`.
    pub request_id: Option<Box<str>>,
    /// How long we are asked to wait.
    pub retry_after: Option<Duration>,
    /// What the body said.
    pub detail: Detail,
}

/// The parts of an error body that are worth a log line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// OpenAI's `error.type`.
    pub r#type: Option<Box<str>>,
    /// OpenAI's `error.code`; some servers send a number.
    pub code: Option<Box<str>>,
    /// OpenAI's `error.message`.
    pub message: Option<Box<str>>,
}

impl Detail {
    /// Reads an error body of any shape: OpenAI's, a bare string, an `error` that is missing, HTML.
    /// `own_key` is taken out wherever it stands.
    #[must_use]
    pub fn read(body: &[u8], own_key: &str) -> Self {
        serde_json::from_slice::<Value>(body)
            .map_or_else(|_| Self::default(), |body| Self::of(&body, own_key))
    }

    /// The same of a body that has been parsed, or of an event in a stream; `error_type` and
    /// `error_message`, which some hosts of vLLM send, count too.
    pub(super) fn of(body: &Value, own_key: &str) -> Self {
        let error = match body {
            Value::Object(fields) => {
                fields.get("error").filter(|error| !error.is_null()).unwrap_or(body)
            }
            other => other,
        };
        let field = |name: &str, cap| match error.get(name)? {
            Value::String(text) => Some(sanitise(text, own_key, cap)),
            Value::Number(number) => Some(sanitise(&number.to_string(), own_key, cap)),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match error {
            Value::String(text) => {
                Self { message: Some(sanitise(text, own_key, MESSAGE_CAP)), ..Self::default() }
            }
            _ => Self {
                r#type: field("error_type", LABEL_CAP).or_else(|| field("type", LABEL_CAP)),
                code: field("code", LABEL_CAP),
                message: field("message", MESSAGE_CAP)
                    .or_else(|| field("error_message", MESSAGE_CAP)),
            },
        }
    }

    /// Whether the account has nothing left to spend: waiting does not help.
    #[must_use]
    pub fn is_quota(&self) -> bool {
        const CODES: [&str; 5] = [
            "insufficient_quota",
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
        ];
        self.r#type.as_deref() == Some("insufficient_quota")
            || self.code.as_deref().is_some_and(|code| CODES.contains(&code))
    }
}

impl Refusal {
    fn kind(&self) -> Kind {
        match self.status.as_u16() {
            401 | 403 => Kind::UpstreamAuthFailed,
            429 if self.detail.is_quota() => Kind::UpstreamQuotaExhausted,
            429 => Kind::UpstreamRateLimited,
            408 | 409 => Kind::UpstreamUnavailable,
            400..=499 => Kind::UpstreamRejected,
            _ => Kind::UpstreamUnavailable,
        }
    }

    /// What the status usually means here, for whoever reads the log.
    fn usual_meaning(&self) -> Option<&'static str> {
        match self.api {
            Api::ChatKit => self.meaning_of_chatkit(),
            Api::Model => self.meaning_of_a_model(),
        }
    }

    fn meaning_of_a_model(&self) -> Option<&'static str> {
        Some(match (self.status.as_u16(), self.kind()) {
            (401, _) => "the key for this model is wrong, or has been revoked",
            (403, _) => "the key may not use this model, or not from this address or country",
            (404, _) => {
                "the model's name is wrong, the key's project may not use it, \
                 or the server has no such endpoint (OPENAI_BASE_URL, CHATKIT_MODEL_API)"
            }
            (413, _) => "the thread's attachments are more than the server takes",
            (_, Kind::UpstreamQuotaExhausted) => {
                "the credit or the spending limit of the account is used up"
            }
            _ => return None,
        })
    }

    fn meaning_of_chatkit(&self) -> Option<&'static str> {
        Some(match (self.status.as_u16(), self.kind()) {
            (401, _) => "OPENAI_API_KEY is wrong, or has been revoked",
            (403, _) => "the key may not use ChatKit, or not from this address or country",
            (404 | 410, _) => {
                "the key and the workflow belong to different projects, \
                 or Agent Builder has ended (OpenAI ends it on 2026-11-30)"
            }
            (400 | 422, _) => "OpenAI does not accept what the CHATKIT_* variables ask for",
            (_, Kind::UpstreamQuotaExhausted) => {
                "the credit or the spending limit of the account is used up"
            }
            (_, Kind::UpstreamRejected) => "CHATKIT_API_BASE leads to another server than OpenAI's",
            _ => return None,
        })
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Detail { r#type, code, message } = &self.detail;
        write!(f, "status {}", self.status.as_u16())?;
        for (name, value) in [("type", r#type), ("code", code), ("request id", &self.request_id)] {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        if let Some(message) = message {
            write!(f, ", message {message:?}")?;
        }
        match self.usual_meaning() {
            Some(meaning) => write!(f, "; it usually means that {meaning}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// What the client will see of it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Timeout => Kind::UpstreamTimeout,
            Self::Unreachable(_) => Kind::UpstreamUnavailable,
            Self::Refused(refusal) => refusal.kind(),
            Self::Invalid(Defect::Key) => Kind::UpstreamAuthFailed,
            Self::Invalid(_) => Kind::UpstreamInvalidResponse,
        }
    }

    /// Whether what we asked about is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == StatusCode::NOT_FOUND)
    }
}

impl From<&Error> for EdgeError {
    fn from(error: &Error) -> Self {
        let kind = error.kind();
        let edge = Self::new(kind, public_text(kind)).because(error);
        match error {
            Error::Refused(refusal) if kind.parts().0 == StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = refusal
                    .retry_after
                    .map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
                seconds.map_or(edge.clone(), |seconds| edge.retry_after(seconds))
            }
            _ => edge,
        }
    }
}

impl From<Error> for EdgeError {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

fn public_text(kind: Kind) -> &'static str {
    match kind {
        Kind::UpstreamAuthFailed => {
            "OpenAI refused this server's API key. Tell the site's operator: the log says why, \
             under the request id."
        }
        Kind::UpstreamRejected => {
            "OpenAI rejected this server's request. Tell the site's operator: the log says why, \
             under the request id."
        }
        Kind::UpstreamQuotaExhausted => {
            "The site's quota at OpenAI is used up. Tell the site's operator; trying again does \
             not help."
        }
        Kind::UpstreamInvalidResponse => {
            "OpenAI's answer could not be used. Try again; if it stays, tell the site's operator \
             the request id."
        }
        Kind::UpstreamRateLimited => {
            "OpenAI limits this server right now. Try again after the time in Retry-After."
        }
        Kind::UpstreamTimeout => "OpenAI did not answer in time. Try again.",
        _ => "OpenAI can't be reached right now. Try again after the time in Retry-After.",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn detail(body: &str) -> (Option<String>, Option<String>, Option<String>) {
        let Detail { r#type, code, message } = Detail::read(body.as_bytes(), "sk-own");
        (r#type.map(String::from), code.map(String::from), message.map(String::from))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn an_error_body_of_any_shape_is_read() {
        for (body, expected) in [
            (
                r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#,
                (some("t"), some("c"), some("m")),
            ),
            (
                r#"{"error":{"message":"m","type":"t","code":503}}"#,
                (some("t"), some("503"), some("m")),
            ),
            (r#"{"error":"plain words"}"#, (None, None, some("plain words"))),
            (r#"{"error":null,"message":"m"}"#, (None, None, some("m"))),
            (r#"{"message":"m","code":7}"#, (None, some("7"), some("m"))),
            (r#""words""#, (None, None, some("words"))),
            (r#"{"error":{"message":{"a":1},"type":[],"code":true}}"#, (None, None, None)),
            ("<html><body>Bad gateway sk-1</body></html>", (None, None, None)),
            ("[]", (None, None, None)),
            ("", (None, None, None)),
        ] {
            assert_eq!(detail(body), expected, "{body}");
        }
    }

    #[test]
    fn the_log_names_status_type_code_request_and_what_it_usually_means() {
        let body =
            br#"{"error":{"message":"Workflow with id 'wf_1' not found.","type":"invalid_request_error"}}"#;
        let refusal = Refusal {
            api: Api::ChatKit,
            status: StatusCode::NOT_FOUND,
            request_id: Some("req_1".into()),
            retry_after: None,
            detail: Detail::read(body, "sk-own"),
        };
        assert_eq!(
            refusal.to_string(),
            "status 404, type invalid_request_error, request id req_1, message \"Workflow with id \
             'wf_1' not found.\"; it usually means that the key and the workflow belong to \
             different projects, or Agent Builder has ended (OpenAI ends it on 2026-11-30)"
        );
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,300}".prop_map(Value::from),
            "(sk-|ek_|cks_)[a-z0-9]{20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("error|type|code|message|param|x", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Detail::read(&body, "sk-own");
        }

        #[test]
        fn no_json_brings_a_secret_a_long_text_or_a_control_character_into_the_log(body in json()) {
            let detail = Detail::read(body.to_string().as_bytes(), "sk-own");
            for text in [&detail.r#type, &detail.code, &detail.message].into_iter().flatten() {
                prop_assert!(text.chars().count() <= MESSAGE_CAP + 1);
                prop_assert!(!text.chars().any(char::is_control));
                for mark in ["sk-", "ek_", "cks_"] {
                    prop_assert!(!text.contains(mark), "{text}");
                }
            }
        }
    }
}
