//! How does one call go out, and when is it tried again? The pool of connections, the head of an
//! answer, what a refusal says, and the tries that one request of a client has.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use reqwest::redirect::Policy;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::error::{Api, Defect, Detail, Error, Refusal};
use super::redact::{looks_secret, sanitise};
use super::retry::{Deadline, asked_wait, backoff, is_worth_retrying};
use crate::clock::Clock;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::RequestContext;

/// More than this of an answer is never read, unless it is a stream.
const BODY_CAP: usize = 1024 * 1024;
/// Idle connections are kept for less time than servers and load balancers commonly keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// So many idle connections to one host are kept. Calls that follow each other need few; after a
/// burst thousands would be idle, each with some 30 KiB.
const POOL_MOST_IDLE: usize = 256;
const CAUSE_CAP: usize = 300;

/// A pool of connections and the rules by which calls go through it.
pub(super) struct Link {
    pub(super) http: reqwest::Client,
    pub(super) api: Api,
    /// Further tries after the first.
    pub(super) retries: u32,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
}

/// What calls made for one request of a client have in common.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// When the client's request must be answered.
    pub deadline: Deadline,
    /// Where OpenAI's request id is noted; a call in the background has none.
    pub request: Option<&'a RequestContext>,
}

/// The client could not be made: no certificates of authorities, or a proxy that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client can't be made: {0}")]
pub struct BuildError(pub(super) Box<str>);

/// One try that brought nothing.
pub(super) struct Failure {
    error: Error,
    is_worth_retrying: bool,
}

/// The tries of one call: counted, and with the waits between them.
pub(super) struct Tries<'a> {
    link: &'a Link,
    operation: &'static str,
    call: Call<'a>,
    repeated: u32,
}

impl Tries<'_> {
    /// Waits until the call may go out again.
    ///
    /// # Errors
    /// The failure itself, when another try does not help, or there are no more tries, or no more
    /// time.
    pub(super) async fn again(&mut self, failure: Failure) -> Result<(), Error> {
        let Failure { error, is_worth_retrying } = failure;
        let refusal = if let Error::Refused(refusal) = &error { Some(refusal) } else { None };
        let wait = refusal
            .and_then(|refusal| refusal.retry_after)
            .unwrap_or_else(|| backoff(self.repeated));
        if !is_worth_retrying
            || self.repeated == self.link.retries
            || !self.call.deadline.allows(wait)
        {
            note_id(self.call, refusal.and_then(|refusal| refusal.request_id.as_deref()));
            return Err(error);
        }
        self.repeated += 1;
        self.link.metrics.upstream_retry(self.operation);
        sleep(wait).await;
        Ok(())
    }
}

impl Link {
    /// Counts the tries of one call from here.
    pub(super) fn tries<'a>(&'a self, operation: &'static str, call: Call<'a>) -> Tries<'a> {
        Tries { link: self, operation, call, repeated: 0 }
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

    /// Sends a request once and returns the answer when its head says success; the body is yet to
    /// be read. `own_key` is taken out of whatever a refusal says.
    pub(super) async fn send(
        &self,
        request: reqwest::Request,
        call: Call<'_>,
        own_key: &str,
    ) -> Result<reqwest::Response, Failure> {
        if !call.deadline.allows(Duration::ZERO) {
            return Err(Failure::final_one(Error::Timeout));
        }
        let response = match timeout_at(call.deadline.instant(), self.http.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Failure::of_connection(error)),
            Err(_) => return Err(Failure::final_one(Error::Timeout)),
        };
        let status = response.status();
        if status.is_redirection() {
            note_id(call, request_id(response.headers()));
            return Err(Failure::final_one(Error::Invalid(Defect::Redirect)));
        }
        if status.is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response, call, own_key).await)
        }
    }

    /// The whole body of an answer that a success began.
    pub(super) async fn body(
        &self,
        mut response: reqwest::Response,
        call: Call<'_>,
    ) -> Result<Bytes, Failure> {
        let body = match timeout_at(call.deadline.instant(), read_body(&mut response)).await {
            Ok(body) => body,
            Err(_) => Err(Failure::final_one(Error::Timeout)),
        };
        if !body.as_ref().is_err_and(|failure| failure.is_worth_retrying) {
            note_id(call, request_id(response.headers()));
        }
        body
    }

    /// What an error status says. A body that is late, cut or too long is done without: the status
    /// is what counts.
    async fn refusal(
        &self,
        mut response: reqwest::Response,
        call: Call<'_>,
        own_key: &str,
    ) -> Failure {
        let status = response.status();
        let request_id = request_id(response.headers()).map(Into::into);
        let retry_after = asked_wait(response.headers(), self.clock.now());
        let is_worth_retrying = is_worth_retrying(status, response.headers());
        let body = match timeout_at(call.deadline.instant(), read_body(&mut response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let detail = Detail::read(&body, own_key);
        let is_quota = status == StatusCode::TOO_MANY_REQUESTS && detail.is_quota();
        let refusal = Refusal { api: self.api, status, request_id, retry_after, detail };
        Failure {
            error: Error::Refused(Box::new(refusal)),
            is_worth_retrying: is_worth_retrying && !is_quota,
        }
    }
}

impl Failure {
    pub(super) fn final_one(error: Error) -> Self {
        Self { error, is_worth_retrying: false }
    }

    pub(super) fn of_connection(error: reqwest::Error) -> Self {
        Self { error: Error::Unreachable(text_of(error)), is_worth_retrying: true }
    }
}

/// A pool with our conventions: no redirects, no proxy but the given one for `https`, and no limit
/// to a whole answer.
///
/// HTTP/1.1 alone: over HTTP/2 all calls to one host would share a connection, and those past its
/// limit of streams (100 or 128 with most hosts) would wait until an answer of another user has
/// ended.
pub(super) fn pool(
    connect: Duration,
    https_proxy: Option<&Url>,
) -> Result<reqwest::Client, BuildError> {
    let builder = reqwest::Client::builder()
        .connect_timeout(connect)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .tcp_nodelay(true)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_MOST_IDLE);
    let built = match https_proxy {
        Some(proxy) => {
            reqwest::Proxy::https(proxy.clone()).and_then(|proxy| builder.proxy(proxy).build())
        }
        None => builder.build(),
    };
    built.map_err(|error| BuildError(text_of(error)))
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

/// The upstream's id of the request, if it is fit for a log.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=128).contains(&id.len()) && id.bytes().all(is_plain) && !looks_secret(id);
    fits.then_some(id)
}

pub(super) fn note_id(call: Call<'_>, id: Option<&str>) {
    if let (Some(request), Some(id)) = (call.request, id) {
        request.note_upstream_request_id(id);
    }
}

/// The error and its causes in one line, without the address.
pub(super) fn text_of(error: reqwest::Error) -> Box<str> {
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
