//! How may a file be called? As the person called it, less what could lead elsewhere or deceive.

use std::fmt::Write as _;

/// What file systems allow.
const LONGEST: usize = 255;
/// What stands behind the last dot is an extension up to this length.
const LONGEST_EXTENSION: usize = 32;

/// The name without a path, control characters and marks that turn the direction of text; at most
/// 255 bytes, of which the extension is the last to go. Nothing left is `file`.
#[must_use]
pub(super) fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String =
        last.chars().filter(|letter| !letter.is_control() && !turns_text(*letter)).collect();
    let plain = plain.trim().trim_end_matches(['.', ' ']);
    if plain.is_empty() { "file".to_owned() } else { shortened(plain) }
}

/// `U+202E` makes `gnp.exe` read `exe.png`.
fn turns_text(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn shortened(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|dot| name.len() - dot <= LONGEST_EXTENSION);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let stem = &stem[..stem.floor_char_boundary(LONGEST - extension.len())];
    format!("{stem}{extension}")
}

/// `Content-Disposition` with a name (RFC 6266): in ASCII for everybody, and whole for those who
/// read RFC 8187.
#[must_use]
pub(super) fn disposition(kind: &str, name: &str) -> String {
    let plain = |letter: char| {
        letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '%') || letter == ' '
    };
    let ascii: String =
        name.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
    let mut text = format!("{kind}; filename=\"{ascii}\"");
    if ascii != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_has_no_path_no_control_characters_and_is_never_empty() {
        for (given, cleaned) in [
            ("dot.png", "dot.png"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ada\\a b.pdf", "a b.pdf"),
            ("a\0b\r\nc\u{85}.txt", "abc.txt"),
            ("photo\u{202e}gnp.exe", "photognp.exe"),
            ("Grüße 👋.txt", "Grüße 👋.txt"),
            (" .env ", ".env"),
            ("", "file"),
            ("/", "file"),
            ("..", "file"),
            ("\u{7}", "file"),
        ] {
            assert_eq!(clean(given), cleaned, "{given:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        assert_eq!(
            clean(&format!("{}.jpeg", "a".repeat(300))),
            format!("{}.jpeg", "a".repeat(250))
        );
        assert_eq!(clean(&format!("{}.png", "é".repeat(300))), format!("{}.png", "é".repeat(125)));
        assert_eq!(clean(&format!("a.{}", "b".repeat(300))).len(), 255, "that is no extension");
    }

    #[test]
    fn a_disposition_says_the_name_in_ascii_and_whole() {
        assert_eq!(disposition("inline", "a b.png"), "inline; filename=\"a b.png\"");
        assert_eq!(
            disposition("attachment", "Grüße\".txt"),
            "attachment; filename=\"Gr__e_.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%22.txt"
        );
        assert_eq!(
            disposition("attachment", "100%.txt"),
            "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"
        );
    }

    proptest! {
        #[test]
        fn every_name_fits_a_header_and_a_folder(name in ".{0,400}") {
            let name = clean(&name);
            prop_assert!((1..=255).contains(&name.len()));
            prop_assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control));
            prop_assert_eq!(&clean(&name), &name, "cleaning again changes nothing");
            let text = disposition("attachment", &name);
            prop_assert!(axum::http::HeaderValue::try_from(text.as_str()).is_ok());
            prop_assert!(text.is_ascii());
        }
    }
}
