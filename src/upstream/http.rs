//! How is a call of the ChatKit API made? With the key and the address of the configuration, over
//! the one pool.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use url::Url;

use super::error::{Api, Defect, Error};
use super::link::{BuildError, Call, Failure, Link, pool};
use crate::clock::Clock;
use crate::config::env::Secret;
use crate::config::upstream::UpstreamConfig;
use crate::telemetry::metrics::Metrics;

/// The connection pool to one upstream, with everything that is the same in each call. It is made
/// once.
#[expect(missing_debug_implementations, reason = "it holds the API key")]
pub struct Client {
    link: Link,
    config: UpstreamConfig,
    headers: HeaderMap,
}

/// One POST as it goes out, as often as it must.
pub(super) struct Post<'a> {
    /// The name of the call in metrics.
    pub(super) operation: &'static str,
    pub(super) url: &'a Url,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Option<Bytes>,
}

impl Client {
    /// Makes the client. No connection is opened yet.
    ///
    /// # Errors
    /// When the machine has no certificates of authorities, or the proxy can't be used.
    pub fn new(
        config: &UpstreamConfig,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, BuildError> {
        // All tries to connect fit into the total, so that an upstream that is away is called
        // unreachable, not slow.
        let connect = config.timeout / config.retries.saturating_add(2);
        let connect = connect.clamp(Duration::from_millis(500), Duration::from_secs(5));
        let http = pool(connect, config.https_proxy.as_ref())?;
        let link = Link { http, api: Api::ChatKit, retries: config.retries, clock, metrics };
        let headers = common_headers(
            config.api_key.as_ref(),
            config.organization.as_ref(),
            config.project.as_ref(),
        )
        .map_err(|error| BuildError(error.to_string().into()))?;
        Ok(Self { link, config: config.clone(), headers })
    }

    /// The pool itself, for fetches that are no calls of the API. It follows no redirects.
    #[must_use]
    pub fn connections(&self) -> &reqwest::Client {
        &self.link.http
    }

    /// The headers of every call; a JSON body is announced in `with_body`.
    pub(super) fn headers(&self, with_body: bool) -> HeaderMap {
        let mut headers = self.headers.clone();
        if with_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers
    }

    /// The address of an endpoint, by its path under the base.
    pub(super) fn url(&self, path: &str) -> Url {
        below(&self.config.base, path)
    }

    /// Counts a call and its duration under its outcome.
    pub(super) async fn measured<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.link.measured(operation, call).await
    }

    /// Sends a POST until it succeeds, is refused for good, or has no more tries or time. The
    /// answer's body is whole.
    pub(super) async fn post(&self, post: &Post<'_>, call: Call<'_>) -> Result<Bytes, Error> {
        let mut tries = self.link.tries(post.operation, call);
        loop {
            match self.attempt(post, call).await {
                Ok(body) => return Ok(body),
                Err(failure) => tries.again(failure).await?,
            }
        }
    }

    async fn attempt(&self, post: &Post<'_>, call: Call<'_>) -> Result<Bytes, Failure> {
        let mut request = reqwest::Request::new(Method::POST, post.url.clone());
        *request.headers_mut() = post.headers.clone();
        *request.body_mut() = post.body.clone().map(reqwest::Body::from);
        let own_key = self.config.api_key.as_ref().map_or("", Secret::expose);
        let response = self.link.send(request, call, own_key).await?;
        self.link.body(response, call).await
    }
}

/// The address of an endpoint, by its path under a base. A query of the base stays.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let path = format!("{}/{path}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

/// The headers of every call of OpenAI's API.
pub(super) fn common_headers(
    key: Option<&Secret>,
    organization: Option<&HeaderValue>,
    project: Option<&HeaderValue>,
) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::with_capacity(8);
    if let Some(key) = key {
        let mut key = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
            .map_err(|_| Error::Invalid(Defect::Key))?;
        key.set_sensitive(true);
        headers.insert(AUTHORIZATION, key);
    }
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("chatkit-server/", env!("CARGO_PKG_VERSION"))),
    );
    for (name, value) in [("openai-organization", organization), ("openai-project", project)] {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    Ok(headers)
}
