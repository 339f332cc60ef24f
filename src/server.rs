//! How do bytes become requests? Bind, accept with a cap, read heads within a deadline, serve until told to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use crate::error::{self, Error, Kind};
use crate::layers::observe::new_request_id;
use crate::layers::unread;
use crate::lifecycle::Lifecycle;

/// How long a request's head may take, and how long an idle connection is kept.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take nothing of its answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// How long the goodbye to a client whose head took too long may take.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// The pause after an accept that failed, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that listens and does not accept yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl Server {
    /// Binds a host (an address or a name) and a port; port 0 takes a free one.
    ///
    /// # Errors
    /// When the name does not resolve or the address can't be bound.
    pub async fn bind(host: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((host, port)).await?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr })
    }

    /// The address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts until the lifecycle stops. Past `max_connections` a new one waits until another ends. `answer` finds the
    /// peer's address in the request's extensions, as axum's `ConnectInfo`.
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
                        let connection = connection(stream, peer, answer.clone(), lifecycle.clone(), place);
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

async fn connection<A, F>(
    stream: TcpStream,
    peer: SocketAddr,
    answer: A,
    lifecycle: Lifecycle,
    _place: OwnedSemaphorePermit,
) where
    A: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    // Answers are small and complete; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let head_began = Arc::new(AtomicBool::new(false));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_DEADLINE));
    let stream = Box::pin(stream);
    let mut io = TokioIo::new(Watched { stream, head_began: Arc::clone(&head_began) });
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let (request, rest) = unread::lend(request);
        let answer = answer(request);
        // Boxed, because hyper keeps the room for it as long as the connection lives: for a stream that is long.
        Box::pin(async move {
            let mut response = answer.await;
            if let Some(rest) = rest {
                rest.settle(&mut response).await;
            }
            Ok::<_, Infallible>(response)
        })
    });
    let ended = {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
        let mut connection = pin!(builder.serve_connection(&mut io, service));
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = lifecycle.stopping().cancelled() => {
                // By now every request has its answer. What was read since is a head that is not whole, or is refused.
                if head_began.load(Ordering::Relaxed) {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
        if error.is_timeout() && head_began.load(Ordering::Relaxed) {
            let goodbye = refuse_slow_head(&mut io.inner_mut().stream);
            let _ = tokio::time::timeout(GOODBYE_DEADLINE, goodbye).await;
        }
    }
}

/// Answers a head that began and did not end in time: hyper says nothing then, it only closes.
async fn refuse_slow_head(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let id = new_request_id();
    let request_id = id.to_str().unwrap_or_default();
    tracing::info!(status = 408, request_id, error = "request_timeout", "request");
    let mut response =
        Error::new(Kind::RequestTimeout, "The head of the request took over 30 seconds.").into_response();
    error::render(&mut response, request_id, false);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nx-request-id: {request_id}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await
}

/// A stream that knows whether something was read since it was last written to: a head that began and was not answered.
#[derive(Debug)]
struct Watched {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    head_began: Arc<AtomicBool>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.stream.as_mut().poll_read(cx, buf);
        if buf.filled().len() > before {
            self.head_began.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.head_began.store(false, Ordering::Relaxed);
        self.stream.as_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.head_began.store(false, Ordering::Relaxed);
        self.stream.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}
