//! What does a transcript look like? Each of its formats, and its stream.

use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::error::ApiError;
use super::live::{self, Delivery, Grain, Wire};
use super::tally::Open;

/// What was said, and how it is to be told.
#[derive(Debug)]
pub(super) struct Transcript {
    pub(super) text: String,
    pub(super) format: Format,
    /// Whether a verbose transcript has the time of each word.
    pub(super) words: bool,
    pub(super) stream: bool,
}

/// The form of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Text,
    Verbose,
    Srt,
    Vtt,
}

impl Format {
    /// The format of this name. Only whisper knows when each thing was said.
    pub(super) fn read(name: &str, is_whisper: bool) -> Result<Self, ApiError> {
        match (name, is_whisper) {
            ("json", _) => Ok(Self::Json),
            ("text", _) => Ok(Self::Text),
            ("verbose_json", true) => Ok(Self::Verbose),
            ("srt", true) => Ok(Self::Srt),
            ("vtt", true) => Ok(Self::Vtt),
            (other, _) => {
                let message = format!(
                    "response_format '{other}' is not compatible with this model. Use 'json' or \
                     'text' instead."
                );
                Err(ApiError::field("response_format", "unsupported_value", message))
            }
        }
    }
}

impl Transcript {
    /// The transcript in its format, or word by word.
    pub(super) fn answer(self, open: Open) -> Response {
        if self.stream {
            return live::stream(self, Delivery { delay: Duration::ZERO, cut: false, open });
        }
        let text = &self.text;
        match self.format {
            Format::Json => json_answer(&json!({ "text": text, "usage": usage() })),
            Format::Verbose => json_answer(&self.verbose()),
            Format::Text => self.text.into_response(),
            Format::Srt => format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n").into_response(),
            Format::Vtt => {
                format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n\n").into_response()
            }
        }
    }

    /// All of it is said in one second, as one segment.
    fn verbose(&self) -> Value {
        let segment = json!({
            "id": 0, "seek": 0, "start": 0.0, "end": 1.0, "text": self.text, "tokens": [50364], "temperature": 0.0,
            "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0,
        });
        let mut verbose = json!({
            "task": "transcribe", "language": "english", "duration": 1.0, "text": self.text, "segments": [segment],
            "usage": usage(),
        });
        if self.words {
            let words =
                self.text.split(' ').map(|word| json!({ "word": word, "start": 0.0, "end": 1.0 }));
            verbose["words"] = words.collect();
        }
        verbose
    }
}

fn usage() -> Value {
    json!({ "type": "duration", "seconds": 1 })
}

fn json_answer(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// A step of the stream.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beat {
    Words,
    Done,
}

impl Wire for Transcript {
    type Beat = Beat;

    fn plan(&self) -> Vec<Beat> {
        vec![Beat::Words, Beat::Done]
    }

    fn text(&self, beat: Beat) -> Option<(&str, Grain)> {
        match beat {
            Beat::Words => Some((&self.text, Grain::Words)),
            Beat::Done => None,
        }
    }

    fn write(&self, beat: Beat, piece: &str, _number: u64) -> Bytes {
        let words = self.text.split(' ').count();
        let event = match beat {
            Beat::Words => json!({ "type": "transcript.text.delta", "delta": piece }),
            Beat::Done => json!({
                "type": "transcript.text.done", "text": self.text,
                "usage": {
                    "type": "tokens", "input_tokens": 10, "output_tokens": words, "total_tokens": words + 10,
                    "input_token_details": { "text_tokens": 0, "audio_tokens": 10 },
                },
            }),
        };
        live::event(None, &event)
    }
}
