//! Which words in the last user message does the scripted model act on? The table is in the
//! documentation of the module above.

use std::time::Duration;

use axum::http::StatusCode;

/// What the user's words ask for. They may be combined: `think long cut`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cues {
    pub(super) long: bool,
    pub(super) think: bool,
    pub(super) search: bool,
    pub(super) cite: bool,
    pub(super) image: bool,
    pub(super) refuse: bool,
    pub(super) tool: Calls,
    pub(super) end: Option<Break>,
    pub(super) untitled: bool,
    pub(super) error: Option<StatusCode>,
    pub(super) delay: Option<Duration>,
    pub(super) deltas: Option<usize>,
}

/// How many functions are to be called.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    #[default]
    None,
    One,
    All,
}

/// What keeps an answer from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// The model says that it failed.
    Failed,
    /// The connection ends.
    Cut,
    /// The model stops where its tokens end.
    Incomplete,
}

/// The longest pause between two deltas.
pub(super) const MAX_DELAY: Duration = Duration::from_secs(60);
/// The most deltas of an answer.
pub(super) const MAX_DELTAS: usize = 100_000;

impl Cues {
    /// Reads a message.
    pub(super) fn of(said: &[&str]) -> Self {
        let mut cues = Self::default();
        let words: Vec<String> = said
            .iter()
            .flat_map(|text| text.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        for (at, word) in words.iter().enumerate() {
            let number = words.get(at + 1).and_then(|next| next.parse::<u64>().ok());
            match (word.as_str(), number) {
                ("long", _) => cues.long = true,
                ("think", _) => cues.think = true,
                ("search", _) => cues.search = true,
                ("cite", _) => cues.cite = true,
                ("image", _) => cues.image = true,
                ("refuse", _) => cues.refuse = true,
                ("tool", _) => cues.tool = Calls::One,
                ("tools", _) => cues.tool = Calls::All,
                ("fail", _) => cues.end = Some(Break::Failed),
                ("cut", _) => cues.end = Some(Break::Cut),
                ("incomplete", _) => cues.end = Some(Break::Incomplete),
                ("untitled", _) => cues.untitled = true,
                ("error", Some(status)) => cues.error = error_status(status),
                ("delay", Some(millis)) => {
                    cues.delay = Some(Duration::from_millis(millis).min(MAX_DELAY))
                }
                ("deltas", Some(count)) => {
                    cues.deltas = usize::try_from(count).ok().map(within_deltas)
                }
                _ => {}
            }
        }
        cues
    }
}

fn within_deltas(count: usize) -> usize {
    count.clamp(1, MAX_DELTAS)
}

fn error_status(number: u64) -> Option<StatusCode> {
    let status = u16::try_from(number).ok().and_then(|number| StatusCode::from_u16(number).ok())?;
    (status.is_client_error() || status.is_server_error()).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whatever_their_case_and_only_whole() {
        let cues = Cues::of(&["THINK, then search!", "Error 429"]);
        let expected = Cues {
            think: true,
            search: true,
            error: Some(StatusCode::TOO_MANY_REQUESTS),
            ..Cues::default()
        };
        assert_eq!(cues, expected);
        assert_eq!(
            Cues::of(&["thinking along failure researched error message error 200"]),
            Cues::default()
        );
    }

    #[test]
    fn numbers_are_kept_within_their_bounds() {
        let cues = Cues::of(&["delay 999999 deltas 0"]);
        assert_eq!((cues.delay, cues.deltas), (Some(MAX_DELAY), Some(1)));
        let cues = Cues::of(&["delay 20 deltas 400"]);
        assert_eq!((cues.delay, cues.deltas), (Some(Duration::from_millis(20)), Some(400)));
    }
}
