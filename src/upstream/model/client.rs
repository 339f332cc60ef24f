//! How is a question brought to a model? One pool of connections to all servers of models; a call
//! is tried again until its stream begins, and never after.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;
use url::Url;

use super::error::{ModelError, ModelErrorKind};
use super::patience::Patience;
use super::request::{ModelApi, ModelEndpoint, ModelRequest};
use super::stream::{Bounds, ModelStream, Reader};
use crate::clock::Clock;
use crate::config::env::Secret;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::RequestContext;
use crate::upstream::error::{Api, Detail, Error};
use crate::upstream::http::{below, common_headers};
use crate::upstream::link::{BuildError, Call, Link, note_id, pool, request_id};
use crate::upstream::retry::Deadline;
use crate::upstream::{completions, responses};

/// The connections to servers of models. It is made once.
#[expect(missing_debug_implementations, reason = "its connections may know a proxy's password")]
pub struct ModelClient {
    pub(in crate::upstream) link: Link,
    settings: ModelSettings,
}

/// How patient a [`ModelClient`] is, and which way it goes.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a proxy's address may hold a password")]
pub struct ModelSettings {
    /// Until a stream begins, all tries and the waits between them included.
    pub answer_head: Duration,
    /// Without an event in the middle of a stream; comments count as a sign of life, and so do 64
    /// KiB of an event.
    pub idle: Duration,
    /// Without an event, however many comments come.
    pub quiet: Duration,
    /// Further tries after the first, before the stream begins.
    pub retries: u32,
    /// The proxy for `https` servers.
    pub https_proxy: Option<Url>,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            answer_head: Duration::from_secs(60),
            idle: Duration::from_secs(120),
            quiet: Duration::from_secs(300),
            retries: 2,
            https_proxy: None,
        }
    }
}

impl ModelClient {
    /// Makes the client. No connection is opened yet.
    ///
    /// # Errors
    /// When the machine has no certificates of authorities, or the proxy can't be used.
    pub fn new(
        settings: ModelSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, BuildError> {
        let connect = settings.answer_head / settings.retries.saturating_add(2);
        let connect = connect.clamp(Duration::from_millis(500), Duration::from_secs(5));
        let http = pool(connect, settings.https_proxy.as_ref())?;
        let link = Link { http, api: Api::Model, retries: settings.retries, clock, metrics };
        Ok(Self { link, settings })
    }

    /// Where calls are counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.link.metrics
    }

    /// Asks a model, and returns when its answer begins. `context` is where the server's request id
    /// is noted.
    ///
    /// # Errors
    /// When the API can't carry the request, or no stream began.
    pub async fn stream(
        &self,
        endpoint: &ModelEndpoint,
        request: &ModelRequest,
        context: Option<&RequestContext>,
    ) -> Result<ModelStream, ModelError> {
        let (operation, path, body, reader): (_, _, _, Box<dyn Reader>) = match endpoint.api {
            ModelApi::Responses => {
                let body = responses::body(request);
                (
                    "create_response",
                    "responses",
                    body,
                    Box::new(responses::EventReader::new(&request.functions)),
                )
            }
            ModelApi::ChatCompletions => {
                let body = completions::body(request, &endpoint.base_url)?;
                let reader = Box::new(completions::ChunkReader::default());
                ("create_chat_completion", "chat/completions", body, reader)
            }
        };
        let call = Call { deadline: Deadline::after(self.settings.answer_head), request: context };
        let url = below(&endpoint.base_url, path);
        let mut headers = endpoint_headers(endpoint)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let own_key = endpoint.api_key.as_ref().map_or("", Secret::expose);
        let begun = self.begin(operation, &url, &headers, &body, call, own_key);
        let response = self.link.measured(operation, begun).await?;
        let id = request_id(response.headers());
        note_id(call, id);
        let id = id.map(Into::into);
        if is_no_stream(response.headers()) {
            return Err(self.refusal_in_success(response, call, own_key).await.with_request_id(id));
        }
        let patience = Patience { idle: self.settings.idle, quiet: self.settings.quiet };
        let own_key = endpoint.api_key.clone();
        Ok(ModelStream::new(response, reader, Bounds::of(request), patience, own_key, id))
    }

    async fn begin(
        &self,
        operation: &'static str,
        url: &Url,
        headers: &HeaderMap,
        body: &Bytes,
        call: Call<'_>,
        own_key: &str,
    ) -> Result<reqwest::Response, Error> {
        let mut tries = self.link.tries(operation, call);
        loop {
            let mut request = reqwest::Request::new(Method::POST, url.clone());
            *request.headers_mut() = headers.clone();
            *request.body_mut() = Some(body.clone().into());
            match self.link.send(request, call, own_key).await {
                Ok(response) => return Ok(response),
                Err(failure) => tries.again(failure).await?,
            }
        }
    }

    /// What an answer says that succeeds and is no stream: an error that a gateway passed on, or a
    /// page of a website.
    async fn refusal_in_success(
        &self,
        response: reqwest::Response,
        call: Call<'_>,
        own_key: &str,
    ) -> ModelError {
        let body = self.link.body(response, call).await.unwrap_or_default();
        match serde_json::from_slice(&body) {
            Ok(value) if Detail::of(&value, own_key) != Detail::default() => {
                ModelError::said(&value, own_key)
            }
            _ => {
                let cause = "an answer that is no event stream (is OPENAI_BASE_URL right?)";
                ModelError::new(ModelErrorKind::BadFrame, cause)
            }
        }
    }
}

/// The headers that say who asks a server of models.
pub(in crate::upstream) fn endpoint_headers(endpoint: &ModelEndpoint) -> Result<HeaderMap, Error> {
    common_headers(
        endpoint.api_key.as_ref(),
        endpoint.organization.as_ref(),
        endpoint.project.as_ref(),
    )
}

/// Whether the head rules out a stream. Servers that name no type, or another one, are believed to
/// stream.
fn is_no_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/json", "text/html"].iter().any(|other| kind.eq_ignore_ascii_case(other))
}
