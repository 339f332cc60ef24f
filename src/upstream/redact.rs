//! What of OpenAI's words may a log hold? One short line, in which nothing looks like a key or a secret.

const REDACTED: &str = "[redacted]";
/// How keys, client secrets, service tokens and JWTs begin, in lower case.
const SECRET_MARKS: [&str; 6] = ["sk-", "ek_", "cks_", "sess-", "pk_", "eyj"];
/// Ids and addresses that help the reader; any other word this long may be a secret of a kind not known yet.
const HARMLESS_STARTS: [&str; 7] = ["wf_", "cksess_", "cthr_", "req_", "org-", "proj_", "http"];
const LONG: usize = 40;

/// Makes text from outside fit for a log: control characters become spaces, what looks like a secret or is `own_key`
/// is replaced, and at most `cap` characters remain.
pub(super) fn sanitise(text: &str, own_key: &str, cap: usize) -> Box<str> {
    let text = if own_key.is_empty() { text.to_owned() } else { text.replace(own_key, REDACTED) };
    let text = text.replace(char::is_control, " ");
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

/// Whether a word may be a key, a secret or a token.
pub(super) fn looks_secret(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    SECRET_MARKS.iter().any(|mark| lower.contains(mark))
        || (word.len() >= LONG && !HARMLESS_STARTS.iter().any(|start| lower.starts_with(start)))
}

fn is_boundary(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '<' | '>' | '{' | '}' | '[' | ']' | '|')
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
    fn ids_that_help_are_kept() {
        let id = format!("Workflow with id 'wf_{}' not found.", "a1".repeat(32));
        assert_eq!(&*sanitise(&id, "sk-own", 200), id);
        let opaque = format!("secret {} here", "q".repeat(LONG));
        assert_eq!(&*sanitise(&opaque, "sk-own", 200), "secret [redacted] here");
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
        fn the_own_key_never_comes_through(before in ".{0,60}", after in ".{0,60}", key in "[!-~]{12,40}") {
            let line = sanitise(&format!("{before}{key}{after}"), &key, 400);
            prop_assert!(!line.contains(&key), "{line}");
        }
    }
}
