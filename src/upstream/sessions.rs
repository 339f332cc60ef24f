//! How is a ChatKit session made and ended at OpenAI? The two calls of the beta API that a hosted
//! chat needs, as the API reference describes them (`POST /v1/chatkit/sessions` and
//! `…/{id}/cancel`).

use std::collections::BTreeMap;

use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::error::{Defect, Error};
use super::http::{Client, Post};
use super::link::Call;
use crate::config::env::Secret;
use crate::protocol::objects;

/// The session endpoints of one upstream.
#[expect(missing_debug_implementations, reason = "its headers hold the API key")]
pub struct SessionsApi {
    client: Client,
    url: Url,
    create_headers: HeaderMap,
    cancel_headers: HeaderMap,
}

/// The body of a create call. What is not set is left out: OpenAI's optional fields are not
/// nullable.
#[derive(Debug, Serialize)]
pub struct CreateSession<'a> {
    /// Which workflow answers.
    pub workflow: WorkflowParam<'a>,
    /// Whose threads these are; 1 to 512 characters.
    pub user: &'a str,
    /// When the session ends.
    pub expires_after: ExpiresAfter,
    /// How often the user may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<RateLimits>,
    /// What the widget offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chatkit_configuration: Option<ChatkitConfiguration>,
}

/// Which workflow answers, and what it is told.
#[derive(Debug, Serialize)]
pub struct WorkflowParam<'a> {
    /// `wf_…`.
    pub id: &'a str,
    /// A deployed version; without it the latest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    /// Strings, numbers and booleans, at most 64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub state_variables: BTreeMap<&'a str, &'a Value>,
}

/// When the session ends, counted from its creation.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ExpiresAfter {
    anchor: &'static str,
    seconds: u64,
}

impl ExpiresAfter {
    /// 1 to 600 seconds.
    #[must_use]
    pub fn seconds(seconds: u64) -> Self {
        Self { anchor: "created_at", seconds }
    }
}

/// How often the user may write.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RateLimits {
    /// 1 or more; OpenAI's own is 10.
    pub max_requests_per_1_minute: u32,
}

/// What the widget offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ChatkitConfiguration {
    /// Titles made by OpenAI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic_thread_titling: Option<Switch>,
    /// Attachments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_upload: Option<FileUploadParam>,
    /// Earlier threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryParam>,
}

/// A feature that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// Whether it is on.
    pub enabled: bool,
}

/// Attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FileUploadParam {
    /// Whether they are allowed.
    pub enabled: bool,
    /// In megabytes, 1 to 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file_size: Option<u32>,
    /// In one message, 1 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u32>,
}

/// Earlier threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HistoryParam {
    /// Whether they are shown.
    pub enabled: bool,
    /// How many of the newest, 1 or more; without it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent_threads: Option<u32>,
}

/// What we keep of OpenAI's answer.
#[expect(missing_debug_implementations, reason = "it holds the client secret")]
pub struct CreatedSession {
    /// `cksess_…`, by which the session is cancelled. An upstream that gives none leaves nothing to
    /// cancel.
    pub id: Option<Box<str>>,
    /// What the browser opens the chat with; opaque.
    pub client_secret: Secret,
}

impl SessionsApi {
    /// The session endpoints behind this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let with_beta = |mut headers: HeaderMap| {
            let beta = HeaderValue::from_static("chatkit_beta=v1");
            headers.insert(HeaderName::from_static("openai-beta"), beta);
            headers
        };
        let mut cancel_headers = with_beta(client.headers(false));
        // RFC 9110 section 8.6: a POST without a body says so. Some gateways answer 411 to one that
        // does not.
        cancel_headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        Self {
            url: client.url("v1/chatkit/sessions"),
            create_headers: with_beta(client.headers(true)),
            cancel_headers,
            client,
        }
    }

    /// Makes a session. Not idempotent: a retried call may leave a session behind that nobody holds
    /// the secret of.
    ///
    /// # Errors
    /// When no answer with a client secret came.
    pub async fn create(
        &self,
        session: &CreateSession<'_>,
        call: Call<'_>,
    ) -> Result<CreatedSession, Error> {
        const OPERATION: &str = "create_session";
        // Strings, numbers and maps with string keys always become JSON.
        let body = Bytes::from(serde_json::to_vec(session).unwrap_or_default());
        let headers = &self.create_headers;
        let post = Post { operation: OPERATION, url: &self.url, headers, body: Some(body) };
        let answer = async { CreatedSession::read(&self.client.post(&post, call).await?) };
        self.client.measured(OPERATION, answer).await
    }

    /// Ends a session: its secret opens no further requests. A session that is not there counts as
    /// ended.
    ///
    /// # Errors
    /// When OpenAI did not confirm it.
    pub async fn cancel(&self, id: &str, call: Call<'_>) -> Result<(), Error> {
        const OPERATION: &str = "cancel_session";
        let url = self.cancel_url(id);
        let post =
            Post { operation: OPERATION, url: &url, headers: &self.cancel_headers, body: None };
        let done = async {
            match self.client.post(&post, call).await {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(()),
            }
        };
        self.client.measured(OPERATION, done).await
    }

    fn cancel_url(&self, id: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(id).push("cancel");
        }
        url
    }
}

impl CreatedSession {
    fn read(body: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            id: Value,
            #[serde(default)]
            client_secret: Value,
        }
        let answer: Answer =
            objects::from_slice(body).map_err(|_| Error::Invalid(Defect::NotJson))?;
        let id = match answer.id {
            // `.` and `..` can't be a part of a path.
            Value::String(id) if !matches!(id.as_str(), "" | "." | "..") && id.len() <= 512 => {
                Some(id.into())
            }
            _ => None,
        };
        match answer.client_secret {
            Value::String(secret) if !secret.is_empty() => {
                Ok(Self { id, client_secret: Secret::new(secret) })
            }
            _ => Err(Error::Invalid(Defect::NoClientSecret)),
        }
    }
}
