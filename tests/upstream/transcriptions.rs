//! How is a recording turned into text?

use std::time::{Duration, Instant};

use bytes::Bytes;
use chatkit_server::error::Kind;
use chatkit_server::upstream::model::ModelApi;
use chatkit_server::upstream::transcriptions::AudioFormat;
use chatkit_server::upstream::{Call, Deadline, Error};

use crate::server::{ModelServer, Reply};
use crate::support::{KEY, client, endpoint};

const AUDIO: &[u8] = b"\x1aE\xdf\xa3\x00\r\n--not a boundary";

async fn transcribe(
    server: &ModelServer,
    format: AudioFormat,
    time: Duration,
) -> Result<String, Error> {
    let call = Call { deadline: Deadline::after(time), request: None };
    let endpoint = endpoint(server, ModelApi::Responses);
    client()
        .transcribe(&endpoint, "gpt-4o-transcribe", Bytes::from_static(AUDIO), format, call)
        .await
}

const LONG: Duration = Duration::from_secs(5);

fn text(text: &str) -> Reply {
    Reply::plain(
        200,
        "application/json",
        &serde_json::json!({"text": text, "usage": {}}).to_string(),
    )
}

#[tokio::test]
async fn a_recording_is_sent_as_a_file_with_the_name_of_the_model() {
    for (format, name, kind) in [
        (AudioFormat::Webm, "audio.webm", "audio/webm"),
        (AudioFormat::Mp4, "audio.m4a", "audio/mp4"),
        (AudioFormat::Ogg, "audio.ogg", "audio/ogg"),
    ] {
        let server = ModelServer::start([text("Grüße")]).await;
        assert_eq!(transcribe(&server, format, LONG).await.expect("a text"), "Grüße");
        let request = server.requests().remove(0);
        assert_eq!(request.line, "POST /v1/audio/transcriptions");
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        let boundary = request
            .header("content-type")
            .and_then(|kind| kind.strip_prefix("multipart/form-data; boundary="));
        let boundary = boundary.expect("a form").to_owned();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; \
             name=\"model\"\r\n\r\ngpt-4o-transcribe\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             content-type: {kind}\r\n\r\n"
        );
        let expected =
            [head.as_bytes(), AUDIO, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        assert_eq!(
            String::from_utf8_lossy(&request.body).to_ascii_lowercase(),
            String::from_utf8_lossy(&expected).to_ascii_lowercase()
        );
    }
}

#[test]
fn the_format_is_that_of_the_media_type_without_its_parameters() {
    for (kind, expected) in [
        ("audio/webm;codecs=opus", Some(AudioFormat::Webm)),
        ("Audio/MP4", Some(AudioFormat::Mp4)),
        (" audio/ogg ; codecs=opus", Some(AudioFormat::Ogg)),
        ("audio/wav", None),
        ("video/webm", None),
        ("", None),
    ] {
        assert_eq!(AudioFormat::of_media_type(kind), expected, "{kind}");
    }
}

#[tokio::test]
async fn silence_is_an_empty_text() {
    let server = ModelServer::start([text("")]).await;
    assert_eq!(transcribe(&server, AudioFormat::Webm, LONG).await.expect("a text"), "");
}

#[tokio::test]
async fn a_passing_failure_is_tried_again_with_the_same_recording() {
    let busy = Reply::error(503, "t", "c", "busy").header("retry-after-ms", "5");
    let server = ModelServer::start([busy, text("hello")]).await;
    assert_eq!(transcribe(&server, AudioFormat::Webm, LONG).await.expect("a text"), "hello");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|request| request.body.windows(AUDIO.len()).any(|window| window == AUDIO))
    );
}

#[tokio::test]
async fn what_goes_wrong_has_a_kind_and_shows_no_key() {
    for (reply, kind) in [
        (Reply::error(400, "invalid_request_error", "c", KEY), Kind::UpstreamRejected),
        (Reply::error(401, "t", "invalid_api_key", KEY), Kind::UpstreamAuthFailed),
        (Reply::error(429, "insufficient_quota", "c", KEY), Kind::UpstreamQuotaExhausted),
        (Reply::plain(200, "text/html", "<html>"), Kind::UpstreamInvalidResponse),
        (Reply::plain(200, "application/json", "{\"words\":1}"), Kind::UpstreamInvalidResponse),
    ] {
        let server = ModelServer::start([reply]).await;
        let error = transcribe(&server, AudioFormat::Ogg, LONG).await.expect_err("an error");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!format!("{error} {error:?}").contains(KEY), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_given_up() {
    let server = ModelServer::start([text("late").after(Duration::from_secs(30))]).await;
    let started = Instant::now();
    let error = transcribe(&server, AudioFormat::Webm, Duration::from_millis(200))
        .await
        .expect_err("a timeout");
    assert_eq!(error, Error::Timeout);
    assert!(started.elapsed() < LONG);
}
