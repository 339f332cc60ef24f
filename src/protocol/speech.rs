//! How is a long recording read? In the memory of the body that brings it: nothing of it is there
//! twice.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::{Envelope, SPEECH, read};
use super::{BadRequest, Transcribe};

/// What a body with a long recording may have besides it, in bytes.
const MOST_BESIDES: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow)]
    audio_base64: Option<&'a RawValue>,
}

impl Transcribe {
    /// Reads a body that is too large for every other request. The text of the recording takes the
    /// place of the body. `None` when the body is no `input.transcribe` by its type, wherever in
    /// the object that stands, or when its length is not the recording's.
    ///
    /// # Errors
    /// When a field is missing or of the wrong kind: the text names it.
    pub fn take(mut body: Vec<u8>) -> Result<Option<Self>, BadRequest> {
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let envelope = serde_json::from_slice::<Envelope<'_>>(&body).ok().filter(|_| is_object);
        let Some(envelope) = envelope.filter(|envelope| envelope.is_of(SPEECH)) else {
            return Ok(None);
        };
        let params = envelope.params.map(RawValue::get);
        let text = read::<Spoken<'_>>(params)?.audio_base64.map_or("", RawValue::get);
        if body.len() - text.len() > MOST_BESIDES {
            return Ok(None);
        }
        let bad = |what: &str| BadRequest::Field(format!("`params.audio_base64`: {what}."));
        let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let inside = inside.ok_or_else(|| bad("it must be a string"))?;
        // Besides the recording there is little: that may be copied.
        let mime_type = read::<Described>(params)?.mime_type;
        let start = inside.as_ptr() as usize - body.as_ptr() as usize;
        let range = start..start + inside.len();
        body.copy_within(range.clone(), 0);
        body.truncate(range.len());
        unescape(&mut body).ok_or_else(|| bad("it must be base64"))?;
        let audio_base64 = String::from_utf8(body).map_err(|_| bad("it must be base64"))?;
        Ok(Some(Self { audio_base64, mime_type }))
    }
}

#[derive(Deserialize)]
struct Described {
    mime_type: String,
}

/// Takes the escapes of JSON out of a text, in its place. `None` for one that base64 has no use
/// for: `\n`, say.
fn unescape(text: &mut Vec<u8>) -> Option<()> {
    let Some(first) = text.iter().position(|byte| *byte == b'\\') else { return Some(()) };
    let (mut from, mut to) = (first, first);
    while let Some(byte) = text.get(from).copied() {
        let (plain, length) = match (byte, text.get(from + 1)) {
            (b'\\', Some(b'/')) => (b'/', 2),
            (b'\\', Some(b'u')) => {
                let digits = std::str::from_utf8(text.get(from + 2..from + 6)?).ok()?;
                (u8::from_str_radix(digits, 16).ok()?, 6)
            }
            (b'\\', _) => return None,
            _ => (byte, 1),
        };
        text[to] = plain;
        (from, to) = (from + length, to + 1);
    }
    text.truncate(to);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(body: &str) -> Result<Option<(String, String)>, String> {
        let taken = Transcribe::take(body.as_bytes().to_vec());
        let parts = |taken: Transcribe| (taken.audio_base64, taken.mime_type);
        taken.map(|taken| taken.map(parts)).map_err(|error| error.to_string())
    }

    fn speech(audio: &str) -> String {
        format!(
            r#"{{"params":{{"x":1,"audio_base64":{audio},"mime_type":"audio/ogg"}},"type":"input.transcribe"}}"#
        )
    }

    #[test]
    fn a_recording_is_what_its_json_says() {
        for (written, read) in [
            (r#""AA+/""#, "AA+/"),
            (r#""\/AA\/\/+""#, "/AA//+"),
            (r#""\u0041\u002B\/A==""#, "A+/A=="),
            (r#""""#, ""),
        ] {
            let expected = Ok(Some((read.to_owned(), "audio/ogg".to_owned())));
            assert_eq!(take(&speech(written)), expected, "{written}");
        }
        for bad in [r#""A\nA""#, r#""\u00e4""#, r#""\u4141""#, r#""\"A""#, "5", "null", "[]"] {
            let error = take(&speech(bad)).expect_err(bad);
            assert!(error.starts_with("`params.audio_base64`: it must be"), "{bad}: {error}");
        }
    }

    #[test]
    fn what_is_no_recording_is_nothing_and_what_lacks_a_field_says_so() {
        let large = format!(r#","y":"{}","#, "x".repeat(MOST_BESIDES));
        for other in [
            "{",
            "[]",
            r#"["input.transcribe",{}]"#,
            r#"{"type":"threads.create","params":{}}"#,
            r#"{"type":"input.transcribe","type":"input.transcribe","params":{}}"#,
            &speech(r#""AA==""#).replacen("\"x\":1,", &large[1..], 1),
            &speech(r#""AA==""#).replacen("audio/ogg", &large[6..large.len() - 2], 1),
        ] {
            assert_eq!(take(other), Ok(None), "{}", &other[..other.len().min(100)]);
        }
        let nothing = take(r#"{"type":"input.transcribe"}"#);
        assert_eq!(nothing, Err("`params` must be an object.".to_owned()));
        let half = take(r#"{"type":"input.transcribe","params":{"audio_base64":"AA=="}}"#);
        assert_eq!(half, Err("`params`: missing field `mime_type`.".to_owned()));
        let half = take(r#"{"type":"input.transcribe","params":{"mime_type":"audio/ogg"}}"#);
        assert_eq!(half, Err("`params.audio_base64`: it must be a string.".to_owned()));
    }
}
