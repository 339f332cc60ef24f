//! Which variables are there? Every name that is read, and the warnings for one that is nearly
//! right and for one that the mode does not read.

use super::Mode;

/// A variable that the service reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Whether `NAME_FILE` may name a file that holds it.
    pub secret: bool,
    /// In which mode it is read.
    pub reader: Reader,
}

/// In which mode a variable is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// In both.
    Both,
    /// In hosted mode.
    Hosted,
    /// In self-hosted mode.
    SelfHosted,
}

impl Reader {
    /// The mode that alone reads such a variable, where `mode` does not.
    fn instead_of(self, mode: &Mode) -> Option<&'static str> {
        match (self, mode) {
            (Self::Hosted, Mode::SelfHosted(_)) => Some("hosted"),
            (Self::SelfHosted, Mode::Hosted(_)) => Some("self-hosted"),
            (Self::Hosted | Self::Both, Mode::Hosted(_))
            | (Self::SelfHosted | Self::Both, Mode::SelfHosted(_)) => None,
        }
    }
}

const fn plain(name: &'static str) -> Variable {
    Variable { name, secret: false, reader: Reader::Both }
}

const fn secret(name: &'static str) -> Variable {
    Variable { name, secret: true, reader: Reader::Both }
}

impl Variable {
    const fn hosted(self) -> Self {
        Self { reader: Reader::Hosted, ..self }
    }

    const fn self_hosted(self) -> Self {
        Self { reader: Reader::SelfHosted, ..self }
    }
}

/// Every variable, in the order of `.env.example`.
pub const VARIABLES: &[Variable] = &[
    secret("OPENAI_API_KEY"),
    plain("CHATKIT_WORKFLOW_ID").hosted(),
    plain("WORKFLOW_ID").hosted(),
    plain("CHATKIT_MODE"),
    plain("CHATKIT_WORKFLOWS").hosted(),
    plain("CHATKIT_WORKFLOW_VERSION").hosted(),
    plain("CHATKIT_API_BASE").hosted(),
    plain("OPENAI_ORG_ID"),
    plain("OPENAI_PROJECT_ID"),
    secret("DATABASE_URL").self_hosted(),
    secret("CHATKIT_SIGNING_KEY").self_hosted(),
    plain("CHATKIT_AGENTS").self_hosted(),
    plain("CHATKIT_MODEL").self_hosted(),
    plain("CHATKIT_INSTRUCTIONS").self_hosted(),
    plain("OPENAI_BASE_URL").self_hosted(),
    plain("CHATKIT_MODEL_API").self_hosted(),
    plain("CHATKIT_UPLOADS_DIR").self_hosted(),
    plain("CHATKIT_UPLOAD_MAX_BYTES").self_hosted(),
    plain("CHATKIT_UPLOAD_QUOTA_BYTES").self_hosted(),
    plain("CHATKIT_MAX_MESSAGE_BYTES").self_hosted(),
    plain("CHATKIT_MAX_TURNS_PER_USER").self_hosted(),
    plain("CHATKIT_DICTATION").self_hosted(),
    plain("CHATKIT_TRANSCRIPTION_MODEL").self_hosted(),
    plain("CHATKIT_RETENTION_DAYS").self_hosted(),
    plain("CHATKIT_ON_DISCONNECT").self_hosted(),
    plain("CHATKIT_DOMAIN_KEY").self_hosted(),
    plain("CHATKIT_SESSION_TTL_SECONDS"),
    plain("CHATKIT_SESSION_REQUESTS_PER_MINUTE").hosted(),
    plain("CHATKIT_FILE_UPLOAD"),
    plain("CHATKIT_HISTORY"),
    plain("CHATKIT_THREAD_TITLES"),
    plain("CHATKIT_STATE_CLAIMS").hosted(),
    secret("CHATKIT_USER_ID_KEY").hosted(),
    secret("JWT_SECRET"),
    secret("JWT_PUBLIC_KEY"),
    plain("JWKS_URL"),
    plain("JWT_ISSUER"),
    plain("JWT_AUDIENCE"),
    plain("JWT_ALGORITHMS"),
    plain("JWT_USER_CLAIM"),
    plain("JWT_LEEWAY_SECONDS"),
    plain("JWT_COOKIE"),
    plain("AUTH_ANONYMOUS"),
    secret("CHATKIT_COOKIE_KEY"),
    plain("CHATKIT_COOKIE_SAMESITE"),
    secret("SERVICE_TOKENS"),
    plain("CORS_ALLOWED_ORIGINS"),
    plain("TRUSTED_PROXIES"),
    plain("FORWARDED_HEADER"),
    plain("RATE_LIMIT_IP_PER_MINUTE"),
    plain("RATE_LIMIT_IP_BURST"),
    plain("RATE_LIMIT_USER_PER_MINUTE"),
    plain("RATE_LIMIT_USER_BURST"),
    plain("RATE_LIMIT_READS_PER_MINUTE").self_hosted(),
    plain("RATE_LIMIT_READS_BURST").self_hosted(),
    plain("CONNECTIONS_PER_ADDRESS"),
    secret("REDIS_URL"),
    plain("UPSTREAM_TIMEOUT_SECONDS"),
    plain("UPSTREAM_RETRIES"),
    plain("HTTPS_PROXY"),
    plain("MAX_CONCURRENT_REQUESTS"),
    plain("SHUTDOWN_GRACE_SECONDS"),
    plain("HOST"),
    plain("PORT"),
    plain("STATIC_DIR"),
    plain("CHATKIT_ASSETS"),
    plain("CHATKIT_CDN_BASE"),
    plain("METRICS_ADDR"),
    plain("RUST_LOG"),
    plain("LOG_FORMAT"),
];

/// Where traces would go. An operator who sets it expects them.
const TRACES: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A warning for each name that starts like one of ours and is none, with the nearest one that is;
/// and for what is not read yet.
#[must_use]
pub fn unknown_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    const PREFIXES: [&str; 4] = ["CHATKIT_", "JWT_", "RATE_LIMIT_", "CORS_"];
    let is_ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let mut unknown: Vec<&str> =
        names.filter(|name| *name == TRACES || (is_ours(name) && !is_known(name))).collect();
    unknown.sort_unstable();
    let warning = |name| match name {
        TRACES => format!("{name} is not read: this version exports no traces"),
        name => {
            format!("{name} is not a variable of this service; did you mean {}?", nearest(name))
        }
    };
    unknown.into_iter().map(warning).collect()
}

/// A warning for each variable among these, all set, that this mode does not read.
#[must_use]
pub fn unread_names<'a>(names: impl Iterator<Item = &'a str>, mode: &Mode) -> Vec<String> {
    let unread = names.filter_map(|name| Some((name, variable(name)?.reader.instead_of(mode)?)));
    let mut unread: Vec<_> = unread.collect();
    unread.sort_unstable();
    let warning =
        |(name, reader)| format!("{name} is set and not read: only {reader} mode reads it");
    unread.into_iter().map(warning).collect()
}

/// The variable that this name sets, by its value or by a file.
fn variable(name: &str) -> Option<&'static Variable> {
    let of = |name: &str| VARIABLES.iter().find(|variable| variable.name == name);
    of(name).or_else(|| name.strip_suffix("_FILE").and_then(of).filter(|variable| variable.secret))
}

fn is_known(name: &str) -> bool {
    variable(name).is_some()
}

fn nearest(name: &str) -> &'static str {
    let names = VARIABLES.iter().map(|variable| variable.name);
    names.min_by_key(|known| strsim::damerau_levenshtein(name, known)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;

    /// What is read of the environment in this mode, and the mode.
    fn read(mode: &str) -> (BTreeSet<String>, Mode) {
        let asked = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            (name == "CHATKIT_MODE").then(|| mode.to_owned())
        };
        let mode = Config::read(&crate::config::env::Vars::new(&lookup)).mode;
        (asked.into_inner(), mode)
    }

    #[test]
    fn the_table_says_which_mode_reads_which_variable() {
        for name in ["hosted", "self-hosted"] {
            let (asked, mode) = read(name);
            for variable in VARIABLES {
                let is_read = variable.reader.instead_of(&mode).is_none();
                assert_eq!(
                    asked.contains(variable.name),
                    is_read,
                    "{} in {name} mode",
                    variable.name
                );
            }
        }
    }

    #[test]
    fn a_variable_that_the_mode_does_not_read_gets_a_warning() {
        let names = [
            "PORT",
            "CHATKIT_STATE_CLAIMS",
            "DATABASE_URL_FILE",
            "CHATKIT_USER_ID_KEY_FILE",
            "HOME",
        ];
        let warnings = |mode| unread_names(names.into_iter(), &read(mode).1);
        assert_eq!(
            warnings("self-hosted"),
            [
                "CHATKIT_STATE_CLAIMS is set and not read: only hosted mode reads it",
                "CHATKIT_USER_ID_KEY_FILE is set and not read: only hosted mode reads it",
            ]
        );
        assert_eq!(
            warnings("hosted"),
            ["DATABASE_URL_FILE is set and not read: only self-hosted mode reads it"]
        );
    }

    #[test]
    fn a_name_that_is_nearly_right_gets_a_warning_with_the_right_one() {
        let names = [
            "CHATKIT_WORKFLOW",
            "JWT_SECRET_FILE",
            "RATE_LIMIT_IP_BRUST",
            "JWT_ISSUER_FILE",
            "PATH",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "CHATKIT_MODEL",
        ];
        assert_eq!(
            unknown_names(names.into_iter()),
            [
                "CHATKIT_WORKFLOW is not a variable of this service; did you mean \
                 CHATKIT_WORKFLOWS?",
                "JWT_ISSUER_FILE is not a variable of this service; did you mean JWT_ISSUER?",
                "OTEL_EXPORTER_OTLP_ENDPOINT is not read: this version exports no traces",
                "RATE_LIMIT_IP_BRUST is not a variable of this service; did you mean \
                 RATE_LIMIT_IP_BURST?",
            ]
        );
    }

    #[test]
    fn the_example_file_lists_every_variable_in_the_order_of_the_table() {
        let example = include_str!("../../.env.example");
        let listed = example.lines().filter_map(|line| {
            let (name, _) = line.trim_start_matches("# ").split_once('=')?;
            name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_').then_some(name)
        });
        let table: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert_eq!(listed.filter(|name| *name != "NAME_FILE").collect::<Vec<_>>(), table);
    }
}
