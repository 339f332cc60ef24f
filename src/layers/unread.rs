//! What becomes of a body that nobody read? A request that is refused by its head leaves its body on the connection, where
//! the next request would be looked for. What is small and on its way is read and thrown away; otherwise the answer says that
//! the connection ends, so that no client sends another request on it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// More than this is not read for nothing: what the largest small request may have.
const MOST: usize = 64 * 1024;
/// How long the rest of a refused request may hold up its refusal.
const LONGEST: Duration = Duration::from_millis(500);

/// The body of a request, as far as it was not read.
#[derive(Debug)]
pub struct Rest {
    left: Arc<Mutex<Option<Incoming>>>,
    /// A client that waits for `100 Continue` sends nothing before somebody reads.
    is_expecting: bool,
}

/// Gives a request its body so that it comes back here when its reader is done with it. None for a request without a body.
#[must_use]
pub fn lend(request: Request<Incoming>) -> (Request, Option<Rest>) {
    if request.body().is_end_stream() {
        return (request.map(|_| Body::empty()), None);
    }
    let left = Arc::new(Mutex::new(None));
    let is_expecting = request.headers().contains_key(EXPECT);
    let request = request.map(|body| Body::new(Lent { body: Some(body), owner: Arc::clone(&left) }));
    (request, Some(Rest { left, is_expecting }))
}

impl Rest {
    /// Reads what is left before the answer goes out, or has the answer end the connection.
    pub async fn settle<B>(self, response: &mut Response<B>) {
        let body = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body.filter(|body| !body.is_end_stream()) else { return };
        if response.headers().contains_key(CONNECTION) {
            return;
        }
        let is_small = body.size_hint().lower() <= MOST as u64;
        if self.is_expecting || !is_small || !is_read(body).await {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Reads a body to its end, if that comes soon.
async fn is_read(body: Incoming) -> bool {
    let mut body = Limited::new(body, MOST);
    let reading = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    timeout(LONGEST, reading).await.unwrap_or(false)
}

/// A body that goes back to its owner when its reader lets it go.
#[derive(Debug)]
struct Lent {
    body: Option<Incoming>,
    owner: Arc<Mutex<Option<Incoming>>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}
