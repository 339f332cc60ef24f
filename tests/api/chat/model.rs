//! What does a model say? Streams of the Responses API, written by hand.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::support::upstream::Reply;

/// An answer that is whole.
pub(crate) fn answer(text: &str) -> Reply {
    let events = [opening(), vec![delta(text)], closing(text)].concat();
    stream(&events)
}

/// These events, and the end of the stream.
pub(crate) fn stream(events: &[Value]) -> Reply {
    Reply::text(200, &frames(events)).header("content-type", "text/event-stream").chunked()
}

/// Everything before the first word.
pub(crate) fn opening() -> Vec<Value> {
    let message = json!({"type": "message", "id": "msg_m", "role": "assistant", "status": "in_progress", "content": []});
    let part = json!({"type": "output_text", "text": "", "annotations": []});
    vec![
        json!({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": message}),
        json!({"type": "response.content_part.added", "item_id": "msg_m", "output_index": 0, "content_index": 0, "part": part}),
    ]
}

/// A piece of text.
pub(crate) fn delta(text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "msg_m", "output_index": 0, "content_index": 0, "delta": text})
}

/// Everything after the last word.
pub(crate) fn closing(text: &str) -> Vec<Value> {
    let part = json!({"type": "output_text", "text": text, "annotations": []});
    let message = json!({"type": "message", "id": "msg_m", "role": "assistant", "status": "completed", "content": [part]});
    vec![
        json!({"type": "response.output_text.done", "item_id": "msg_m", "output_index": 0, "content_index": 0, "text": text}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": message}),
        json!({"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": [message]}}),
    ]
}

/// Events as they come over the wire.
pub(crate) fn frames(events: &[Value]) -> String {
    let name = |event: &Value| event["type"].as_str().unwrap_or("error").to_owned();
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", name(event))).collect()
}

/// A model that says this at once, and the end of it when it is told to. For one request.
pub(crate) struct Pausing {
    pub(crate) base: String,
    pub(crate) go_on: oneshot::Sender<()>,
    _running: JoinSet<()>,
}

impl Pausing {
    pub(crate) async fn start(pieces: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let (go_on, told) = oneshot::channel();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 64 * 1024];
            let read = connection.read(&mut request).await.expect("a request");
            assert!(read > 0, "a request");
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            let deltas: Vec<Value> = pieces.iter().map(|piece| delta(piece)).collect();
            let said = format!("{head}{}", frames(&[opening(), deltas].concat()));
            connection.write_all(said.as_bytes()).await.expect("it is read");
            told.await.expect("the test goes on");
            let end = frames(&closing(&pieces.concat()));
            connection.write_all(end.as_bytes()).await.expect("it is still read");
        });
        Self { base, go_on, _running: running }
    }
}
