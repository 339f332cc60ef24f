//! Is speech taken as OpenAI takes it: a form with a file of a known format and a model?

use anyhow::Result;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::model::events;
use super::{Caller, invalid, read};

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

async fn send(caller: &Caller, form: Form) -> Result<(u16, Value)> {
    let request =
        caller.client.post(format!("{}{TRANSCRIPTIONS}", caller.base)).bearer_auth("sk-test");
    read(request.multipart(form).send().await?).await
}

fn file(name: &'static str, size: usize) -> Result<Form> {
    let part = Part::bytes(vec![7; size]).file_name(name).mime_str("audio/webm")?;
    Ok(Form::new().part("file", part))
}

#[tokio::test]
async fn a_file_becomes_a_text_that_names_it() -> Result<()> {
    let caller = Caller::start().await?;
    let form =
        file("speech.webm", 3_000_000)?.text("model", "gpt-4o-transcribe").text("language", "en");
    let expected = json!({
        "text": "This was said in speech.webm, 3000000 bytes of sound.",
        "usage": { "type": "duration", "seconds": 1 },
    });
    assert_eq!(send(&caller, form).await?, (200, expected));
    let last = json!({
        "model": "gpt-4o-transcribe", "language": "en",
        "file": { "filename": "speech.webm", "content_type": "audio/webm", "size": 3_000_000 },
    });
    assert_eq!(caller.look("/sandbox/last").await?["transcriptions"], last);
    assert_eq!(caller.look("/sandbox/stats").await?["transcriptions"], 1);
    Ok(())
}

#[tokio::test]
async fn a_form_that_lacks_something_is_refused() -> Result<()> {
    let caller = Caller::start().await?;
    let formats = "Invalid file format. Supported formats: ['flac', 'm4a', 'mp3', 'mp4', 'mpeg', \
                   'mpga', 'oga', 'ogg', 'wav', 'webm']";
    let large = "Maximum content size limit (26214400) exceeded.";
    for (form, status, message) in [
        (Form::new().text("model", "m"), 400, "Missing required parameter: 'file'."),
        (file("a.webm", 1)?, 400, "you must provide a model parameter"),
        (file("a.txt", 1)?.text("model", "m"), 400, formats),
        (file("webm", 1)?.text("model", "m"), 400, formats),
        (
            file("a.OGG", 0)?.text("model", "m"),
            400,
            "Audio file is too short. Minimum audio length is 0.1 seconds.",
        ),
        (file("a.wav", 26_214_401)?.text("model", "m"), 413, large),
    ] {
        let (found, body) = send(&caller, form).await?;
        assert_eq!((found, &body["error"]["message"]), (status, &json!(message)));
    }
    let (status, body) = read(caller.post(TRANSCRIPTIONS, &json!({ "model": "m" })).await?).await?;
    assert_eq!((status, &body["error"]["code"]), (415, &json!("unsupported_content_type")));
    let request =
        caller.client.post(format!("{}{TRANSCRIPTIONS}", caller.base)).bearer_auth("sk-test");
    let request =
        request.header("content-type", "multipart/form-data; boundary=x").body("nonsense");
    assert_eq!(
        read(request.send().await?).await?,
        (400, invalid("Could not parse multipart form", None))
    );
    Ok(())
}

#[tokio::test]
async fn a_transcript_streams_word_by_word() -> Result<()> {
    let caller = Caller::start().await?;
    let form = file("speech.webm", 9)?.text("model", "gpt-4o-transcribe").text("stream", "true");
    let request =
        caller.client.post(format!("{}{TRANSCRIPTIONS}", caller.base)).bearer_auth("sk-test");
    let response = request.multipart(form).send().await?;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let events = events(&response.text().await?)?;
    let (last, deltas) = events.split_last().expect("events");
    let text = "This was said in speech.webm, 9 bytes of sound.";
    assert_eq!(deltas.len(), 9);
    assert!(
        deltas.iter().all(|(name, data)| name.is_none() && data["type"] == "transcript.text.delta")
    );
    let said: String = deltas.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!(said, text);
    let usage = json!({
        "type": "tokens", "input_tokens": 10, "output_tokens": 9, "total_tokens": 19,
        "input_token_details": { "text_tokens": 0, "audio_tokens": 10 },
    });
    assert_eq!(last.1, json!({ "type": "transcript.text.done", "text": text, "usage": usage }));
    assert_eq!(caller.look("/sandbox/stats").await?["open"], 0);
    Ok(())
}

#[tokio::test]
async fn whisper_says_when_each_thing_was_said_and_does_not_stream() -> Result<()> {
    let caller = Caller::start().await?;
    let text = "This was said in a.webm, 9 bytes of sound.";
    let form = || -> Result<Form> { Ok(file("a.webm", 9)?.text("model", "whisper-1")) };
    let (status, verbose) = send(&caller, form()?.text("response_format", "verbose_json")).await?;
    assert_eq!(status, 200, "{verbose}");
    assert_eq!(
        (&verbose["text"], &verbose["duration"], &verbose["words"]),
        (&json!(text), &json!(1.0), &Value::Null)
    );
    assert_eq!(verbose["segments"][0]["text"], text);
    let words = form()?.text("response_format", "verbose_json");
    let words = words
        .text("timestamp_granularities[]", "word")
        .text("timestamp_granularities[]", "segment");
    let (_, verbose) = send(&caller, words).await?;
    assert_eq!(verbose["words"][0], json!({ "word": "This", "start": 0.0, "end": 1.0 }));
    let (status, whole) = send(&caller, form()?.text("stream", "true")).await?;
    assert_eq!((status, &whole["text"]), (200, &json!(text)));
    let other = file("a.webm", 9)?
        .text("model", "gpt-4o-transcribe")
        .text("response_format", "verbose_json");
    let (status, refusal) = send(&caller, other).await?;
    assert_eq!((status, &refusal["error"]["code"]), (400, &json!("unsupported_value")));
    Ok(())
}
