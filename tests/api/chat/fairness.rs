//! Who waits for whose files? A user's many large files keep that user waiting, and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::client::create;
use super::model::{closing, delta, frames, opening};
use super::setting::{answer_of, server, until_within, user};
use crate::process::TempFolder;
use crate::support::server::{PATIENCE, TestServer};
use crate::support::tokens;

const MEBIBYTE: usize = 1024 * 1024;
/// How long tests may take that move many bytes.
const LONG: Duration = Duration::from_secs(120);

/// A model that answers small requests at once, and large ones when it is told to.
struct Slow {
    base: String,
    state: Arc<Large>,
    _running: JoinSet<()>,
}

struct Large {
    asked: AtomicUsize,
    answers: Semaphore,
}

impl Slow {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let state = Arc::new(Large { asked: AtomicUsize::new(0), answers: Semaphore::new(0) });
        let app = Router::new().fallback(answer).with_state(state.clone());
        let mut running = JoinSet::new();
        running.spawn(async { axum::serve(listener, app).await.expect("it serves") });
        Self { base, state, _running: running }
    }

    async fn asked(&self, times: usize) {
        until_within(LONG, "the model is asked", async || {
            self.state.asked.load(Ordering::SeqCst) == times
        })
        .await;
    }
}

async fn answer(State(state): State<Arc<Large>>, request: Request) -> impl IntoResponse {
    let mut body = request.into_body();
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, |data| data.len());
    }
    if bytes > MEBIBYTE {
        state.asked.fetch_add(1, Ordering::SeqCst);
        state.answers.acquire().await.expect("it is never closed").forget();
    }
    let events = [opening(), vec![delta("seen")], closing("seen")].concat();
    ([(header::CONTENT_TYPE, "text/event-stream")], frames(&events))
}

/// A message with images of these sizes, which are uploaded.
async fn with_images(server: &TestServer, name: &str, sizes: &[usize]) -> Value {
    let mut ids = Vec::new();
    for size in sizes {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.resize(*size, 0);
        let part =
            Part::bytes(bytes).file_name("a.png").mime_str("image/png").expect("a media type");
        let request =
            server.post("/api/chatkit/upload").bearer_auth(tokens::hs256(name)).timeout(LONG);
        let answer =
            request.multipart(Form::new().part("file", part)).send().await.expect("an answer");
        let attachment: Value = answer.json().await.expect("JSON");
        ids.push(attachment["id"].clone());
    }
    let mut message = create("look");
    message["params"]["input"]["attachments"] = json!(ids);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn one_users_large_files_keep_nobody_else_waiting() {
    let (model, folder) = (Slow::start().await, TempFolder::new("fairness"));
    let uploads = folder.path("uploads");
    let server = server(&model.base, &[("CHATKIT_UPLOADS_DIR", &uploads)]);
    let mut turns = JoinSet::new();
    for turn in 0..4 {
        let message = with_images(&server, "ada", &[16 * MEBIBYTE, 16 * MEBIBYTE]).await;
        let ada = user(&server, "ada");
        turns.spawn(async move { ada.events(&message).await });
        if turn == 0 {
            model.asked(1).await;
        }
    }
    let small = with_images(&server, "bob", &[108]).await;
    let bob = user(&server, "bob");
    let events = tokio::time::timeout(PATIENCE, bob.events(&small)).await;
    assert_eq!(answer_of(&events.expect("a small file waits for nobody")), "seen");

    let large = with_images(&server, "bob", &[16 * MEBIBYTE]).await;
    turns.spawn(async move { bob.events(&large).await });
    model.asked(2).await;
    model.state.answers.add_permits(10);
    while let Some(events) = turns.join_next().await {
        let events = events.expect("no panic");
        let last = events.last().expect("a last event");
        assert!(last["type"] != "error" || last["allow_retry"] == true, "each has its end: {last}");
    }
}
