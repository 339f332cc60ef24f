//! When is a request refused unread? While the service shuts down, and past `MAX_CONCURRENT_REQUESTS`.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::error::{Error, Kind};
use crate::lifecycle::Lifecycle;
use crate::telemetry::metrics::Metrics;

/// What the layer needs to know.
#[derive(Debug, Clone)]
pub struct Shed {
    /// Who counts the requests under way.
    pub lifecycle: Lifecycle,
    /// How many may be under way at once.
    pub max_requests: usize,
    /// Where their number is shown.
    pub metrics: Metrics,
}

/// Lets the request pass if there is room for it, and holds its place until the last byte of the answer is handed over.
/// Health checks always pass.
pub async fn shed(State(shed): State<Shed>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/healthz" | "/readyz") {
        return next.run(request).await;
    }
    if shed.lifecycle.is_draining() {
        let message = "The service is shutting down. Try again: another replica answers.";
        return Error::new(Kind::ShuttingDown, message).into_response();
    }
    let place = Place::take(&shed);
    if shed.lifecycle.requests().len() > shed.max_requests {
        return Error::new(Kind::Overloaded, "Too many requests are under way. Try again in a moment.")
            .into_response();
    }
    next.run(request).await.map(|body| Body::new(Held { body, _place: place }))
}

/// A request's place among those under way.
struct Place {
    _token: TaskTrackerToken,
    metrics: Metrics,
}

impl Place {
    fn take(shed: &Shed) -> Self {
        shed.metrics.in_flight().inc();
        Self { _token: shed.lifecycle.requests().token(), metrics: shed.metrics.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.in_flight().dec();
    }
}

/// A body that holds its request's place.
struct Held {
    body: Body,
    _place: Place,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
