//! The outermost layer: gives the request its id, writes the body of an error, counts, and writes
//! the one log line.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
use data_encoding::HEXLOWER;
use hyper::body::Frame;
use tracing::{Span, debug_span, info, warn};

use crate::error;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request::{RequestContext, Streams};
use crate::upstream::redact::{is_credential, path_for_log};
use crate::user::Fingerprint;

/// The header that names a request, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// The paths of the routes: with those of files and `other`, the values of the metrics' `route`
/// label.
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
    "/chatkit-fetch.d.ts",
    "/protocol.js",
    "/items.js",
    "/textbox.js",
];

/// What is logged and counted for a request whose client left before the answer. No client sees it;
/// nginx uses it too.
const CLIENT_LEFT: u16 = 499;
const LEFT: &str = "the client left before the end of the answer";

/// One request, watched from its head to its answer's, or to the end of a stream.
#[derive(Debug)]
pub struct Observed<'a> {
    id: HeaderValue,
    line: Line,
    metrics: &'a Metrics,
    is_answered: bool,
}

impl<'a> Observed<'a> {
    /// Begins to watch, and puts a [`RequestContext`] into the request for those who learn
    /// something on the way.
    pub fn begin(request: &mut Request, metrics: &'a Metrics) -> Self {
        let id = request_id(request.headers().get(X_REQUEST_ID));
        let context = RequestContext::shared(id.to_str().unwrap_or_default());
        request.extensions_mut().insert(Arc::clone(&context));
        let (method, path) = (request.method().clone(), request.uri().path().into());
        let line = Line { started: Instant::now(), method, path, context };
        Self { id, line, metrics, is_answered: false }
    }

    /// The span of what happens for this request. It is there at the debug level, for those who
    /// follow one request.
    #[must_use]
    pub fn span(&self) -> Span {
        debug_span!("request", request_id = self.line.context.id())
    }

    /// Completes the answer: the body of an error, the id, the limit, a cookie. Then counts, and
    /// writes the log line; that of a stream is written at its end.
    #[must_use]
    pub fn end(mut self, mut response: Response) -> Response {
        self.is_answered = true;
        let line = &self.line;
        let error = error::render(&mut response, line.context.id(), line.method == Method::HEAD);
        let headers = response.headers_mut();
        add_rate_limit(headers, &line.context);
        if let Some(cookie) = line.context.cookie() {
            headers.append(SET_COOKIE, cookie.clone());
        }
        headers.insert(X_REQUEST_ID, self.id.clone());
        let status = response.status().as_u16();
        line.count(self.metrics, status);
        if response.extensions().get::<Streams>().is_some() {
            return response.map(|body| {
                Body::new(Watched { body, line: line.clone(), status, is_over: false })
            });
        }
        line.write(status, error.map(|error| error.log_text()).as_deref(), status >= 500);
        response
    }
}

/// A request that is dropped was given up by its client.
impl Drop for Observed<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.line.count(self.metrics, CLIENT_LEFT);
            self.line.write(CLIENT_LEFT, Some(LEFT), false);
        }
    }
}

/// What the one log line of a request is made of. Nothing of it is a part of the request's head,
/// which would keep a buffer of the connection as long as a stream lasts.
#[derive(Debug, Clone)]
struct Line {
    started: Instant,
    method: Method,
    path: Box<str>,
    context: Arc<RequestContext>,
}

impl Line {
    fn count(&self, metrics: &Metrics, status: u16) {
        metrics.request(
            route_label(&self.path),
            method_label(&self.method),
            status,
            self.started.elapsed(),
        );
    }

    /// A fault of ours, or of the upstream's, is a warning, everything else information: a refused
    /// client is neither.
    fn write(&self, status: u16, error: Option<&str>, is_fault: bool) {
        let user = self.context.user().map(|user| user.fingerprint().hex());
        let user = user.as_deref();
        let upstream_request_id = self.context.upstream_request_id();
        let (method, path) = (self.method.as_str(), path_for_log(&self.path));
        let path = &*path;
        let request_id = self.context.id();
        let duration_ms = (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let (asked, tokens) = (self.context.asked(), self.context.tokens());
        let (kind, agent) = (asked.map(|asked| asked.kind), asked.map(|asked| &*asked.agent));
        let thread = self.context.thread().map(Fingerprint::hex);
        let (thread, model) = (thread.as_deref(), self.context.model());
        let (input_tokens, output_tokens) =
            (tokens.map(|tokens| tokens.input), tokens.map(|tokens| tokens.output));
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    method,
                    path,
                    status,
                    duration_ms,
                    request_id,
                    user,
                    "type" = kind,
                    agent,
                    thread,
                    model,
                    input_tokens,
                    output_tokens,
                    upstream_request_id,
                    error,
                    "request"
                )
            };
        }
        if is_fault {
            line!(warn);
        } else {
            line!(info);
        }
    }
}

/// A stream whose log line is written when it ends, or when its client is gone.
#[derive(Debug)]
struct Watched {
    body: Body,
    line: Line,
    status: u16,
    is_over: bool,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_over = frame.is_none();
        Poll::Ready(frame)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let failure = self.line.context.end();
        let left = (!self.is_over).then_some(LEFT);
        let cause = failure.as_ref().map(|failure| &*failure.cause).or(left);
        self.line.write(
            self.status,
            cause,
            failure.as_ref().is_some_and(|failure| failure.is_fault),
        );
    }
}

/// The caller's own id if it is 1 to 128 characters of `[A-Za-z0-9._-]` and no credential, else 128
/// random bits.
fn request_id(given: Option<&HeaderValue>) -> HeaderValue {
    let fits = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && value.to_str().is_ok_and(|id| !is_credential(id))
    };
    given.filter(fits).cloned().unwrap_or_else(new_request_id)
}

/// 128 bits that no other request has: two numbers of std's hasher. Its keys come from the system's
/// randomness once in a thread and are counted up after that. An id is no secret, and the crypto
/// library would first spend a tenth of a second on its own entropy.
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
        ("/assets/ck1/", "/assets/ck1/{path}"),
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
