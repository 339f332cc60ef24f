//! What was said in a recording? `POST {base}/audio/transcriptions`, as OpenAI's API reference
//! describes it.

use bytes::Bytes;
use reqwest::Body;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use url::Url;

use super::error::{Defect, Error};
use super::http::below;
use super::link::{Call, Failure};
use super::model::{ModelClient, ModelEndpoint, endpoint_headers};
use crate::config::env::Secret;
use crate::protocol::objects;

/// The most bytes of sound: what OpenAI's refusals name, and its API reference calls 25 MB.
pub const MOST_AUDIO: usize = 26_214_400;

/// What kind of recording it is: the three that browsers make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioFormat {
    /// `audio/webm`.
    Webm,
    /// `audio/mp4`, of older Safari.
    Mp4,
    /// `audio/ogg`.
    Ogg,
}

impl AudioFormat {
    /// The format of a media type, with or without parameters (`audio/webm;codecs=opus`).
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let base = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match base.as_str() {
            "audio/webm" => Some(Self::Webm),
            "audio/mp4" => Some(Self::Mp4),
            "audio/ogg" => Some(Self::Ogg),
            _ => None,
        }
    }

    /// A name of a file, by whose extension the API knows the format, and its media type.
    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Webm => ("audio.webm", "audio/webm"),
            Self::Mp4 => ("audio.m4a", "audio/mp4"),
            Self::Ogg => ("audio.ogg", "audio/ogg"),
        }
    }
}

impl ModelClient {
    /// Turns a recording of at most [`MOST_AUDIO`] bytes into text, which is empty when nothing was
    /// said.
    ///
    /// # Errors
    /// When no text came before the call's deadline.
    pub async fn transcribe(
        &self,
        endpoint: &ModelEndpoint,
        model: &str,
        audio: Bytes,
        format: AudioFormat,
        call: Call<'_>,
    ) -> Result<String, Error> {
        const OPERATION: &str = "transcribe";
        let url = below(&endpoint.base_url, "audio/transcriptions");
        let answer = async {
            let mut tries = self.link.tries(OPERATION, call);
            loop {
                match self
                    .attempt_transcription(endpoint, &url, form(model, &audio, format), call)
                    .await
                {
                    Ok(body) => return text_of(&body),
                    Err(failure) => tries.again(failure).await?,
                }
            }
        };
        self.link.measured(OPERATION, answer).await
    }

    async fn attempt_transcription(
        &self,
        endpoint: &ModelEndpoint,
        url: &Url,
        form: Form,
        call: Call<'_>,
    ) -> Result<Bytes, Failure> {
        let headers = endpoint_headers(endpoint).map_err(Failure::final_one)?;
        let request = self.link.http.post(url.clone()).headers(headers).multipart(form).build();
        let request = request.map_err(Failure::of_connection)?;
        let own_key = endpoint.api_key.as_ref().map_or("", Secret::expose);
        let response = self.link.send(request, call, own_key).await?;
        self.link.body(response, call).await
    }
}

fn form(model: &str, audio: &Bytes, format: AudioFormat) -> Form {
    let (name, kind) = format.file();
    let length = u64::try_from(audio.len()).unwrap_or(u64::MAX);
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let file = Part::stream_with_length(Body::from(audio.clone()), length)
        .file_name(name)
        .headers(headers);
    Form::new().text("model", model.to_owned()).part("file", file)
}

fn text_of(body: &[u8]) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Answer {
        text: Option<String>,
    }
    let answer: Answer = objects::from_slice(body).map_err(|_| Error::Invalid(Defect::NotJson))?;
    answer.text.ok_or(Error::Invalid(Defect::NoText))
}
