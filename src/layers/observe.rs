//! The outermost layer: gives the request its id, writes the body of an error, counts, and writes the one log line.

use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::rand;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use data_encoding::HEXLOWER;
use tracing::{Instrument, info_span};

use crate::error::{self, Error};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::RequestContext;

/// The header that names a request, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Every route's pattern: the values of the metrics' `route` label.
pub const ROUTES: &[&str] = &[
    "/api/chatkit/session",
    "/api/chatkit/start",
    "/api/chatkit/refresh",
    "/api/chatkit/config",
    "/api/chatkit/assets/{*path}",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/dev/token",
    "/",
    "/sample.css",
    "/sample.js",
    "/sample.json",
    "/steps.js",
];

/// Wraps the handling of one request; see the module's text.
pub async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers().get(X_REQUEST_ID));
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = route_label(request.extensions().get::<MatchedPath>());
    let context = RequestContext::shared();
    request.extensions_mut().insert(Arc::clone(&context));

    let id_text = id.to_str().unwrap_or_default();
    let span = info_span!("request", request_id = id_text);
    let mut response = next.run(request).instrument(span).await;

    let error = error::render(&mut response, id_text, method == Method::HEAD);
    add_rate_limit(&mut response, &context);
    let took = started.elapsed();
    metrics.request(route, method_label(&method), response.status().as_u16(), took);
    log(&method, &path, response.status(), took.as_secs_f64() * 1000.0, id_text, &context, error.as_ref());
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
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

fn new_request_id() -> HeaderValue {
    let mut bits = [0; 16];
    // aws-lc aborts the process where the system gives no random bytes, so this does not fail.
    let _ = rand::fill(&mut bits);
    HeaderValue::from_str(&HEXLOWER.encode(&bits)).unwrap_or(HeaderValue::from_static("unknown"))
}

/// The route's pattern, from the closed list, so that nobody can invent label values.
fn route_label(matched: Option<&MatchedPath>) -> &'static str {
    let pattern = matched.map(MatchedPath::as_str);
    ROUTES.iter().find(|route| Some(**route) == pattern).copied().unwrap_or("other")
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

fn add_rate_limit(response: &mut Response, context: &RequestContext) {
    if let Some(limit) = context.rate_limit() {
        let headers = response.headers_mut();
        headers.insert(RATELIMIT_LIMIT, HeaderValue::from(limit.limit));
        headers.insert(RATELIMIT_REMAINING, HeaderValue::from(limit.remaining));
        headers.insert(RATELIMIT_RESET, HeaderValue::from(limit.reset));
    }
}

/// The one log line. A 5xx is a warning, everything else information: a refused client is no fault of ours.
fn log(
    method: &Method,
    path: &str,
    status: StatusCode,
    duration_ms: f64,
    request_id: &str,
    context: &RequestContext,
    error: Option<&Error>,
) {
    let user = context.user().map(|user| user.fingerprint().hex());
    let user = user.as_deref();
    let upstream_request_id = context.upstream_request_id();
    let error = error.map(Error::log_text);
    let (method, status) = (method.as_str(), status.as_u16());
    let duration_ms = (duration_ms * 1000.0).round() / 1000.0;
    if status >= 500 {
        tracing::warn!(
            method,
            path,
            status,
            duration_ms,
            request_id,
            user,
            upstream_request_id,
            error,
            "request"
        );
    } else {
        tracing::info!(
            method,
            path,
            status,
            duration_ms,
            request_id,
            user,
            upstream_request_id,
            error,
            "request"
        );
    }
}
