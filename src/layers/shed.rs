//! When is a request refused unread? While the service shuts down, and past
//! `MAX_CONCURRENT_REQUESTS`.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::error::{Error, Kind};
use crate::lifecycle::Lifecycle;

/// How many requests may be under way at once.
#[derive(Debug, Clone)]
pub struct Shed {
    /// Who counts the requests under way.
    pub lifecycle: Lifecycle,
    /// `MAX_CONCURRENT_REQUESTS`.
    pub max_requests: usize,
}

/// A request's place among those under way, kept until the last byte of its answer is handed over.
#[derive(Debug)]
pub struct Place {
    _token: Option<TaskTrackerToken>,
}

impl Shed {
    /// Gives the request a place if there is room for it. Health checks need none.
    ///
    /// # Errors
    /// 503 `shutting_down` or `overloaded`.
    pub fn admit(&self, path: &str) -> Result<Place, Error> {
        if matches!(path, "/healthz" | "/readyz") {
            return Ok(Place { _token: None });
        }
        if self.lifecycle.is_draining() {
            let message = "The service is shutting down. Try again: another replica answers.";
            return Err(Error::new(Kind::ShuttingDown, message));
        }
        let place = Place { _token: Some(self.lifecycle.requests().token()) };
        if self.lifecycle.requests().len() > self.max_requests {
            return Err(Error::new(
                Kind::Overloaded,
                "Too many requests are under way. Try again in a moment.",
            ));
        }
        Ok(place)
    }
}

impl Place {
    /// Keeps the place until the response's body has ended. A body that is complete already gives
    /// the place back now: a connection that is told to close still writes such a body.
    #[must_use]
    pub fn hold(self, response: Response) -> Response {
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Body::new(Held { body, _place: self }))
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
