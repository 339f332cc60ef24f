//! May this address ask? tower_governor counts requests per client address before anybody is
//! authenticated; a server with a valid service token counts for the user it names instead.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use governor::middleware::StateInformationMiddleware;
use tower::{Layer, Service};
use tower_governor::governor::{Governor, GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::client_ip::{AddressKey, Client};
use super::{Decision, refusal};
use crate::config::limits::Rate;
use crate::error::Error;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::{RateLimit, RequestContext};
use crate::user::{Fingerprint, UserId};

type Config = GovernorConfig<ByClient, StateInformationMiddleware>;
type Governed<S> = Governor<ByClient, StateInformationMiddleware, S, Body>;

/// Marks a request that came with a valid service token. A layer outside of [`AddressLimit::layer`]
/// puts it into the request's extensions; such a request is not counted by address, and its handler
/// calls [`AddressLimit::count_user`].
#[derive(Debug, Clone, Copy)]
pub struct ServiceCall;

/// The limit per client address. Cloning shares its memory.
#[derive(Clone)]
pub struct AddressLimit {
    /// `None` when the limit is off.
    on: Option<(Rate, Arc<Config>)>,
    metrics: Metrics,
}

impl AddressLimit {
    /// A limit at this rate, or one that lets everything pass.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a Rate has neither a burst nor a period of zero")]
    pub fn new(rate: Option<Rate>, metrics: &Metrics) -> Self {
        let on = rate.map(|rate| {
            let config = GovernorConfigBuilder::default()
                .key_extractor(ByClient)
                .period(rate.period())
                .burst_size(rate.burst.get())
                .use_headers()
                .finish()
                .expect("a rate is never zero");
            (rate, Arc::new(config))
        });
        Self { on, metrics: metrics.clone() }
    }

    /// The layer that counts. It needs a [`Client`] in the request's extensions, notes in the
    /// request's `Arc<RequestContext>` where the client stands, and answers 429 `rate_limited`
    /// itself.
    #[must_use]
    pub fn layer(&self) -> AddressLayer {
        let governor = self.on.as_ref().map(|(rate, config)| {
            let (rate, metrics) = (*rate, self.metrics.clone());
            GovernorLayer::new(Arc::clone(config))
                .error_handler(move |error| refuse(&error, rate, &metrics))
        });
        AddressLayer { governor, rate: self.on.as_ref().map(|(rate, _)| *rate) }
    }

    /// Counts a request with a service token for the user that it names, in place of its address.
    ///
    /// # Errors
    /// 429 `rate_limited` when that user has used up the limit.
    pub fn count_user(&self, user: &UserId, context: &RequestContext) -> Result<(), Error> {
        self.count(&Key::User(user.fingerprint()), context)
    }

    /// Counts a request that came around the layer, and turned out to be one that has to be counted
    /// by its address.
    ///
    /// # Errors
    /// 429 `rate_limited` when that address has used up the limit.
    pub fn count_address(&self, client: Client, context: &RequestContext) -> Result<(), Error> {
        self.count(&Key::Address(AddressKey::of(client.address)), context)
    }

    fn count(&self, key: &Key, context: &RequestContext) -> Result<(), Error> {
        let Some((rate, config)) = &self.on else { return Ok(()) };
        let decision = Decision::local(config.limiter(), *rate, key);
        context.note_rate_limit(decision.rate);
        let Some(wait) = decision.retry_after else { return Ok(()) };
        self.metrics.rate_limited("address");
        Err(refusal(wait))
    }

    /// Forgets everybody whose burst is whole again.
    pub fn sweep(&self) {
        if let Some((_, config)) = &self.on {
            config.limiter().retain_recent();
            config.limiter().shrink_to_fit();
        }
    }

    /// How many clients are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.on.as_ref().map_or(0, |(_, config)| config.limiter().len())
    }
}

impl std::fmt::Debug for AddressLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.on.as_ref().map(|(rate, _)| rate);
        f.debug_struct("AddressLimit").field("rate", &rate).field("keys", &self.keys()).finish()
    }
}

/// Whom a request is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Address(AddressKey),
    User(Fingerprint),
}

/// Takes the client that an outer layer found; it never reads a header.
#[derive(Debug, Clone, Copy)]
struct ByClient;

impl KeyExtractor for ByClient {
    type Key = Key;

    fn extract<T>(&self, request: &axum::http::Request<T>) -> Result<Key, GovernorError> {
        let client =
            request.extensions().get::<Client>().ok_or(GovernorError::UnableToExtractKey)?;
        Ok(Key::Address(AddressKey::of(client.address)))
    }
}

/// Our answer in place of tower_governor's text. Where the client stands goes into the response's
/// extensions, where [`AddressService`] finds it.
fn refuse(error: &GovernorError, rate: Rate, metrics: &Metrics) -> Response {
    match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            metrics.rate_limited("address");
            // The crate rounds the wait down to whole seconds.
            let wait = Duration::from_secs(wait_time + 1);
            let mut response = refusal(wait).into_response();
            response.extensions_mut().insert(Decision::refuse(rate, wait).rate);
            response
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            Error::internal("no layer has put the client into the request").into_response()
        }
    }
}

/// Makes [`AddressService`]s that share one memory.
#[derive(Clone)]
pub struct AddressLayer {
    governor: Option<GovernorLayer<ByClient, StateInformationMiddleware, Body>>,
    rate: Option<Rate>,
}

impl std::fmt::Debug for AddressLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddressLayer").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl<S: Clone> Layer<S> for AddressLayer {
    type Service = AddressService<S>;

    fn layer(&self, inner: S) -> AddressService<S> {
        let governed = self.governor.as_ref().map(|governor| governor.layer(inner.clone()));
        AddressService { governed: governed.zip(self.rate), open: inner }
    }
}

/// Lets a request through, or answers 429.
#[derive(Debug, Clone)]
pub struct AddressService<S> {
    /// The way through the limit; `None` when it is off.
    governed: Option<(Governed<S>, Rate)>,
    /// The way around it.
    open: S,
}

impl<S> Service<Request> for AddressService<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.open.poll_ready(cx))?;
        match &mut self.governed {
            Some((governed, _)) => governed.poll_ready(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let service_call = request.extensions().get::<ServiceCall>().is_some();
        let Some((governed, rate)) = self.governed.as_mut().filter(|_| !service_call) else {
            return Box::pin(self.open.call(request));
        };
        let (rate, context) = (*rate, request.extensions().get::<Arc<RequestContext>>().cloned());
        let answer = governed.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            let counted = take_headers(response.headers_mut(), rate);
            let refused = response.extensions_mut().remove::<RateLimit>();
            if let (Some(context), Some(seen)) = (context, refused.or(counted)) {
                context.note_rate_limit(seen);
            }
            Ok(response)
        })
    }
}

/// Takes the crate's headers off a response that passed, and reads from them where the client
/// stands.
fn take_headers(headers: &mut HeaderMap, rate: Rate) -> Option<RateLimit> {
    headers.remove("x-ratelimit-limit");
    let remaining = headers.remove("x-ratelimit-remaining")?;
    let remaining = remaining.to_str().ok()?.parse().ok()?;
    Some(Decision::pass(rate, remaining).rate)
}
