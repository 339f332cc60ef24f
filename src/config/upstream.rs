//! How is OpenAI reached? Key, address, proxy, deadline and retries.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use url::{Host, Url};

use super::env::{Secret, Vars};

/// The way to OpenAI's API, or to a server that stands in for it.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds the API key")]
pub struct UpstreamConfig {
    /// `OPENAI_API_KEY`: the server-held key, of visible ASCII characters.
    pub api_key: Secret,
    /// `CHATKIT_API_BASE` without the final `/v1`; paths like `v1/chatkit/sessions` are added to its own.
    pub base: Url,
    /// `OPENAI_ORG_ID`, sent as `OpenAI-Organization`.
    pub organization: Option<HeaderValue>,
    /// `OPENAI_PROJECT_ID`, sent as `OpenAI-Project`.
    pub project: Option<HeaderValue>,
    /// `UPSTREAM_TIMEOUT_SECONDS`: for one request of a client, retries included.
    pub timeout: Duration,
    /// `UPSTREAM_RETRIES`: further tries after the first.
    pub retries: u32,
    /// `HTTPS_PROXY`: the proxy for `https` upstreams. No other proxy variable is read. Its address may hold a password.
    pub https_proxy: Option<Url>,
    /// What is allowed and yet probably not meant, a line each, for the log at the start.
    pub warnings: Vec<String>,
}

impl UpstreamConfig {
    pub(super) fn from_vars(vars: &Vars<'_>) -> Self {
        let base = vars.or(
            "CHATKIT_API_BASE",
            None,
            "an http or https address without credentials, query and fragment, like `https://api.openai.com`",
            |text| parse_base(text).map(Some),
        );
        let base = base.unwrap_or_else(default_base);
        Self {
            api_key: api_key(vars),
            warnings: plain_http_warning(&base).into_iter().collect(),
            base,
            organization: header_value(vars, "OPENAI_ORG_ID"),
            project: header_value(vars, "OPENAI_PROJECT_ID"),
            timeout: Duration::from_secs(vars.number("UPSTREAM_TIMEOUT_SECONDS", 10, 1..=600)),
            retries: u32::try_from(vars.number("UPSTREAM_RETRIES", 2, 0..=10)).unwrap_or(2),
            https_proxy: https_proxy(vars),
        }
    }
}

fn api_key(vars: &Vars<'_>) -> Secret {
    const NAME: &str = "OPENAI_API_KEY";
    match vars.secret(NAME) {
        Some(key) if key.expose().bytes().all(|byte| byte.is_ascii_graphic()) => return key,
        Some(_) => vars.problem(NAME, "must be visible ASCII characters without spaces or line ends"),
        // A key that is set and can't be read has been complained about already.
        None if vars.is_blamed(NAME) => {}
        None => vars.problem(NAME, "is required: a key of the project that holds the workflow (`sk-…`)"),
    }
    Secret::new("")
}

fn header_value(vars: &Vars<'_>, name: &str) -> Option<HeaderValue> {
    vars.optional(name, "visible ASCII characters without spaces", |text| {
        let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { HeaderValue::from_str(text).ok() } else { None }
    })
}

#[expect(clippy::expect_used, reason = "the address is a constant")]
fn default_base() -> Url {
    Url::parse("https://api.openai.com").expect("the constant is an address")
}

fn parse_base(text: &str) -> Option<Url> {
    let mut base = Url::parse(text).ok()?;
    let is_plain = matches!(base.scheme(), "http" | "https")
        && base.has_host()
        && base.username().is_empty()
        && base.password().is_none()
        && base.query().is_none()
        && base.fragment().is_none();
    if !is_plain {
        return None;
    }
    let path = base.path().trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/').to_owned();
    base.set_path(&path);
    Some(base)
}

/// `HTTPS_PROXY`. `proxy:3128` is read as `http://proxy:3128`, as curl does.
pub(super) fn https_proxy(vars: &Vars<'_>) -> Option<Url> {
    let expected = "the address of an HTTP proxy, like `http://proxy.example.com:3128`";
    vars.optional("HTTPS_PROXY", expected, |text| {
        let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
        url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    })
}

fn plain_http_warning(base: &Url) -> Option<String> {
    let near = match base.host()? {
        Host::Ipv4(address) => is_near(IpAddr::V4(address)),
        Host::Ipv6(address) => is_near(IpAddr::V6(address)),
        Host::Domain(name) => {
            !name.contains('.')
                || [".localhost", ".local", ".internal", ".test"].iter().any(|end| name.ends_with(end))
        }
    };
    (base.scheme() == "http" && !near).then(|| {
        "CHATKIT_API_BASE is plain http to a host that looks public: the API key and client secrets travel unencrypted"
            .to_owned()
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
            let found = vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            found.or_else(|| (name == "OPENAI_API_KEY").then(|| "sk-test".to_owned()))
        };
        let vars = Vars::new(&lookup);
        let config = UpstreamConfig::from_vars(&vars);
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
        for near in
            ["http://localhost:1", "http://127.0.0.1", "http://10.1.2.3", "http://[::1]:1", "http://gateway"]
        {
            assert!(read(&[("CHATKIT_API_BASE", near)]).0.warnings.is_empty(), "{near}");
        }
        for far in ["http://api.openai.com", "http://8.8.8.8", "http://[2001:db8::1]"] {
            assert_eq!(read(&[("CHATKIT_API_BASE", far)]).0.warnings.len(), 1, "{far}");
        }
        assert!(read(&[]).0.warnings.is_empty(), "https needs no warning");
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
        UpstreamConfig::from_vars(&vars);
        assert_eq!(vars.into_problems().len(), 1, "missing");
        let (_, problems) = read(&[("OPENAI_API_KEY", "sk-a"), ("OPENAI_API_KEY_FILE", "/nowhere")]);
        assert_eq!(problems.len(), 1, "twice: {problems:?}");
        let (_, problems) = read(&[("OPENAI_API_KEY", ""), ("OPENAI_API_KEY_FILE", "/nowhere/key")]);
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
