//! What was said? `input.transcribe`: a recording comes in as base64 and goes to the model API,
//! which writes it down. It is in memory once: the bytes of its sound take the place of its text.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use serde::Serialize;

use super::recordings::{Place, Recordings};
use crate::error::{Error, Kind};
use crate::extract::Longer;
use crate::protocol::Transcribe;
use crate::upstream::Call;
use crate::upstream::model::{ModelClient, ModelEndpoint};
use crate::upstream::transcriptions::{AudioFormat, MOST_AUDIO};

/// Who turns speech into text.
#[expect(missing_debug_implementations, reason = "the endpoint holds a key")]
pub struct Speech {
    /// The way to models.
    pub models: Arc<ModelClient>,
    /// The server with the model.
    pub endpoint: ModelEndpoint,
    /// The model's name.
    pub model: String,
    /// How long it may take.
    pub timeout: Duration,
    /// Who dictates, and what of it is in memory.
    pub recordings: Recordings,
}

/// What was said, as the wire has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Transcription {
    /// The words; none when nothing was said.
    pub text: String,
}

/// The refusal of dictation where it is off.
#[must_use]
pub fn no_dictation() -> Error {
    Error::new(Kind::NotFound, "This service takes no dictation.")
}

impl Speech {
    /// `input.transcribe`: turns a recording into text.
    ///
    /// # Errors
    /// 400 for a media type that browsers don't record, for what is no base64, for nothing at all
    /// and for more than the model API takes; 429 while another recording of this user is under
    /// way; and what the model API makes of it.
    pub async fn transcribe(
        &self,
        speaker: &Place,
        params: Transcribe,
        call: Call<'_>,
    ) -> Result<Transcription, Error> {
        let _seat = self.recordings.seat(speaker)?;
        self.write_down(recording(params)?, call).await
    }

    /// The same for one that is too large for other requests: it waits for room in memory before it
    /// is read. `None` when it is another request.
    ///
    /// # Errors
    /// As for [`transcribe`](Self::transcribe), for [`Longer::read`], and 503 when there is no
    /// room.
    pub async fn transcribe_long(
        &self,
        speaker: &Place,
        body: Longer,
        call: Call<'_>,
    ) -> Result<Option<Transcription>, Error> {
        let mut seat = self.recordings.long_seat(speaker, body.at_most()).await?;
        let body = body.read().await?;
        // Megabytes take a while, and nobody else shall wait for that. The room is held until the
        // work is done, also if nobody waits for its end any more.
        let work = move || {
            let recording = Transcribe::take(body)
                .map_err(Error::from)
                .and_then(|params| params.map(recording).transpose());
            if let Ok(Some(recording)) = &recording {
                seat.shrink(recording.audio.len());
            }
            (seat, recording)
        };
        let (_seat, recording) =
            tokio::task::spawn_blocking(work).await.map_err(Error::internal)?;
        let Some(recording) = recording? else { return Ok(None) };
        self.write_down(recording, call).await.map(Some)
    }

    async fn write_down(
        &self,
        recording: Recording,
        call: Call<'_>,
    ) -> Result<Transcription, Error> {
        let Recording { audio, format } = recording;
        let text =
            self.models.transcribe(&self.endpoint, &self.model, audio.into(), format, call).await?;
        Ok(Transcription { text })
    }
}

/// A recording as the model API takes it.
#[derive(Debug)]
struct Recording {
    audio: Vec<u8>,
    format: AudioFormat,
}

fn recording(params: Transcribe) -> Result<Recording, Error> {
    let format = AudioFormat::of_media_type(&params.mime_type);
    let format = format.ok_or_else(|| {
        Error::invalid(
            "`params.mime_type` must be `audio/webm`, `audio/mp4` or `audio/ogg`, with \
                        or without parameters.",
        )
    })?;
    let too_long = || {
        Error::invalid(
            "`params.audio_base64` must hold at most 25 MiB of sound. Record less at once.",
        )
    };
    if params.audio_base64.len() / 4 * 3 > MOST_AUDIO + 2 {
        return Err(too_long());
    }
    let audio = decoded(params.audio_base64.into_bytes());
    let audio = audio
        .ok_or_else(|| Error::invalid("`params.audio_base64` must be base64 with its padding."))?;
    if audio.is_empty() {
        return Err(Error::invalid("`params.audio_base64` must not be empty."));
    }
    if audio.len() > MOST_AUDIO {
        return Err(Error::invalid(
            "`params.audio_base64` must hold at most 25 MiB of sound. Record less at once.",
        ));
    }
    Ok(Recording { audio, format })
}

/// The bytes that base64 stands for, in its place. `None` when it is none.
fn decoded(mut text: Vec<u8>) -> Option<Vec<u8>> {
    let mut piece = [0; 3072];
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let end = text.len().min(from + 4096);
        let room = piece.get_mut(..BASE64.decode_len(end - from).ok()?)?;
        let length = BASE64.decode_mut(&text[from..end], room).ok()?;
        text[to..to + length].copy_from_slice(&room[..length]);
        (from, to) = (end, to + length);
    }
    text.truncate(to);
    text.shrink_to_fit();
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mime_type: &str, audio_base64: &str) -> Result<Recording, Error> {
        let (mime_type, audio_base64) = (mime_type.to_owned(), audio_base64.to_owned());
        recording(Transcribe { audio_base64, mime_type })
    }

    #[test]
    fn a_recording_is_one_of_three_types_in_base64_and_not_empty() {
        let Recording { audio, format } = read("audio/webm;codecs=opus", "AAEC/w==").unwrap();
        assert_eq!((&audio[..], format), (&[0, 1, 2, 255][..], AudioFormat::Webm));
        assert_eq!(read("audio/mp4", "AA==").unwrap().format, AudioFormat::Mp4);
        assert_eq!(read("audio/ogg; codecs=opus", "AA==").unwrap().format, AudioFormat::Ogg);
        for (mime_type, audio, field) in [
            ("audio/wav", "AA==", "mime_type"),
            ("", "AA==", "mime_type"),
            ("audio/webm", "no base64!", "audio_base64"),
            ("audio/webm", "AA", "audio_base64"),
            ("audio/webm", "_-8=", "audio_base64"),
            ("audio/webm", "", "audio_base64"),
        ] {
            let error = read(mime_type, audio).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidRequest, "{mime_type} {audio}");
            assert!(format!("{error:?}").contains(field), "{error:?}");
        }
    }

    #[test]
    fn base64_of_any_length_is_decoded_in_its_place() {
        for length in [1, 2, 3, 3071, 3072, 3073, 6144, 10_000] {
            let bytes: Vec<u8> = (0..length).map(|number: usize| number.to_le_bytes()[0]).collect();
            assert_eq!(
                decoded(BASE64.encode(&bytes).into_bytes()).as_ref(),
                Some(&bytes),
                "{length}"
            );
            let mut broken = BASE64.encode(&bytes).into_bytes();
            if let Some(last) = broken.last_mut() {
                *last = b'!';
            }
            assert_eq!(decoded(broken), None, "{length}");
        }
    }
}
