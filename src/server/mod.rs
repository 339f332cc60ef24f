//! How do bytes become requests? Bind, accept within caps, read heads of a bounded size within a
//! deadline, serve until told to stop.

mod paced;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::error::{self, Error, Kind};
use crate::layers::observe::new_request_id;
use crate::layers::unread;
use crate::lifecycle::Lifecycle;
use crate::limits::connections::{ConnectionLimit, OpenConnection};

use paced::{Exchange, Paced};

/// How long a request's head may take, and how long an idle connection is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// The largest head of a request, in bytes: four times the longest token.
const LARGEST_HEAD: usize = 64 * 1024;

/// How long a new connection may take to send anything at all.
const FIRST_BYTE_DEADLINE: Duration = Duration::from_secs(10);

/// How long the goodbye to a client whose head is refused may take.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// The pause after an accept that failed, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that listens and does not accept yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    limit: Option<ConnectionLimit>,
}

impl Server {
    /// Binds a host (an address or a name) and a port; port 0 takes a free one.
    ///
    /// # Errors
    /// When the name does not resolve or the address can't be bound.
    pub async fn bind(host: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((host, port)).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, limit: None })
    }

    /// The same, with a limit of connections per client address.
    #[must_use]
    pub fn limited(self, limit: ConnectionLimit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts until the lifecycle stops. Past `max_connections` a new one waits until another
    /// ends. `answer` finds the peer's address in the request's extensions, as axum's
    /// `ConnectInfo`.
    pub async fn serve<A, F>(self, answer: A, max_connections: usize, lifecycle: Lifecycle)
    where
        A: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        let stopping = lifecycle.stopping().clone();
        let accept = async {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                match self.listener.accept().await {
                    Ok((stream, peer)) => {
                        let admitted = self.limit.as_ref().map(|limit| limit.admit(peer.ip()));
                        // One too many of its address is closed without an answer.
                        if matches!(admitted, Some(None)) {
                            continue;
                        }
                        let held = Held { _place: place, _counted: admitted.flatten() };
                        let connection =
                            connection(stream, peer, answer.clone(), lifecycle.clone(), held);
                        lifecycle.connections().spawn(connection);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = stopping.cancelled() => {}
        }
    }
}

/// What answers with the routes of a plain router.
pub fn answer_with(router: Router) -> impl Fn(Request) -> BoxFuture<'static, Response> + Clone {
    move |request| {
        let answer = router.clone().oneshot(request);
        Box::pin(answer.map(|Ok(response)| response))
    }
}

/// What a connection holds as long as it is open.
struct Held {
    _place: OwnedSemaphorePermit,
    _counted: Option<OpenConnection>,
}

async fn connection<A, F>(
    stream: TcpStream,
    peer: SocketAddr,
    answer: A,
    lifecycle: Lifecycle,
    _held: Held,
) where
    A: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    if !speaks(&stream, &lifecycle).await {
        return;
    }
    // Answers are small and complete; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let exchange = Arc::new(Exchange::default());
    let mut io = TokioIo::new(Paced::new(stream, Arc::clone(&exchange)));
    let in_service = Arc::clone(&exchange);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        in_service.serve();
        let (request, rest) = unread::lend(request);
        let answer = answer(request);
        let exchange = Arc::clone(&in_service);
        // Boxed, because hyper keeps the room for it as long as the connection lives: for a stream
        // that is long.
        Box::pin(async move {
            let mut response = answer.await;
            if let Some(rest) = rest {
                rest.settle(&mut response).await;
            }
            exchange.begin_answer(is_event_stream(&response));
            Ok::<_, Infallible>(response)
        })
    });
    let ended = {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_header_size(LARGEST_HEAD);
        let mut connection = pin!(builder.serve_connection(&mut io, service));
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = lifecycle.stopping().cancelled() => {
                // By now every request has its answer. What was read since is a head that is not
                // whole, or is refused.
                if exchange.head_began() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
        if let Some(refusal) = refusal(&error, &exchange) {
            let goodbye = refuse(io.inner_mut().inner_mut(), refusal);
            let _ = tokio::time::timeout(GOODBYE_DEADLINE, goodbye).await;
        }
    }
}

/// Waits for the first byte of a new connection, and says whether it came. Nothing is held for it
/// meanwhile.
async fn speaks(stream: &TcpStream, lifecycle: &Lifecycle) -> bool {
    let mut first = [0];
    tokio::select! {
        peeked = tokio::time::timeout(FIRST_BYTE_DEADLINE, stream.peek(&mut first)) => matches!(peeked, Ok(Ok(1))),
        () = lifecycle.stopping().cancelled() => false,
    }
}

fn is_event_stream(response: &Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE);
    media_type.is_some_and(|media_type| media_type.as_bytes().starts_with(b"text/event-stream"))
}

/// The answer to a head that was not whole in time, or that hyper could not read; of any other end
/// there is nothing to say.
fn refusal(ended: &hyper::Error, exchange: &Exchange) -> Option<Error> {
    if ended.is_timeout() && exchange.head_began() {
        return Some(Error::new(
            Kind::RequestTimeout,
            "The head of the request took over 30 seconds.",
        ));
    }
    if !ended.is_parse() || exchange.is_served() {
        return None;
    }
    Some(if ended.is_parse_too_large() {
        Error::new(
            Kind::HeadTooLarge,
            "The head of a request may have 64 KiB: send fewer or shorter cookies.",
        )
    } else {
        Error::invalid("The head of the request can't be read as HTTP/1.1.")
    })
}

/// Says goodbye to a client whose head was refused, and reads what it still sends, or it would
/// never see the answer.
async fn refuse(stream: &mut TcpStream, refusal: Error) -> io::Result<()> {
    let id = new_request_id();
    let request_id = id.to_str().unwrap_or_default();
    let (status, _, code) = refusal.kind().parts();
    tracing::info!(status = status.as_u16(), request_id, error = code, "request");
    let mut response = refusal.into_response();
    error::render(&mut response, request_id, false);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-request-id: {request_id}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await?;
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(|_| ())
}
