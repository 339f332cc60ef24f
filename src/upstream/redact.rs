//! What of words from outside may a log hold? One short line, in which nothing looks like a key or
//! a secret.

use std::borrow::Cow;

const REDACTED: &str = "[redacted]";
/// How keys, client secrets, service tokens and JWTs begin, in lower case.
const SECRET_MARKS: [&str; 6] = ["sk-", "ek_", "cks_", "sess-", "pk_", "eyj"];
/// Ids and addresses that help the reader; any other word this long may be a secret of a kind not
/// known yet.
const HARMLESS_STARTS: [&str; 7] = ["wf_", "cksess_", "cthr_", "req_", "org-", "proj_", "http"];
const LONG: usize = 40;
/// More than this of a path helps no reader.
const PATH_CAP: usize = 200;

/// A quoted text of more characters than this is prose: a part of the request that is told back,
/// not a name.
const LONGEST_QUOTE: usize = 40;

/// Makes text from outside fit for a log: control characters become spaces, what looks like a
/// secret, is `own_key` or is prose in quotes is replaced, and at most `cap` characters remain.
pub(super) fn sanitise(text: &str, own_key: &str, cap: usize) -> Box<str> {
    let text = if own_key.is_empty() { text.to_owned() } else { text.replace(own_key, REDACTED) };
    let text = without_prose(&text.replace(char::is_control, " "));
    let mut line = String::with_capacity(text.len().min(4 * cap));
    let mut after_bearer = false;
    for piece in text.split_inclusive(is_boundary) {
        let word = piece.trim_end_matches(is_boundary);
        let is_secret = !word.is_empty() && (after_bearer || looks_secret(word));
        if !word.is_empty() {
            after_bearer = word.trim_end_matches(':').eq_ignore_ascii_case("bearer");
        }
        line.push_str(if is_secret { REDACTED } else { word });
        line.push_str(&piece[word.len()..]);
    }
    match line.char_indices().nth(cap) {
        Some((end, _)) => format!("{}…", &line[..end]).into(),
        None => line.into(),
    }
}

/// The text with what is quoted in it taken out where that is prose: several words, and more than a
/// name has. Servers tell back what they refuse, and that may be an agent's instructions or
/// somebody's message.
fn without_prose(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\'', '`']) {
        let (before, quoted) = rest.split_at(at);
        let (quote, inner) = quoted.split_at(1);
        line.push_str(before);
        line.push_str(quote);
        rest = inner;
        // An apostrophe within a word opens nothing.
        if before.ends_with(char::is_alphanumeric) {
            continue;
        }
        let closes = |at: &usize| !inner[at + 1..].starts_with(char::is_alphanumeric);
        let end = inner.match_indices(quote).map(|(at, _)| at).find(closes).unwrap_or(inner.len());
        let (quoted, after) = inner.split_at(end);
        let is_prose = quoted.chars().nth(LONGEST_QUOTE).is_some() && quoted.trim().contains(' ');
        line.push_str(if is_prose { "…" } else { quoted });
        let close = after.len().min(1);
        line.push_str(&after[..close]);
        rest = &after[close..];
    }
    line.push_str(rest);
    line
}

/// Whether a word may be a key, a secret or a token.
pub(super) fn looks_secret(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    SECRET_MARKS.iter().any(|mark| lower.contains(mark))
        || (word.len() >= LONG && !HARMLESS_STARTS.iter().any(|start| lower.starts_with(start)))
}

/// Whether an id that a caller chose is a key, a client secret, a service token or a JWT, by how it
/// begins: put into the wrong header it would stand in every log on the way.
#[must_use]
pub fn is_credential(id: &str) -> bool {
    const STARTS: [&str; 4] = ["sk-", "ek_", "cks_", "eyJ"];
    STARTS.iter().any(|start| id.starts_with(start))
}

/// A request's path as a log may hold it: parts that look like a secret are replaced, and at most
/// 200 characters remain. A path with nothing to hide is returned as it is.
#[must_use]
pub fn path_for_log(path: &str) -> Cow<'_, str> {
    let path = if path.split('/').any(hides_secret) {
        let parts = path.split('/').map(|part| if hides_secret(part) { REDACTED } else { part });
        Cow::Owned(parts.collect::<Vec<_>>().join("/"))
    } else {
        Cow::Borrowed(path)
    };
    match path.char_indices().nth(PATH_CAP) {
        // One character is for the dots.
        Some(_) => path.chars().take(PATH_CAP - 1).chain(['…']).collect::<String>().into(),
        None => path,
    }
}

/// Whether a part of a path may hold a secret, as it stands or without its percent-encoding.
fn hides_secret(part: &str) -> bool {
    names_secret(part.as_bytes()) || (part.contains('%') && names_secret(&decoded(part)))
}

/// Like [`looks_secret`], but a mark counts only where a word begins: `/task-list` and `/week_1`
/// are no secrets. It allocates nothing, because every request comes by here.
fn names_secret(part: &[u8]) -> bool {
    let is_at = |at: usize, text: &str| {
        part.get(at..at + text.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(text.as_bytes()))
    };
    let begins = |at: usize| at == 0 || !part[at - 1].is_ascii_alphanumeric();
    let is_marked = |at: usize| begins(at) && SECRET_MARKS.iter().any(|mark| is_at(at, mark));
    (0..part.len()).any(is_marked)
        || (part.len() >= LONG && !HARMLESS_STARTS.iter().any(|start| is_at(0, start)))
}

/// The part without its percent-encoding.
fn decoded(part: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes
}

fn is_boundary(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '<' | '>' | '{' | '}' | '[' | ']' | '|'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whatever_looks_like_a_secret_is_replaced() {
        for (text, expected) in [
            (
                "Incorrect API key provided: sk-proj-****abcd. See",
                "Incorrect API key provided: [redacted] See",
            ),
            (r#"{"client_secret":"ek_68a1/b+c="}"#, r#"{"client_secret":"[redacted]"}"#),
            ("Authorization: Bearer  topsecret now", "Authorization: Bearer  [redacted] now"),
            ("bearer: 'topsecret'", "bearer: '[redacted]'"),
            ("token cks_abc, then", "token [redacted], then"),
            ("line\nsk-a\\nsk-b", "line [redacted]"),
            ("the key my-own-key!", "the key [redacted]!"),
            ("https://x.example/?key=sk-abc", "[redacted]"),
        ] {
            let own = if text.contains("my-own-key") { "my-own-key" } else { "" };
            let line = sanitise(text, own, 200).replace("[[redacted]]", REDACTED);
            assert_eq!(line, expected, "{text}");
        }
    }

    #[test]
    fn what_a_server_tells_back_of_a_request_is_taken_out_and_names_are_kept() {
        let told = "You help the customers of a bakery, and never speak of its prices.";
        for (text, expected) in [
            (
                format!("Invalid 'instructions': \"{told}\" is too long"),
                "Invalid 'instructions': \"…\" is too long",
            ),
            (
                format!("got {{'content': '{told}'}}, want a list"),
                "got {'content': '…'}, want a list",
            ),
            (format!("It's `{told}` that can't be read"), "It's `…` that can't be read"),
            (format!("input \"{told}"), "input \"…"),
            (
                "The model `gpt-5.1 mini` can't do 'json_schema'".to_owned(),
                "The model `gpt-5.1 mini` can't do 'json_schema'",
            ),
            (
                "it can't be that you don't have access to it, isn't it".to_owned(),
                "it can't be that you don't have access to it, isn't it",
            ),
        ] {
            assert_eq!(&*sanitise(&text, "", 200), expected, "{text}");
        }
    }

    #[test]
    fn ids_that_help_are_kept() {
        let id = format!("Workflow with id 'wf_{}' not found.", "a1".repeat(32));
        assert_eq!(&*sanitise(&id, "sk-own", 200), id);
        let opaque = format!("secret {} here", "q".repeat(LONG));
        assert_eq!(&*sanitise(&opaque, "sk-own", 200), "secret [redacted] here");
    }

    #[test]
    fn a_path_for_the_log_shows_no_secret() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
        let opaque = "q".repeat(LONG);
        for part in [
            "ek_canary",
            "EK_canary",
            "%65k_canary",
            "ek%5Fcanary",
            "sk-proj-1",
            "x=cks_abc",
            "%zz%ek_1",
            "%+ek_1",
            jwt,
            &opaque,
        ] {
            assert_eq!(path_for_log(&format!("/{part}")), "/[redacted]", "{part}");
            assert_eq!(path_for_log(&format!("/a/{part}/b/")), "/a/[redacted]/b/", "{part}");
        }
    }

    #[test]
    fn a_normal_path_is_logged_as_it_is_and_a_long_one_is_cut() {
        for path in [
            "",
            "/",
            "/api/chatkit/session",
            "/api/chatkit/assets/ck1/index-aB1_x.js",
            "/task-list/week_1/desk-top",
            "//a/../b%20c/%",
            "/cksess_1/é",
        ] {
            assert!(matches!(path_for_log(path), Cow::Borrowed(same) if same == path), "{path}");
        }
        let fits = "/é".repeat(PATH_CAP / 2);
        assert_eq!(path_for_log(&fits), fits);
        let long = path_for_log(&format!("/é{fits}")).into_owned();
        assert_eq!(long.chars().count(), PATH_CAP);
        assert!(long.starts_with("/é/é") && long.ends_with("é/…"), "{long}");
        let late = format!("{}/ek_canary", "/abc".repeat(48));
        assert!(!path_for_log(&late).contains("ek_"), "what is cut is redacted before");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(&*sanitise(&"é ".repeat(50), "", 5), "é é é…");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_secret_come_through(before in ".{0,60}", after in ".{0,60}", secret in "(sk-|ek_|cks_)[A-Za-z0-9]{8,40}") {
            let line = sanitise(&format!("{before}{secret}{after}"), "", 400);
            prop_assert!(!line.contains(&secret), "{line}");
            prop_assert!(!line.chars().any(char::is_control));
        }

        #[test]
        fn no_path_makes_a_secret_come_through(before in "(/[a-z%]{0,9}){0,9}/", after in "(/.{0,9}){0,9}", secret in "(sk-|ek_|cks_|eyJ)[A-Za-z0-9]{8,40}") {
            let path = format!("{before}{secret}{after}");
            let logged = path_for_log(&path);
            prop_assert!(!logged.contains(&secret), "{logged}");
            prop_assert!(logged.chars().count() <= PATH_CAP);
        }

        #[test]
        fn the_own_key_never_comes_through(before in ".{0,60}", after in ".{0,60}", key in "[!-~]{12,40}") {
            let line = sanitise(&format!("{before}{key}{after}"), &key, 400);
            prop_assert!(!line.contains(&key), "{line}");
        }
    }
}
