//! What becomes of a body that nobody read? A request that is refused by its head leaves its body
//! on the connection, where the next request would be looked for; and many clients hear a refusal
//! only when they have sent everything. So what is on its way is read and thrown away. Where it
//! does not come, or is too much, the answer says that the connection ends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// More than this is not read for nothing, in bytes: well over the largest bodies that the chat
/// takes.
const MOST: usize = 64 * 1024 * 1024;
/// How long reading for nothing may take.
const LONGEST: Duration = Duration::from_secs(10);
/// How long nothing may come meanwhile.
const SILENCE: Duration = Duration::from_millis(500);

/// The body of a request, as far as it was not read.
#[derive(Debug)]
pub struct Rest {
    left: Arc<Mutex<Option<Incoming>>>,
    /// A client that waits for `100 Continue` sends nothing before somebody reads.
    is_expecting: bool,
}

/// Gives a request its body so that it comes back here when its reader is done with it. None for a
/// request without a body.
#[must_use]
pub fn lend(request: Request<Incoming>) -> (Request, Option<Rest>) {
    if request.body().is_end_stream() {
        return (request.map(|_| Body::empty()), None);
    }
    let left = Arc::new(Mutex::new(None));
    let is_expecting = request.headers().contains_key(EXPECT);
    let request =
        request.map(|body| Body::new(Lent { body: Some(body), owner: Arc::clone(&left) }));
    (request, Some(Rest { left, is_expecting }))
}

impl Rest {
    /// Reads what is left before the answer goes out, or has the answer end the connection.
    pub async fn settle<B>(self, response: &mut Response<B>) {
        let body = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body.filter(|body| !body.is_end_stream()) else { return };
        let is_late = response.status() == StatusCode::REQUEST_TIMEOUT;
        if self.is_expecting || is_late || !is_read(body).await {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Reads a body, and says whether it came to its end.
async fn is_read(body: Incoming) -> bool {
    let mut body = Limited::new(body, MOST);
    let reading = async {
        loop {
            match timeout(SILENCE, body.frame()).await {
                Ok(Some(Ok(_))) => {}
                Ok(None) => return true,
                Ok(Some(Err(_))) | Err(_) => return false,
            }
        }
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
