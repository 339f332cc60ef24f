//! Which variables are there? Every name that is read, and the warning for one that is nearly right.

/// A variable that the service reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Whether `NAME_FILE` may name a file that holds it.
    pub secret: bool,
}

const fn plain(name: &'static str) -> Variable {
    Variable { name, secret: false }
}

const fn secret(name: &'static str) -> Variable {
    Variable { name, secret: true }
}

/// Every variable, in the order of `.env.example`.
pub const VARIABLES: &[Variable] = &[
    secret("OPENAI_API_KEY"),
    plain("CHATKIT_WORKFLOW_ID"),
    plain("WORKFLOW_ID"),
    plain("CHATKIT_MODE"),
    plain("CHATKIT_WORKFLOWS"),
    plain("CHATKIT_WORKFLOW_VERSION"),
    plain("CHATKIT_API_BASE"),
    plain("OPENAI_ORG_ID"),
    plain("OPENAI_PROJECT_ID"),
    secret("DATABASE_URL"),
    secret("CHATKIT_SIGNING_KEY"),
    plain("CHATKIT_AGENTS"),
    plain("CHATKIT_MODEL"),
    plain("CHATKIT_INSTRUCTIONS"),
    plain("OPENAI_BASE_URL"),
    plain("CHATKIT_MODEL_API"),
    plain("CHATKIT_UPLOADS_DIR"),
    plain("CHATKIT_UPLOAD_MAX_BYTES"),
    plain("CHATKIT_UPLOAD_QUOTA_BYTES"),
    plain("CHATKIT_DICTATION"),
    plain("CHATKIT_TRANSCRIPTION_MODEL"),
    plain("CHATKIT_RETENTION_DAYS"),
    plain("CHATKIT_ON_DISCONNECT"),
    plain("CHATKIT_DOMAIN_KEY"),
    plain("CHATKIT_SESSION_TTL_SECONDS"),
    plain("CHATKIT_SESSION_REQUESTS_PER_MINUTE"),
    plain("CHATKIT_FILE_UPLOAD"),
    plain("CHATKIT_HISTORY"),
    plain("CHATKIT_THREAD_TITLES"),
    plain("CHATKIT_STATE_CLAIMS"),
    secret("CHATKIT_USER_ID_KEY"),
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

/// A warning for each name that starts like one of ours and is none, with the nearest one that is; and for what is not read yet.
#[must_use]
pub fn unknown_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    const PREFIXES: [&str; 4] = ["CHATKIT_", "JWT_", "RATE_LIMIT_", "CORS_"];
    let is_ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let mut unknown: Vec<&str> =
        names.filter(|name| *name == TRACES || (is_ours(name) && !is_known(name))).collect();
    unknown.sort_unstable();
    let warning = |name| match name {
        TRACES => format!("{name} is not read: this version exports no traces"),
        name => format!("{name} is not a variable of this service; did you mean {}?", nearest(name)),
    };
    unknown.into_iter().map(warning).collect()
}

fn is_known(name: &str) -> bool {
    let of = |name: &str| VARIABLES.iter().find(|variable| variable.name == name);
    of(name).is_some() || name.strip_suffix("_FILE").and_then(of).is_some_and(|variable| variable.secret)
}

fn nearest(name: &str) -> &'static str {
    let names = VARIABLES.iter().map(|variable| variable.name);
    names.min_by_key(|known| strsim::damerau_levenshtein(name, known)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "CHATKIT_WORKFLOW is not a variable of this service; did you mean CHATKIT_WORKFLOWS?",
                "JWT_ISSUER_FILE is not a variable of this service; did you mean JWT_ISSUER?",
                "OTEL_EXPORTER_OTLP_ENDPOINT is not read: this version exports no traces",
                "RATE_LIMIT_IP_BRUST is not a variable of this service; did you mean RATE_LIMIT_IP_BURST?",
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
