//! How is OpenAI reached? Key, address, proxy, deadline and retries.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use url::{Host, Url};

use super::env::{Secret, Vars};

const OPENAI_API_KEY: &str = "OPENAI_API_KEY";

/// Seconds, unless `UPSTREAM_TIMEOUT_SECONDS` says otherwise.
const SESSION_TIMEOUT: u64 = 10;
/// The same for models: one that runs nearby may have to be loaded before it begins, and a long
/// recording takes its time.
const MODEL_TIMEOUT: u64 = 60;

/// The way to OpenAI's API, or to a server that has it too.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds the API key")]
pub struct UpstreamConfig {
    /// `OPENAI_API_KEY`: the server-held key, of visible ASCII characters. Only a server that is
    /// not OpenAI's may need none.
    pub api_key: Option<Secret>,
    /// Paths are added to its own. In hosted mode `CHATKIT_API_BASE` without the final `/v1`:
    /// `v1/chatkit/sessions` is such a path. In self-hosted mode `OPENAI_BASE_URL` whole:
    /// `responses` is one.
    pub base: Url,
    /// `OPENAI_ORG_ID`, sent as `OpenAI-Organization`.
    pub organization: Option<HeaderValue>,
    /// `OPENAI_PROJECT_ID`, sent as `OpenAI-Project`.
    pub project: Option<HeaderValue>,
    /// `UPSTREAM_TIMEOUT_SECONDS`: for one request of a client, retries included. Of an answer that
    /// streams it is the time until it begins.
    pub timeout: Duration,
    /// `UPSTREAM_RETRIES`: further tries after the first.
    pub retries: u32,
    /// `HTTPS_PROXY`: the proxy for `https` upstreams. No other proxy variable is read. Its address
    /// may hold a password.
    pub https_proxy: Option<Url>,
    /// What is allowed and yet probably not meant, a line each, for the log at the start.
    pub warnings: Vec<String>,
}

impl UpstreamConfig {
    /// The way to OpenAI's sessions.
    pub(super) fn of_hosted(vars: &Vars<'_>) -> Self {
        let base = base(vars, "CHATKIT_API_BASE", "https://api.openai.com", parse_base);
        let (key, why) = (
            api_key(vars, OPENAI_API_KEY),
            "a key of the project that holds the workflow (`sk-…`)",
        );
        if key.is_none() {
            note_missing_key(vars, why);
        }
        Self::with(vars, "CHATKIT_API_BASE", base, key, SESSION_TIMEOUT)
    }

    /// The way to a model.
    pub(super) fn of_self_hosted(vars: &Vars<'_>) -> Self {
        let base = base(vars, "OPENAI_BASE_URL", "https://api.openai.com/v1", model_url);
        let key = api_key(vars, OPENAI_API_KEY);
        if key.is_none() && is_openai(&base) {
            note_missing_key(vars, "a key of the project that pays for the model (`sk-…`)");
        }
        Self::with(vars, "OPENAI_BASE_URL", base, key, MODEL_TIMEOUT)
    }

    fn with(
        vars: &Vars<'_>,
        base_name: &'static str,
        base: Url,
        api_key: Option<Secret>,
        timeout: u64,
    ) -> Self {
        Self {
            api_key,
            warnings: plain_http_warning(base_name, &base).into_iter().collect(),
            base,
            organization: header_value(vars, "OPENAI_ORG_ID"),
            project: header_value(vars, "OPENAI_PROJECT_ID"),
            timeout: Duration::from_secs(vars.number("UPSTREAM_TIMEOUT_SECONDS", timeout, 1..=600)),
            retries: u32::try_from(vars.number("UPSTREAM_RETRIES", 2, 0..=10)).unwrap_or(2),
            https_proxy: https_proxy(vars),
        }
    }
}

fn base(
    vars: &Vars<'_>,
    name: &str,
    default: &'static str,
    parse: impl FnOnce(&str) -> Option<Url>,
) -> Url {
    let expected = format!(
        "an http or https address without credentials, query and fragment, like `{default}`"
    );
    #[expect(clippy::expect_used, reason = "a constant that parses")]
    let default = || Url::parse(default).expect("the default is an address");
    vars.optional(name, &expected, parse).unwrap_or_else(default)
}

/// A key for a server with OpenAI's API, from this variable. One that can't be sent in a header is
/// a problem.
pub(super) fn api_key(vars: &Vars<'_>, name: &str) -> Option<Secret> {
    let key = vars.secret(name)?;
    let fits = key.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if !fits {
        vars.problem(name, "must be visible ASCII characters without spaces or line ends");
    }
    fits.then_some(key)
}

/// A key that is set and can't be read has been complained about already.
fn note_missing_key(vars: &Vars<'_>, what: &str) {
    if !vars.is_blamed(OPENAI_API_KEY) {
        vars.problem(OPENAI_API_KEY, format!("is required: {what}"));
    }
}

/// Whether this is OpenAI itself, in whichever region.
pub(super) fn is_openai(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default();
    host == "api.openai.com" || host.ends_with(".api.openai.com")
}

fn header_value(vars: &Vars<'_>, name: &str) -> Option<HeaderValue> {
    vars.optional(name, "visible ASCII characters without spaces", |text| {
        let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { HeaderValue::from_str(text).ok() } else { None }
    })
}

/// The base of all of OpenAI's API: a final `/v1` is dropped.
fn parse_base(text: &str) -> Option<Url> {
    let mut base = model_url(text)?;
    let path = base.path();
    let path = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/').to_owned();
    base.set_path(&path);
    Some(base)
}

/// The base of a model's API, usually with the final `/v1`: an address with nothing but a path.
/// Slashes at its end are dropped.
pub(super) fn model_url(text: &str) -> Option<Url> {
    let mut base = Url::parse(text).ok()?;
    let is_plain = matches!(base.scheme(), "http" | "https")
        && base.has_host()
        && base.username().is_empty()
        && base.password().is_none()
        && base.query().is_none()
        && base.fragment().is_none();
    let path = base.path().trim_end_matches('/').to_owned();
    base.set_path(&path);
    is_plain.then_some(base)
}

/// `HTTPS_PROXY`. `proxy:3128` is read as `http://proxy:3128`, as curl does.
pub(super) fn https_proxy(vars: &Vars<'_>) -> Option<Url> {
    let expected = "the address of an HTTP proxy, like `http://proxy.example.com:3128`";
    vars.optional("HTTPS_PROXY", expected, |text| {
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        };
        url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    })
}

/// The warning for an address whose traffic others may read.
pub(super) fn plain_http_warning(name: &str, base: &Url) -> Option<String> {
    let near = match base.host()? {
        Host::Ipv4(address) => is_near(IpAddr::V4(address)),
        Host::Ipv6(address) => is_near(IpAddr::V6(address)),
        Host::Domain(name) => {
            !name.contains('.')
                || [".localhost", ".local", ".internal", ".test"]
                    .iter()
                    .any(|end| name.ends_with(end))
        }
    };
    (base.scheme() == "http" && !near).then(|| {
        format!(
            "{name} is plain http to a host that looks public: the API key and what is answered \
             travel unencrypted"
        )
    })
}

fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> (UpstreamConfig, Vec<String>) {
        let lookup = |name: &str| {
            let found =
                vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            found.or_else(|| (name == "OPENAI_API_KEY").then(|| "sk-test".to_owned()))
        };
        let vars = Vars::new(&lookup);
        let config = UpstreamConfig::of_hosted(&vars);
        (config, vars.into_problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_base_loses_its_trailing_slash_and_a_final_v1_and_keeps_any_other_path() {
        for (text, expected) in [
            ("https://api.openai.com", "https://api.openai.com/"),
            ("https://api.openai.com/", "https://api.openai.com/"),
            ("https://api.openai.com/v1", "https://api.openai.com/"),
            ("https://api.openai.com/v1/", "https://api.openai.com/"),
            ("http://127.0.0.1:4010/v1", "http://127.0.0.1:4010/"),
            ("https://gate.example.com/openai/v1/", "https://gate.example.com/openai"),
            ("https://gate.example.com/v1/openai", "https://gate.example.com/v1/openai"),
            ("https://gate.example.com/openaiv1", "https://gate.example.com/openaiv1"),
        ] {
            let (config, problems) = read(&[("CHATKIT_API_BASE", text)]);
            assert_eq!(config.base.as_str(), expected, "{text}");
            assert!(problems.is_empty(), "{text}: {problems:?}");
        }
    }

    #[test]
    fn a_base_that_is_no_plain_http_address_is_a_problem() {
        for text in [
            "api.openai.com",
            "ftp://api.openai.com",
            "https://user@api.openai.com",
            "https://user:secret@api.openai.com",
            "https://api.openai.com/?a=b",
            "https://api.openai.com/#a",
            "https://",
        ] {
            let (_, problems) = read(&[("CHATKIT_API_BASE", text)]);
            assert_eq!(problems.len(), 1, "{text}");
            assert!(problems[0].starts_with("CHATKIT_API_BASE: "), "{text}");
            assert!(!problems[0].contains("secret"), "the value is not shown");
        }
    }

    #[test]
    fn plain_http_is_warned_about_unless_the_host_is_near() {
        for near in [
            "http://localhost:1",
            "http://127.0.0.1",
            "http://10.1.2.3",
            "http://[::1]:1",
            "http://gateway",
        ] {
            assert!(read(&[("CHATKIT_API_BASE", near)]).0.warnings.is_empty(), "{near}");
        }
        for far in ["http://api.openai.com", "http://8.8.8.8", "http://[2001:db8::1]"] {
            assert_eq!(read(&[("CHATKIT_API_BASE", far)]).0.warnings.len(), 1, "{far}");
        }
        assert!(read(&[]).0.warnings.is_empty(), "https needs no warning");
    }

    fn read_self_hosted(set: &[(&str, &str)]) -> (UpstreamConfig, Vec<String>) {
        let lookup = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let vars = Vars::new(&lookup);
        let config = UpstreamConfig::of_self_hosted(&vars);
        (config, vars.into_problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_base_of_a_model_keeps_its_path_and_loses_its_trailing_slash() {
        for (text, expected) in [
            ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
            ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
            ("https://a.example/openai/v1//", "https://a.example/openai/v1"),
            ("https://a.example", "https://a.example/"),
        ] {
            let (config, problems) = read_self_hosted(&[("OPENAI_BASE_URL", text)]);
            assert_eq!((config.base.as_str(), problems.len()), (expected, 0), "{text}");
        }
        let other = [("OPENAI_API_KEY", "sk-1"), ("CHATKIT_API_BASE", "no address")];
        let (config, problems) = read_self_hosted(&other);
        assert_eq!((config.base.as_str(), problems.len()), ("https://api.openai.com/v1", 0));
        let (_, problems) =
            read_self_hosted(&[("OPENAI_API_KEY", "sk-1"), ("OPENAI_BASE_URL", "localhost:1/v1")]);
        assert!(
            problems[0].starts_with("OPENAI_BASE_URL: must be an http or https address"),
            "{problems:?}"
        );
    }

    #[test]
    fn only_openai_itself_needs_a_key_for_its_models() {
        for openai in ["", "https://api.openai.com/v1", "https://eu.api.openai.com/v1"] {
            let (_, problems) = read_self_hosted(&[("OPENAI_BASE_URL", openai)]);
            assert_eq!(problems.len(), 1, "{openai}");
            assert!(problems[0].starts_with("OPENAI_API_KEY: is required"), "{problems:?}");
        }
        let (config, problems) =
            read_self_hosted(&[("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")]);
        assert!(problems.is_empty() && config.api_key.is_none(), "{problems:?}");
    }

    #[test]
    fn what_can_not_stand_in_a_header_is_a_problem() {
        for name in ["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"] {
            for value in ["sk-a\nb", "sk-a b", "sk-ä", "sk-\u{7f}"] {
                let (_, problems) = read(&[(name, value)]);
                assert_eq!(problems.len(), 1, "{name} = {value:?}");
                assert!(problems[0].starts_with(name), "{problems:?}");
                assert!(!problems[0].contains("sk-a"), "the value is not shown");
            }
        }
    }

    #[test]
    fn a_missing_key_is_one_problem_and_so_is_a_key_given_twice() {
        let none = |_: &str| None;
        let vars = Vars::new(&none);
        UpstreamConfig::of_hosted(&vars);
        assert_eq!(vars.into_problems().len(), 1, "missing");
        let (_, problems) =
            read(&[("OPENAI_API_KEY", "sk-a"), ("OPENAI_API_KEY_FILE", "/nowhere")]);
        assert_eq!(problems.len(), 1, "twice: {problems:?}");
        let (_, problems) =
            read(&[("OPENAI_API_KEY", ""), ("OPENAI_API_KEY_FILE", "/nowhere/key")]);
        assert_eq!(problems.len(), 1, "a file that is not there: {problems:?}");
        assert!(problems[0].starts_with("OPENAI_API_KEY_FILE: "), "{problems:?}");
    }

    #[test]
    fn a_proxy_may_leave_out_its_scheme() {
        for (text, expected) in [
            ("proxy.example.com:3128", "http://proxy.example.com:3128/"),
            ("https://u:p@proxy.example.com", "https://u:p@proxy.example.com/"),
        ] {
            let (config, problems) = read(&[("HTTPS_PROXY", text)]);
            assert_eq!(config.https_proxy.as_ref().map(Url::as_str), Some(expected));
            assert!(problems.is_empty(), "{problems:?}");
        }
        assert_eq!(read(&[("HTTPS_PROXY", "socks5://proxy:1080")]).1.len(), 1);
    }
}
