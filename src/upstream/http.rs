//! How is one call made? A pooled client with a connect deadline, a total deadline, retries and a cap on what is read.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use bytes::Bytes;
use reqwest::redirect::Policy;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::error::{Defect, Detail, Error, Refusal};
use super::redact::{looks_secret, sanitise};
use super::retry::{Deadline, asked_wait, backoff, is_worth_retrying};
use crate::clock::Clock;
use crate::config::env::Secret;
use crate::config::upstream::UpstreamConfig;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::RequestContext;

/// More than this of an answer is never read.
const BODY_CAP: usize = 1024 * 1024;
/// Idle connections are kept for less time than servers and load balancers commonly keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(55);
const CAUSE_CAP: usize = 300;

/// The connection pool to one upstream, with everything that is the same in each call. It is made once.
#[expect(missing_debug_implementations, reason = "it holds the API key")]
pub struct Client {
    http: reqwest::Client,
    config: UpstreamConfig,
    headers: HeaderMap,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// What calls made for one request of a client have in common.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// When the client's request must be answered.
    pub deadline: Deadline,
    /// Where OpenAI's request id is noted; a call in the background has none.
    pub request: Option<&'a RequestContext>,
}

/// One POST as it goes out, as often as it must.
pub(super) struct Post<'a> {
    /// The name of the call in metrics.
    pub(super) operation: &'static str,
    pub(super) url: &'a Url,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Option<Bytes>,
}

/// The client could not be made: no certificates of authorities, or a proxy that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client can't be made: {0}")]
pub struct BuildError(Box<str>);

/// One try that brought nothing.
struct Failure {
    error: Error,
    is_worth_retrying: bool,
}

impl Client {
    /// Makes the client. No connection is opened yet.
    ///
    /// # Errors
    /// When the machine has no certificates of authorities, or the proxy can't be used.
    pub fn new(config: &UpstreamConfig, clock: Arc<dyn Clock>, metrics: Metrics) -> Result<Self, BuildError> {
        let http = http_client(config).map_err(|error| BuildError(text_of(error)))?;
        let headers = common_headers(config)?;
        Ok(Self { http, config: config.clone(), headers, clock, metrics })
    }

    /// The pool itself, for fetches that are no calls of the API. It follows no redirects.
    #[must_use]
    pub fn connections(&self) -> &reqwest::Client {
        &self.http
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
        let mut url = self.config.base.clone();
        let path = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    /// Counts a call and its duration under its outcome.
    pub(super) async fn measured<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let result = call.await;
        let outcome = result.as_ref().map_or_else(|error| error.kind().parts().2, |_| "ok");
        self.metrics.upstream_call(operation, outcome, started.elapsed());
        result
    }

    /// Sends a POST until it succeeds, is refused for good, or has no more tries or time. The answer's body is whole.
    pub(super) async fn post(&self, post: &Post<'_>, call: Call<'_>) -> Result<Bytes, Error> {
        let mut tries = 0;
        loop {
            let Failure { error, is_worth_retrying } = match self.attempt(post, call).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            let refusal = if let Error::Refused(refusal) = &error { Some(refusal) } else { None };
            let wait = refusal.and_then(|refusal| refusal.retry_after).unwrap_or_else(|| backoff(tries));
            if !is_worth_retrying || tries == self.config.retries || !call.deadline.allows(wait) {
                note_id(call, refusal.and_then(|refusal| refusal.request_id.as_deref()));
                return Err(error);
            }
            tries += 1;
            self.metrics.upstream_retry(post.operation);
            sleep(wait).await;
        }
    }

    async fn attempt(&self, post: &Post<'_>, call: Call<'_>) -> Result<Bytes, Failure> {
        if !call.deadline.allows(Duration::ZERO) {
            return Err(Failure::final_one(Error::Timeout));
        }
        let mut request = reqwest::Request::new(Method::POST, post.url.clone());
        *request.headers_mut() = post.headers.clone();
        *request.body_mut() = post.body.clone().map(reqwest::Body::from);
        let mut response = match timeout_at(call.deadline.instant(), self.http.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Failure::of_connection(error)),
            Err(_) => return Err(Failure::final_one(Error::Timeout)),
        };
        let status = response.status();
        if !status.is_success() && !status.is_redirection() {
            return Err(self.refusal(response, call).await);
        }
        let body = if status.is_redirection() {
            Err(Failure::final_one(Error::Invalid(Defect::Redirect)))
        } else {
            match timeout_at(call.deadline.instant(), read_body(&mut response)).await {
                Ok(body) => body,
                Err(_) => Err(Failure::final_one(Error::Timeout)),
            }
        };
        if !body.as_ref().is_err_and(|failure| failure.is_worth_retrying) {
            note_id(call, request_id(response.headers()));
        }
        body
    }

    /// What an error status says. A body that is late, cut or too long is done without: the status is what counts.
    async fn refusal(&self, mut response: reqwest::Response, call: Call<'_>) -> Failure {
        let status = response.status();
        let request_id = request_id(response.headers()).map(Into::into);
        let retry_after = asked_wait(response.headers(), self.clock.now());
        let is_worth_retrying = is_worth_retrying(status, response.headers());
        let body = match timeout_at(call.deadline.instant(), read_body(&mut response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let key = self.config.api_key.as_ref().map_or("", Secret::expose);
        let detail = Detail::read(&body, key);
        let is_quota = status == StatusCode::TOO_MANY_REQUESTS && detail.is_quota();
        let refusal = Refusal { status, request_id, retry_after, detail };
        Failure {
            error: Error::Refused(Box::new(refusal)),
            is_worth_retrying: is_worth_retrying && !is_quota,
        }
    }
}

impl Failure {
    fn final_one(error: Error) -> Self {
        Self { error, is_worth_retrying: false }
    }

    fn of_connection(error: reqwest::Error) -> Self {
        Self { error: Error::Unreachable(text_of(error)), is_worth_retrying: true }
    }
}

fn http_client(config: &UpstreamConfig) -> reqwest::Result<reqwest::Client> {
    // All tries to connect fit into the total, so that an upstream that is away is called unreachable, not slow.
    let connect = config.timeout / config.retries.saturating_add(2);
    let builder = reqwest::Client::builder()
        .connect_timeout(connect.clamp(Duration::from_millis(500), Duration::from_secs(5)))
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .tcp_nodelay(true)
        .pool_idle_timeout(POOL_IDLE)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(Duration::from_secs(5))
        .http2_keep_alive_while_idle(true);
    match &config.https_proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::https(proxy.clone())?).build(),
        None => builder.build(),
    }
}

fn common_headers(config: &UpstreamConfig) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::with_capacity(8);
    if let Some(key) = &config.api_key {
        let mut key = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
            .map_err(|_| BuildError("the API key can't stand in a header".into()))?;
        key.set_sensitive(true);
        headers.insert(AUTHORIZATION, key);
    }
    headers
        .insert(USER_AGENT, HeaderValue::from_static(concat!("chatkit-server/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in [("openai-organization", &config.organization), ("openai-project", &config.project)]
    {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    Ok(headers)
}

/// Reads a body piece by piece and stops at the cap, whatever length was announced.
async fn read_body(response: &mut reqwest::Response) -> Result<Bytes, Failure> {
    let too_large = || Failure::final_one(Error::Invalid(Defect::TooLarge));
    let announced = response.content_length().unwrap_or_default();
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > BODY_CAP {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(piece) = response.chunk().await.map_err(Failure::of_connection)? {
        if body.len() + piece.len() > BODY_CAP {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.into())
}

/// OpenAI's id of the request, if it is fit for a log.
fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=128).contains(&id.len()) && id.bytes().all(is_plain) && !looks_secret(id);
    fits.then_some(id)
}

fn note_id(call: Call<'_>, id: Option<&str>) {
    if let (Some(request), Some(id)) = (call.request, id) {
        request.note_upstream_request_id(id);
    }
}

/// The error and its causes in one line, without the address.
fn text_of(error: reqwest::Error) -> Box<str> {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    sanitise(&text, "", CAUSE_CAP)
}
