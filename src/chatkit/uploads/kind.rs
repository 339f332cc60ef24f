//! What is in a file? Its content decides whether it is an image; what somebody says of it counts
//! as far as it does no harm.

use infer::MatcherType;

use crate::error::{Error, Kind};
use crate::protocol::AttachmentKind;

/// So many bytes of a file are looked at.
pub(super) const HEAD: usize = 4096;

const UNKNOWN: &str = "application/octet-stream";
const PDF: &str = "application/pdf";
const SVG: &str = "image/svg+xml";
const LONGEST: usize = 127;

/// The media type of an image that browsers and models show, if it is one.
fn shown_image(media_type: &str) -> Option<&'static str> {
    ["image/png", "image/jpeg", "image/gif", "image/webp"]
        .into_iter()
        .find(|shown| *shown == media_type)
}

/// Whether a file of this media type is shown in its place. Every other is only ever saved.
#[must_use]
pub(super) fn is_shown(media_type: &str) -> bool {
    shown_image(media_type).is_some()
}

/// Whether a file of this media type is an image, as long as nobody has seen it.
#[must_use]
pub(super) fn announced(media_type: &str) -> AttachmentKind {
    if is_shown(media_type) {
        AttachmentKind::Image { preview_url: String::new() }
    } else {
        AttachmentKind::File
    }
}

/// What somebody says of a file: in lower case, without parameters. Nothing is said by an empty
/// text, and what is on no list of ours is passed over: browsers run some of it, or take it apart.
///
/// # Errors
/// 400 when it is no media type.
pub(super) fn declared(text: &str) -> Result<String, Error> {
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.is_empty() {
        return Ok(UNKNOWN.to_owned());
    }
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let is_type =
        essence.split_once('/').is_some_and(|(kind, name)| is_token(kind) && is_token(name));
    if !is_type || essence.len() > LONGEST {
        return Err(Error::invalid("`mime_type` must be a media type like `image/png`."));
    }
    Ok(if is_harmless(&essence) || essence == SVG { essence } else { UNKNOWN.to_owned() })
}

/// What no browser runs: sound, films, pictures, and these. A file of any other type is served as
/// one of none.
fn is_harmless(essence: &str) -> bool {
    const OFFICE: [&str; 3] = [
        "application/vnd.openxmlformats-officedocument.",
        "application/vnd.oasis.opendocument.",
        "application/vnd.ms-",
    ];
    match essence.split_once('/').unwrap_or_default() {
        ("audio" | "video", _) => true,
        ("image", name) => !name.ends_with("+xml"),
        ("text", name) => matches!(
            name,
            "plain" | "csv" | "markdown" | "tab-separated-values" | "calendar" | "vcard" | "rtf"
        ),
        ("application", name) => {
            let is_office =
                OFFICE.iter().any(|prefix| essence.starts_with(prefix)) && !name.ends_with("xml");
            let is_listed = matches!(
                name,
                "pdf"
                    | "json"
                    | "x-ndjson"
                    | "yaml"
                    | "toml"
                    | "sql"
                    | "rtf"
                    | "msword"
                    | "epub+zip"
                    | "zip"
                    | "gzip"
                    | "x-tar"
                    | "x-bzip2"
                    | "x-xz"
                    | "zstd"
                    | "x-7z-compressed"
                    | "vnd.rar"
            );
            is_office || is_listed
        }
        _ => false,
    }
}

/// The media type of a file that begins with these bytes, where `declared` is what was said of it.
///
/// # Errors
/// 415 for what is said to be an image and is none.
pub(super) fn of_content(head: &[u8], declared: &str) -> Result<String, Error> {
    let found = infer::get(head);
    let found_type = found.as_ref().map_or(UNKNOWN, infer::Type::mime_type);
    if let Some(image) = shown_image(found_type).filter(|image| begins_like(image, head)) {
        return Ok(image.to_owned());
    }
    if declared.starts_with("image/") && declared != SVG {
        let is_image = found.is_some_and(|found| found.matcher_type() == MatcherType::Image);
        if is_image && !is_shown(found_type) {
            return Ok(found_type.to_owned());
        }
        let message = "The file is said to be an image, and its content is none. Send an image, or \
                       send it as a file.";
        return Err(Error::new(Kind::UnsupportedMediaType, message));
    }
    let is_program = found.is_some_and(|found| found.matcher_type() == MatcherType::App);
    let says_nothing = matches!(declared, UNKNOWN | PDF | SVG);
    let decided =
        if found_type == PDF || is_program || says_nothing { found_type } else { declared };
    Ok(if is_harmless(decided) { decided } else { UNKNOWN }.to_owned())
}

/// The whole of the signature, of which `infer` reads the first bytes: a text may begin with `GIF`.
fn begins_like(image: &str, head: &[u8]) -> bool {
    match image {
        "image/png" => head.starts_with(b"\x89PNG\r\n\x1a\n"),
        "image/gif" => head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a"),
        "image/webp" => head.starts_with(b"RIFF"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";
    const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";

    #[test]
    fn an_image_is_one_by_its_content_whatever_is_said_of_it() {
        for (head, declared, expected) in [
            (PNG, "image/png", "image/png"),
            (PNG, UNKNOWN, "image/png"),
            (PNG, "text/plain", "image/png"),
            (PNG, PDF, "image/png"),
            (JPEG, "image/png", "image/jpeg"),
            (b"GIF89a....", "image/gif", "image/gif"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp", "image/webp"),
            (HEIC, "image/heic", "image/heif"),
        ] {
            assert_eq!(of_content(head, declared).unwrap(), expected, "{declared}");
        }
        assert!(!is_shown("image/heif"), "a file that is only ever saved");
    }

    #[test]
    fn what_is_said_to_be_an_image_and_is_none_is_refused() {
        for head in [
            &b"<html><script>alert(1)</script>"[..],
            b"GIF is a format",
            b"%PDF-1.7",
            b"",
            b"abcdefghWEBP",
        ] {
            for declared in ["image/png", "image/gif", "image/bmp"] {
                let refused = of_content(head, declared).unwrap_err();
                assert_eq!(refused.kind(), Kind::UnsupportedMediaType, "{declared}");
            }
        }
    }

    #[test]
    fn what_a_browser_would_run_is_a_file_of_no_type() {
        let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>";
        for said in [
            "image/svg+xml",
            "text/html",
            "Text/HTML; charset=utf-8",
            "application/xhtml+xml",
            "text/xml",
        ]
        .into_iter()
        .chain(["application/javascript", "text/javascript", "multipart/mixed", "message/rfc822"])
        .chain(["text/jscript", "text/livescript", "text/xsl", "text/vbscript", "text/css"])
        .chain(["application/hta", "application/wasm", "application/x-shockwave-flash", "x/y"])
        .chain([
            "application/vnd.mozilla.xul+xml",
            "application/vnd.ms-sync.wbxml",
            "font/woff2",
        ]) {
            let said = declared(said).unwrap();
            assert_eq!(of_content(svg, &said).unwrap(), UNKNOWN, "{said}");
        }
        assert_eq!(of_content(b"<!DOCTYPE html><p>", UNKNOWN).unwrap(), UNKNOWN);
    }

    #[test]
    fn what_is_said_of_a_file_counts_as_far_as_it_does_no_harm() {
        let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        for (head, said, expected) in [
            (&b"a,b\n1,2\n"[..], "text/csv", "text/csv"),
            (b"hello", "Text/Plain; charset=UTF-8", "text/plain"),
            (b"PK\x03\x04rest", docx, docx),
            (b"a", "application/vnd.ms-excel", "application/vnd.ms-excel"),
            (
                b"a",
                "application/vnd.oasis.opendocument.text",
                "application/vnd.oasis.opendocument.text",
            ),
            (b"# a", "text/markdown", "text/markdown"),
            (b"{}", "application/json", "application/json"),
            (b"a", "audio/mpeg", "audio/mpeg"),
            (b"a", "video/mp4", "video/mp4"),
            (b"PK\x03\x04rest", "", "application/zip"),
            (b"BM is a car", "text/plain", "text/plain"),
            (b"GIF is a format", "text/plain", "text/plain"),
            (b"%PDF-1.7", "application/pdf", PDF),
            (b"%PDF-1.7", "text/plain", PDF),
            (b"no pdf", "application/pdf", UNKNOWN),
            (b"hello", "", UNKNOWN),
            (b"", "text/plain", "text/plain"),
        ] {
            assert_eq!(of_content(head, &declared(said).unwrap()).unwrap(), expected, "{said}");
        }
        for bad in [
            "png",
            "image/",
            "/png",
            "image/png/x",
            "a b/c",
            "image/pn\u{e9}",
            &format!("a/{}", "b".repeat(200)),
        ] {
            assert_eq!(declared(bad).unwrap_err().kind(), Kind::InvalidRequest, "{bad}");
        }
    }
}
