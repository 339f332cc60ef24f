//! The outermost layer: gives the request its id, writes the body of an error, counts, and writes the one log line.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::response::Response;
use data_encoding::HEXLOWER;
use tracing::{Span, debug_span, info, warn};

use crate::error;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::RequestContext;
use crate::upstream::redact::path_for_log;

/// The header that names a request, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// The paths of the routes: with those of files and `other`, the values of the metrics' `route` label.
const ROUTES: &[&str] = &[
    "/api/chatkit",
    "/api/chatkit/upload",
    "/api/chatkit/session",
    "/api/chatkit/start",
    "/api/chatkit/refresh",
    "/api/chatkit/config",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/dev/token",
    "/",
    "/sample.css",
    "/sample.js",
    "/sample.json",
    "/steps.js",
    "/loader.js",
    "/requests.js",
    "/chatkit-fetch.js",
    "/protocol.js",
    "/items.js",
    "/textbox.js",
];

/// What is logged and counted for a request whose client left before the answer. No client sees it; nginx uses it too.
const CLIENT_LEFT: u16 = 499;

/// One request, watched from its head to its answer's.
#[derive(Debug)]
pub struct Observed<'a> {
    started: Instant,
    id: HeaderValue,
    method: Method,
    uri: Uri,
    context: Arc<RequestContext>,
    metrics: &'a Metrics,
    is_answered: bool,
}

impl<'a> Observed<'a> {
    /// Begins to watch, and puts a [`RequestContext`] into the request for those who learn something on the way.
    pub fn begin(request: &mut Request, metrics: &'a Metrics) -> Self {
        let id = request_id(request.headers().get(X_REQUEST_ID));
        let context = RequestContext::shared(id.to_str().unwrap_or_default());
        request.extensions_mut().insert(Arc::clone(&context));
        Self {
            started: Instant::now(),
            id,
            method: request.method().clone(),
            uri: request.uri().clone(),
            context,
            metrics,
            is_answered: false,
        }
    }

    /// The span of what happens for this request. It is there at the debug level, for those who follow one request.
    #[must_use]
    pub fn span(&self) -> Span {
        debug_span!("request", request_id = self.id.to_str().unwrap_or_default())
    }

    /// Completes the answer: the body of an error, the id, the limit, a cookie. Then counts, and writes the log line.
    #[must_use]
    pub fn end(mut self, mut response: Response) -> Response {
        self.is_answered = true;
        let id = self.id.to_str().unwrap_or_default();
        let error = error::render(&mut response, id, self.method == Method::HEAD);
        let headers = response.headers_mut();
        add_rate_limit(headers, &self.context);
        if let Some(cookie) = self.context.cookie() {
            headers.append(SET_COOKIE, cookie.clone());
        }
        headers.insert(X_REQUEST_ID, self.id.clone());
        self.note(response.status().as_u16(), error.map(|error| error.log_text()).as_deref());
        response
    }

    /// Counts the request and writes its one log line. A 5xx is a warning, everything else information: a refused client
    /// is no fault of ours.
    fn note(&self, status: u16, error: Option<&str>) {
        let took = self.started.elapsed();
        self.metrics.request(route_label(self.uri.path()), method_label(&self.method), status, took);
        let user = self.context.user().map(|user| user.fingerprint().hex());
        let user = user.as_deref();
        let upstream_request_id = self.context.upstream_request_id();
        let (method, path) = (self.method.as_str(), path_for_log(self.uri.path()));
        let path = &*path;
        let request_id = self.id.to_str().unwrap_or_default();
        let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        if status >= 500 {
            warn!(method, path, status, duration_ms, request_id, user, upstream_request_id, error, "request");
        } else {
            info!(method, path, status, duration_ms, request_id, user, upstream_request_id, error, "request");
        }
    }
}

/// A request that is dropped was given up by its client.
impl Drop for Observed<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.note(CLIENT_LEFT, Some("the client left before the answer"));
        }
    }
}

/// The caller's own id if it is 1 to 128 characters of `[A-Za-z0-9._-]`, else 128 random bits.
fn request_id(given: Option<&HeaderValue>) -> HeaderValue {
    let fits = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    given.filter(fits).cloned().unwrap_or_else(new_request_id)
}

/// 128 bits that nobody else has: std's hasher, keyed anew from the system's randomness. An id is no secret, and the
/// crypto library would first spend a tenth of a second on its own entropy.
#[must_use]
pub fn new_request_id() -> HeaderValue {
    let half = || RandomState::new().build_hasher().finish().to_be_bytes();
    let id = HEXLOWER.encode(&[half(), half()].concat());
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"))
}

/// The route's pattern, from the closed list, so that nobody can invent label values.
fn route_label(path: &str) -> &'static str {
    const FILES: &[(&str, &str)] = &[
        ("/api/chatkit/assets/", "/api/chatkit/assets/{path}"),
        ("/api/chatkit/attachments/", "/api/chatkit/attachments/{id}"),
    ];
    if let Some((_, route)) = FILES.iter().find(|(prefix, _)| path.starts_with(prefix)) {
        return route;
    }
    ROUTES.iter().find(|route| **route == path).copied().unwrap_or("other")
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

fn add_rate_limit(headers: &mut HeaderMap, context: &RequestContext) {
    if let Some(limit) = context.rate_limit() {
        headers.insert(RATELIMIT_LIMIT, HeaderValue::from(limit.limit));
        headers.insert(RATELIMIT_REMAINING, HeaderValue::from(limit.remaining));
        headers.insert(RATELIMIT_RESET, HeaderValue::from(limit.reset));
    }
}
