//! Is speech taken as OpenAI takes it: a form with a file of a known format and a model?

use anyhow::Result;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{Caller, invalid, read};

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

async fn send(caller: &Caller, form: Form) -> Result<(u16, Value)> {
    let request = caller.client.post(format!("{}{TRANSCRIPTIONS}", caller.base)).bearer_auth("sk-test");
    read(request.multipart(form).send().await?).await
}

fn file(name: &'static str, size: usize) -> Result<Form> {
    let part = Part::bytes(vec![7; size]).file_name(name).mime_str("audio/webm")?;
    Ok(Form::new().part("file", part))
}

#[tokio::test]
async fn a_file_becomes_a_text_that_names_it() -> Result<()> {
    let caller = Caller::start().await?;
    let form = file("speech.webm", 3_000_000)?.text("model", "gpt-4o-transcribe").text("language", "en");
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
    let formats = "Invalid file format. Supported formats: ['flac', 'm4a', 'mp3', 'mp4', 'mpeg', 'mpga', 'oga', 'ogg', \
                   'wav', 'webm']";
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
    let request = caller.client.post(format!("{}{TRANSCRIPTIONS}", caller.base)).bearer_auth("sk-test");
    let request = request.header("content-type", "multipart/form-data; boundary=x").body("nonsense");
    assert_eq!(read(request.send().await?).await?, (400, invalid("Could not parse multipart form", None)));
    Ok(())
}
