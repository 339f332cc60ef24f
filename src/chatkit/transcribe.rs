//! What was said? `input.transcribe`: a recording comes in as base64 and goes to the model API, which writes it down.

use data_encoding::BASE64;
use serde::Serialize;

use crate::error::Error;
use crate::protocol::Transcribe;
use crate::upstream::Call;
use crate::upstream::model::{ModelClient, ModelEndpoint};
use crate::upstream::transcriptions::{AudioFormat, DEFAULT_MODEL};

/// What was said, as the wire has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Transcription {
    /// The words; none when nothing was said.
    pub text: String,
}

/// `input.transcribe`: turns a recording into text.
///
/// # Errors
/// 400 for a media type that browsers don't record, for what is no base64 and for nothing at all; and what the model API
/// makes of it.
pub async fn transcribe(
    client: &ModelClient,
    endpoint: &ModelEndpoint,
    params: &Transcribe,
    call: Call<'_>,
) -> Result<Transcription, Error> {
    let (audio, format) = recording(params)?;
    let text = client.transcribe(endpoint, DEFAULT_MODEL, audio.into(), format, call).await?;
    Ok(Transcription { text })
}

fn recording(params: &Transcribe) -> Result<(Vec<u8>, AudioFormat), Error> {
    let format = AudioFormat::of_media_type(&params.mime_type);
    let format = format.ok_or_else(|| {
        Error::invalid("`params.mime_type` must be `audio/webm`, `audio/mp4` or `audio/ogg`, with or without parameters.")
    })?;
    let audio = BASE64.decode(params.audio_base64.as_bytes());
    let audio =
        audio.map_err(|_| Error::invalid("`params.audio_base64` must be base64 with its padding."))?;
    if audio.is_empty() {
        return Err(Error::invalid("`params.audio_base64` must not be empty."));
    }
    Ok((audio, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mime_type: &str, audio_base64: &str) -> Result<(Vec<u8>, AudioFormat), Error> {
        let (mime_type, audio_base64) = (mime_type.to_owned(), audio_base64.to_owned());
        recording(&Transcribe { audio_base64, mime_type })
    }

    #[test]
    fn a_recording_is_one_of_three_types_in_base64_and_not_empty() {
        let (audio, format) = read("audio/webm;codecs=opus", "AAEC/w==").unwrap();
        assert_eq!((&audio[..], format), (&[0, 1, 2, 255][..], AudioFormat::Webm));
        assert_eq!(read("audio/mp4", "AA==").unwrap().1, AudioFormat::Mp4);
        assert_eq!(read("audio/ogg; codecs=opus", "AA==").unwrap().1, AudioFormat::Ogg);
        for (mime_type, audio, field) in [
            ("audio/wav", "AA==", "mime_type"),
            ("", "AA==", "mime_type"),
            ("audio/webm", "no base64!", "audio_base64"),
            ("audio/webm", "AA", "audio_base64"),
            ("audio/webm", "_-8=", "audio_base64"),
            ("audio/webm", "", "audio_base64"),
        ] {
            let error = read(mime_type, audio).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::InvalidRequest, "{mime_type} {audio}");
            assert!(format!("{error:?}").contains(field), "{error:?}");
        }
    }
}
