//! The model of a fixture: a server that plays the given answers, byte for byte, and keeps what it
//! was asked.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fixture::{End, Reply};

/// A scripted model. It stops when it is dropped.
pub(crate) struct Model {
    address: SocketAddr,
    story: Arc<Story>,
    _running: JoinSet<()>,
}

struct Story {
    script: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<Value>>,
    pause: Duration,
}

impl Model {
    /// Listens on a free port; with a pause between the events of a stream.
    pub(crate) async fn start(pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let story = Arc::new(Story { script: Mutex::default(), requests: Mutex::default(), pause });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&story));
        let mut running = JoinSet::new();
        running.spawn(async move {
            axum::serve(listener, app).await.expect("it serves until it is dropped")
        });
        Self { address, story, _running: running }
    }

    /// Where its API is.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Sets what it answers from now on.
    pub(crate) fn play(&self, replies: &[Reply]) {
        *lock(&self.story.script) = replies.iter().cloned().collect();
    }

    /// What it was asked since the last time, and how many of its answers were not fetched.
    pub(crate) fn asked(&self) -> (Vec<Value>, usize) {
        (std::mem::take(&mut *lock(&self.story.requests)), lock(&self.story.script).len())
    }
}

async fn answer(State(story): State<Arc<Story>>, body: Bytes) -> Response {
    let asked = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Value::from(&*String::from_utf8_lossy(&body)));
    lock(&story.requests).push(asked);
    let Some(reply) = lock(&story.script).pop_front() else {
        return head(418, "text/plain")
            .body(Body::from("the script has ended"))
            .expect("a response");
    };
    let mut response = match &reply.events {
        Some(events) => {
            head(reply.status, "text/event-stream").body(streamed(&story, &reply, events))
        }
        None => head(reply.status, "application/json").body(match &reply.body {
            Some(Value::String(text)) => Body::from(text.clone()),
            body => Body::from(body.clone().unwrap_or_default().to_string()),
        }),
    }
    .expect("a response");
    for (name, value) in &reply.headers {
        let name: HeaderName = name.parse().expect("a header's name");
        response
            .headers_mut()
            .insert(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    response
}

fn head(status: u16, r#type: &str) -> axum::http::response::Builder {
    let status = StatusCode::from_u16(status).expect("a status");
    Response::builder().status(status).header(header::CONTENT_TYPE, r#type)
}

fn streamed(story: &Story, reply: &Reply, events: &[Value]) -> Body {
    let frames = events.iter().map(frame);
    let pieces: Vec<Bytes> = match reply.chunk {
        Some(size) => {
            frames.collect::<String>().as_bytes().chunks(size).map(Bytes::copy_from_slice).collect()
        }
        None => frames.map(Bytes::from).collect(),
    };
    let pause = if reply.chunk.is_none() { story.pause } else { Duration::ZERO };
    // Longer before the last, with which a run may fail, and before the end.
    let last = pieces.len().saturating_sub(1);
    let paced =
        stream::iter(pieces.into_iter().enumerate()).then(move |(number, piece)| async move {
            tokio::time::sleep(if number < last { pause } else { pause * 10 }).await;
            Ok(piece)
        });
    let rest = stream::once(tokio::time::sleep(pause * 10)).filter_map(|()| async { None });
    let paced = paced.chain(rest);
    match reply.end {
        End::Whole => Body::from_stream(paced),
        End::Cut => {
            // The pieces before it leave first: hyper flushes when the body makes it wait.
            let cut = stream::once(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(io::Error::other("cut"))
            });
            Body::from_stream(paced.chain(cut))
        }
        End::Hold => Body::from_stream(paced.chain(stream::pending::<io::Result<Bytes>>())),
    }
}

/// An event as OpenAI frames it.
fn frame(event: &Value) -> String {
    match (event, event["type"].as_str()) {
        (Value::String(raw), _) => raw.clone(),
        (_, Some(r#type)) => format!("event: {}\ndata: {event}\n\n", r#type),
        (_, None) => format!("data: {event}\n\n"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while they hold this lock")
}
