//! How is speech made into text? `POST /v1/audio/transcriptions` reads a form, and tells what was
//! in it.

use std::sync::Arc;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Sandbox;
use super::error::ApiError;
use super::fields;
use super::gate::{self, BODY_DEADLINE, MAX_BODY};
use super::tally::{Endpoint, Open};
use super::transcript::{Format, Transcript};

const FORMATS: [&str; 10] =
    ["flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm"];

/// The longest field that is not the file, in bytes.
const MAX_FIELD: usize = 64 * 1024;

/// `POST /v1/audio/transcriptions`
pub(super) async fn transcribe(
    State(sandbox): State<Arc<Sandbox>>,
    request: Request,
) -> Result<Response, ApiError> {
    sandbox.tally.count(Endpoint::Transcriptions);
    let open = Open::one_of(&sandbox.tally.open);
    gate::check_content_type(request.headers(), "multipart/form-data")?;
    let form = Multipart::from_request(request, &()).await.map_err(|_| unreadable())?;
    let form = tokio::time::timeout(BODY_DEADLINE, read(form))
        .await
        .map_err(|_| ApiError::too_slow())??;
    sandbox.tally.remember(Endpoint::Transcriptions, &Bytes::from(form.to_json().to_string()));
    Ok(form.transcript()?.answer(open))
}

/// What was sent. Of the file only its size is kept.
#[derive(Default)]
struct Form {
    file: Option<Audio>,
    texts: Map<String, Value>,
}

struct Audio {
    name: String,
    content_type: Option<String>,
    size: usize,
}

async fn read(mut multipart: Multipart) -> Result<Form, ApiError> {
    let mut form = Form::default();
    while let Some(mut field) = multipart.next_field().await.map_err(fault)? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" {
            form.file = Some(read_audio(field).await?);
            continue;
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = field.chunk().await.map_err(fault)? {
            if bytes.len() + chunk.len() > MAX_FIELD || form.texts.len() > 32 {
                return Err(ApiError::too_large(MAX_FIELD));
            }
            bytes.extend_from_slice(&chunk);
        }
        let mut text = String::from_utf8(bytes).map_err(|_| unreadable())?;
        if let Some(Value::String(before)) = form.texts.get(&name).filter(|_| name.ends_with("[]"))
        {
            text = format!("{before},{text}");
        }
        form.texts.insert(name, Value::String(text));
    }
    Ok(form)
}

async fn read_audio(mut field: Field<'_>) -> Result<Audio, ApiError> {
    let name = field.file_name().unwrap_or_default().to_owned();
    let content_type = field.content_type().map(str::to_owned);
    let mut size = 0;
    while let Some(chunk) = field.chunk().await.map_err(fault)? {
        size += chunk.len();
        if size > MAX_BODY {
            return Err(ApiError::too_large(MAX_BODY));
        }
    }
    Ok(Audio { name, content_type, size })
}

impl Form {
    /// The transcript, if OpenAI would make one.
    fn transcript(&self) -> Result<Transcript, ApiError> {
        let Some(file) = &self.file else { return Err(fields::missing("file")) };
        let Some(model) = self.text("model").filter(|model| !model.is_empty()) else {
            return Err(ApiError::invalid(
                StatusCode::BAD_REQUEST,
                "you must provide a model parameter",
            ));
        };
        let extension =
            file.name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        if !extension.is_some_and(|extension| FORMATS.contains(&extension.as_str())) {
            let formats = FORMATS.map(|format| format!("'{format}'")).join(", ");
            let message = format!("Invalid file format. Supported formats: [{formats}]");
            return Err(ApiError::invalid(StatusCode::BAD_REQUEST, message));
        }
        if file.size == 0 {
            let message = "Audio file is too short. Minimum audio length is 0.1 seconds.";
            return Err(ApiError::field("file", "audio_too_short", message.to_owned()));
        }
        let is_whisper = model == "whisper-1";
        let format = Format::read(self.text("response_format").unwrap_or("json"), is_whisper)?;
        let granularities = self.text("timestamp_granularities[]").unwrap_or("segment");
        Ok(Transcript {
            text: format!("This was said in {}, {} bytes of sound.", file.name, file.size),
            format,
            words: granularities.split(',').any(|granularity| granularity == "word"),
            // OpenAI passes over the wish where the model can't.
            stream: self.text("stream") == Some("true") && !is_whisper,
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).and_then(Value::as_str)
    }

    /// The fields as strings, and the file by its name, type and size.
    fn to_json(&self) -> Value {
        let mut json = self.texts.clone();
        if let Some(Audio { name, content_type, size }) = &self.file {
            let file = json!({ "filename": name, "content_type": content_type, "size": size });
            json.insert("file".to_owned(), file);
        }
        Value::Object(json)
    }
}

fn fault(_: MultipartError) -> ApiError {
    unreadable()
}

fn unreadable() -> ApiError {
    ApiError::invalid(StatusCode::BAD_REQUEST, "Could not parse multipart form")
}
