//! What do recordings cost? Bytes in memory that are counted, one recording of a user at a time,
//! and nothing where it is off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::setting::{Model, most_resident, server, until, until_within};
use crate::support::server::{TestServer, send_meanwhile};
use crate::support::tokens;

const MEBIBYTE: usize = 1024 * 1024;
/// How long tests may take that move many bytes.
const LONG: Duration = Duration::from_secs(120);

/// A model API that reads recordings, keeps nothing of them, and answers when it is told to.
struct Ears {
    base: String,
    heard: Arc<Heard>,
    _running: JoinSet<()>,
}

struct Heard {
    recordings: AtomicUsize,
    bytes: AtomicUsize,
    answers: Semaphore,
}

impl Ears {
    async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let heard = Arc::new(Heard {
            recordings: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            answers: Semaphore::new(0),
        });
        let app = Router::new().fallback(hear).with_state(heard.clone());
        let mut running = JoinSet::new();
        running.spawn(async { axum::serve(listener, app).await.expect("it serves") });
        Self { base, heard, _running: running }
    }

    fn recordings(&self) -> usize {
        self.heard.recordings.load(Ordering::SeqCst)
    }

    fn answer_all(&self) {
        self.heard.answers.add_permits(1000);
    }
}

async fn hear(State(heard): State<Arc<Heard>>, request: Request) -> impl IntoResponse {
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        heard.bytes.fetch_add(frame.data_ref().map_or(0, |data| data.len()), Ordering::SeqCst);
    }
    heard.recordings.fetch_add(1, Ordering::SeqCst);
    heard.answers.acquire().await.expect("it is never closed").forget();
    ([(header::CONTENT_TYPE, "application/json")], r#"{"text":"hello"}"#)
}

/// A request with so many bytes of base64.
fn spoken(base64: usize) -> String {
    let params = json!({"audio_base64": "AAAA".repeat(base64 / 4), "mime_type": "audio/webm"});
    json!({"type": "input.transcribe", "params": params}).to_string()
}

fn json_of(request: RequestBuilder, body: impl Into<reqwest::Body>) -> RequestBuilder {
    request.header("content-type", "application/json").body(body)
}

fn of(server: &TestServer, user: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    json_of(server.post("/api/chatkit").bearer_auth(tokens::hs256(user)), body)
}

async fn code(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("JSON");
    (status, if status == 200 { body["text"].clone() } else { body["error"]["code"].clone() })
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_recordings_of_thirty_mebibytes_at_once_take_less_than_two_hundred() {
    let ears = Ears::open().await;
    let server = server(&ears.base, &[]);
    let body = bytes::Bytes::from(spoken(30 * MEBIBYTE));
    let before = most_resident(&server);
    let mut asked = JoinSet::new();
    for user in 0..30 {
        asked.spawn(of(&server, &format!("user{user}"), body.clone()).timeout(LONG).send());
    }
    let refused = AtomicUsize::new(0);
    let answering = async {
        let mut heard = 0;
        while let Some(response) = asked.join_next().await {
            let response = response.expect("no panic").expect("an answer");
            let wait = response.headers().contains_key("retry-after");
            match code(response).await {
                (200, text) if text == "hello" => heard += 1,
                (503, code) if code == "overloaded" && wait => {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
                other => panic!("{other:?}"),
            }
        }
        heard
    };
    // Those who were let in are answered when everybody else has heard a refusal.
    let listening = async {
        let all = async || refused.load(Ordering::SeqCst) + ears.recordings() == 30;
        until_within(LONG, "everybody is heard or refused", all).await;
        ears.answer_all();
    };
    let (heard, ()) = tokio::join!(answering, listening);
    assert!((1..=4).contains(&heard), "{heard} at once");
    assert_eq!(
        ears.heard.bytes.load(Ordering::SeqCst) / (22 * MEBIBYTE),
        heard,
        "whole recordings came"
    );
    let grown = most_resident(&server) - before;
    assert!(grown < 200 * MEBIBYTE, "{} MiB for {heard} recordings", grown / MEBIBYTE);
    assert_eq!(
        code(of(&server, "ada", body).send().await.expect("an answer")).await.0,
        200,
        "room again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_dictates_one_recording_at_a_time() {
    let ears = Ears::open().await;
    let server = server(&ears.base, &[]);
    for (count, size) in [(1, 400), (2, 2 * MEBIBYTE)] {
        let first = send_meanwhile(of(&server, "ada", spoken(size)));
        until("it is heard", async || ears.recordings() == count * 2 - 1).await;
        for more in [400, 2 * MEBIBYTE] {
            let second = of(&server, "ada", spoken(more)).send().await.expect("an answer");
            assert!(second.headers().contains_key("retry-after"));
            assert_eq!(code(second).await, (429, json!("rate_limited")), "{size}, then {more}");
        }
        let another = send_meanwhile(of(&server, "bob", spoken(size)));
        until("another user is heard", async || ears.recordings() == count * 2).await;
        ears.heard.answers.add_permits(2);
        for sent in [first, another] {
            let response = sent.await.expect("no panic").expect("an answer");
            assert_eq!(code(response).await, (200, json!("hello")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_of_one_address_dictate_one_long_recording_at_a_time() {
    let ears = Ears::open().await;
    let key = "0123456789abcdef0123456789abcdef";
    let server = server(&ears.base, &[("AUTH_ANONYMOUS", "on"), ("CHATKIT_COOKIE_KEY", key)]);
    let visit = |size: usize| {
        let request = server.post("/api/chatkit").header("origin", server.url(""));
        json_of(request, spoken(size))
    };
    let first = send_meanwhile(visit(2 * MEBIBYTE));
    until("it is heard", async || ears.recordings() == 1).await;
    let second = visit(2 * MEBIBYTE).send().await.expect("an answer");
    assert_eq!(
        code(second).await,
        (429, json!("rate_limited")),
        "whoever brings no cookie is another each time"
    );
    let short = send_meanwhile(visit(400));
    until("a short one is heard", async || ears.recordings() == 2).await;
    ears.answer_all();
    for sent in [first, short] {
        let response = sent.await.expect("no panic").expect("an answer");
        assert_eq!(code(response).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_recording_arrives_whole_however_its_json_is_written() {
    let ears = Ears::open().await;
    ears.answer_all();
    let server = server(&ears.base, &[]);
    let text = "/+8A".repeat(MEBIBYTE / 2);
    let plain = format!(
        r#"{{"type":"input.transcribe","params":{{"mime_type":"audio/mp4","audio_base64":"{text}"}}}}"#
    );
    let escaped = plain.replace('/', "\\/").replacen("+8A", "\\u002B8\\u0041", 1);
    let mut sizes = Vec::new();
    for body in [plain, escaped.replace("audio\\/mp4", "audio/mp4")] {
        let before = ears.heard.bytes.load(Ordering::SeqCst);
        assert_eq!(code(of(&server, "ada", body).send().await.expect("an answer")).await.0, 200);
        sizes.push(ears.heard.bytes.load(Ordering::SeqCst) - before);
    }
    assert_eq!(sizes[0], sizes[1]);
    assert!((3 * MEBIBYTE / 2..3 * MEBIBYTE / 2 + 2000).contains(&sizes[0]), "{}", sizes[0]);

    for (bad, named) in [
        (text.replacen('/', "!", 1), "audio_base64"),
        (text.replacen('/', "\\n", 1), "audio_base64"),
        (text[1..].to_owned(), "audio_base64"),
        ("AAAA".repeat(35 * MEBIBYTE / 4), "25 MiB"),
    ] {
        let body = format!(
            r#"{{"type":"input.transcribe","params":{{"mime_type":"audio/mp4","audio_base64":"{bad}"}}}}"#
        );
        let response = of(&server, "ada", body).timeout(LONG).send().await.expect("an answer");
        assert_eq!(response.status(), 400, "{named}");
        let message: Value = response.json().await.expect("JSON");
        assert!(message["message"].as_str().is_some_and(|text| text.contains(named)), "{message}");
    }
    assert_eq!(ears.recordings(), 2, "nothing of these reaches the model");
}

#[tokio::test(flavor = "multi_thread")]
async fn dictation_can_be_off_and_asks_the_model_that_is_named() {
    let off = server("http://127.0.0.1:9/v1", &[("CHATKIT_DICTATION", "off")]);
    for size in [400, 2 * MEBIBYTE] {
        let answer = of(&off, "ada", spoken(size)).send().await.expect("an answer");
        assert_eq!(code(answer).await, (404, json!("not_found")), "{size}");
    }
    let config = async |server: &TestServer| -> Value {
        server
            .get("/api/chatkit/config")
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON")
    };
    assert_eq!(config(&off).await["dictation"], json!(false));

    let model = Model::start();
    let on = server(&model.base(), &[("CHATKIT_TRANSCRIPTION_MODEL", "whisper-1")]);
    assert_eq!(config(&on).await["dictation"], json!(true));
    assert_eq!(of(&on, "ada", spoken(400)).send().await.expect("an answer").status(), 200);
    assert_eq!(model.last("transcriptions").await["model"], "whisper-1");
}
