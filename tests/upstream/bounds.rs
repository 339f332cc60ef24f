//! How much is taken of a server that never ends, and how long is it waited for?

use std::time::{Duration, Instant};

use chatkit_server::upstream::model::{
    ModelApi, ModelErrorKind, ModelEvent as E, ModelRequest, ModelSettings,
};
use serde_json::{Value, json};

use crate::server::{ModelServer, Reply, Step};
use crate::support::{PATIENCE, ask, client, client_with, endpoint, frames, hello, read};

const MIB: usize = 1024 * 1024;

/// A request that lets the model draw.
fn drawing() -> ModelRequest {
    let tool = json!({"type": "image_generation"}).as_object().expect("an object").clone();
    ModelRequest { hosted_tools: vec![tool], ..hello() }
}

/// How the answer to a request ends that is this text, over and over.
async fn ending(request: &ModelRequest, piece: &str, times: usize) -> String {
    let steps = std::iter::repeat_n(Step::Send(piece.into()), times);
    let server = ModelServer::start([Reply::steps(steps)]).await;
    let stream = client().stream(&endpoint(&server, ModelApi::Responses), request, None).await;
    let error = read(stream.expect("a stream")).await.1.expect("an error");
    assert_eq!(error.kind(), ModelErrorKind::BadFrame);
    error.to_string()
}

#[tokio::test]
async fn an_event_without_an_end_is_given_up() {
    let piece = format!("data: {}", "x".repeat(MIB));
    let said = ending(&hello(), &piece, 20).await;
    assert_eq!(said, "an event of more than 10485760 bytes, request id req_1");
    let said = ending(&drawing(), &piece, 20).await;
    assert_eq!(said, "an event of more than 16777216 bytes, request id req_1");
}

#[tokio::test]
async fn a_stream_without_an_end_is_given_up() {
    let frame = frames(&[json!({"type": "keepalive", "padding": "x".repeat(MIB)})]);
    let said = ending(&hello(), &frame, 50).await;
    assert_eq!(said, "an answer of more than 41943040 bytes, request id req_1");
    let said = ending(&drawing(), &frame, 110).await;
    assert_eq!(said, "an answer of more than 100663296 bytes, request id req_1");
}

#[tokio::test]
async fn an_image_of_megabytes_comes_through() {
    let image = "A".repeat(8 * MIB);
    let item = json!({"id": "ig_1", "type": "image_generation_call", "result": image});
    let stream = frames(&[
        json!({"type": "response.output_item.done", "item": item}),
        json!({"type": "response.completed", "response": {"output": [item]}}),
    ]);
    let server = ModelServer::start([Reply::stream(&stream)]).await;
    let stream = client().stream(&endpoint(&server, ModelApi::Responses), &drawing(), None).await;
    let (events, error) = read(stream.expect("a stream")).await;
    assert_eq!(error, None);
    assert!(matches!(&events[0], E::ImageDone { b64, .. } if b64.len() == image.len()));
}

/// What becomes of an answer of which there is a beginning, and then this, time and again.
async fn dripping(drip: &[u8]) -> (String, Duration) {
    let delta: Value = json!({"type": "response.output_text.delta", "item_id": "m", "delta": "a"});
    let drips = std::iter::repeat_with(|| [Step::Pause(PATIENCE / 8), Step::Send(drip.into())])
        .take(80)
        .flatten();
    let steps = std::iter::once(Step::Send(frames(&[delta]).into())).chain(drips);
    let server = ModelServer::start([Reply::steps(steps)]).await;
    let settings =
        ModelSettings { idle: PATIENCE, quiet: PATIENCE * 3, ..ModelSettings::default() };
    let began = Instant::now();
    let stream =
        client_with(settings).stream(&endpoint(&server, ModelApi::Responses), &hello(), None).await;
    let (events, error) = read(stream.expect("a stream")).await;
    assert_eq!(events.len(), 1);
    let error = error.expect("an error");
    assert_eq!((error.kind(), error.is_retryable()), (ModelErrorKind::Timeout, true), "{error}");
    (error.to_string(), began.elapsed())
}

#[tokio::test]
async fn a_byte_now_and_then_is_silence_and_comments_are_life_for_a_while() {
    let (said, after) = dripping(b"x").await;
    assert!(said.starts_with("nothing came from the model for 0.4 s"), "{said}");
    assert!(after >= PATIENCE && after < PATIENCE * 3, "{after:?}");
    let (said, after) = dripping(b": alive\n\n").await;
    assert!(said.starts_with("no event came from the model for 1 s"), "{said}");
    assert!(after >= PATIENCE * 3 && after < PATIENCE * 8, "{after:?}");
}

#[tokio::test]
async fn an_event_that_takes_its_time_comes_through() {
    let padding = "x".repeat(2 * MIB);
    let stream = frames(&[
        json!({"type": "response.output_text.delta", "item_id": "m", "delta": "a", "padding": padding}),
        json!({"type": "response.completed", "response": {}}),
    ]);
    let pieces = stream.as_bytes().chunks(128 * 1024);
    let steps = pieces.flat_map(|piece| [Step::Send(piece.into()), Step::Pause(PATIENCE / 5)]);
    let server = ModelServer::start([Reply::steps(steps)]).await;
    let (events, error) = read(ask(&server, ModelApi::Responses).await.expect("a stream")).await;
    assert_eq!((events.len(), error), (2, None));
}
