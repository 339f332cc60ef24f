//! How much may one user say at once, and have answered at once?

use std::num::NonZeroUsize;

use super::env::Vars;

/// No request that brings a message is larger.
const LARGEST_REQUEST: u64 = 1024 * 1024;

/// What bounds one user in self-hosted mode, beside the rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `CHATKIT_MAX_MESSAGE_BYTES`: what people write in one message, a client tool's output, and
    /// answers to questions may have, in UTF-8; 256 KiB by default.
    pub max_message_bytes: usize,
    /// `CHATKIT_MAX_TURNS_PER_USER`: the answers under way for one user, 4 by default; `None` is no
    /// limit.
    pub max_turns_per_user: Option<NonZeroUsize>,
}

impl Bounds {
    pub(super) fn from_vars(vars: &Vars<'_>) -> Self {
        let bytes = vars.number("CHATKIT_MAX_MESSAGE_BYTES", 256 * 1024, 1..=LARGEST_REQUEST);
        let turns = vars.number("CHATKIT_MAX_TURNS_PER_USER", 4, 0..=1_000_000);
        Self {
            max_message_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            max_turns_per_user: usize::try_from(turns).ok().and_then(NonZeroUsize::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<(usize, Option<usize>), String> {
        let lookup = |name: &str| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let vars = Vars::new(&lookup);
        let Bounds { max_message_bytes, max_turns_per_user } = Bounds::from_vars(&vars);
        match vars.into_problems().first() {
            Some(problem) => Err(problem.to_string()),
            None => Ok((max_message_bytes, max_turns_per_user.map(NonZeroUsize::get))),
        }
    }

    #[test]
    fn each_bound_has_a_default_and_says_what_is_no_value_of_it() {
        let (bytes, turns) = ("CHATKIT_MAX_MESSAGE_BYTES", "CHATKIT_MAX_TURNS_PER_USER");
        assert_eq!(read(&[]), Ok((262_144, Some(4))));
        assert_eq!(read(&[(bytes, "1000"), (turns, "0")]), Ok((1000, None)));
        for (name, bad) in
            [(bytes, "0"), (bytes, "1048577"), (bytes, "canary"), (turns, "-1"), (turns, "")]
        {
            match read(&[(name, bad)]) {
                Err(problem) => {
                    assert!(problem.starts_with(name) && !problem.contains("canary"), "{problem}")
                }
                Ok(read) => {
                    assert_eq!((bad, read.1), ("", Some(4)), "an empty value is an unset one")
                }
            }
        }
    }
}
