//! Which pages may call us from a browser? A list of exact origins and of patterns for subdomains.

use url::{Host, Url};

/// The allowed origins.
#[derive(Debug, Clone, Default)]
pub struct OriginList {
    origins: Vec<Origin>,
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `https://example.com`: this origin alone, as browsers write it.
    Exact(String),
    /// `https://*.example.com`: one label or more before the suffix, same scheme and port.
    Subdomains {
        /// `https://`
        scheme: String,
        /// `.example.com`, with a port if one was given.
        suffix: String,
        /// Whether the pages below belong to many, as those of a hoster do (`*.github.io`).
        is_shared: bool,
    },
    /// Any page of this machine: `localhost`, `127.0.0.1` or `[::1]`, on any port.
    Local,
}

impl Origin {
    /// Reads one entry.
    ///
    /// # Errors
    /// What an entry should look like.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "must list origins like https://example.com, or \
                                https://*.example.com for subdomains, without a path";
        if text == "*" {
            return Err(
                "must not be `*`: name the origins of your pages, because sessions are minted for \
                 them",
            );
        }
        if text == "null" {
            return Err("must not contain `null`: any sandboxed page can send it");
        }
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let pattern = rest.strip_prefix("*.");
        let url =
            Url::parse(&format!("{scheme}://{}", pattern.unwrap_or(rest))).map_err(|_| EXPECTED)?;
        let bare = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && !rest.ends_with('/')
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if url.host_str().is_some_and(|host| host.ends_with('.')) {
            return Err("must not end in a dot: browsers take that for another origin");
        }
        let origin = url.origin().ascii_serialization();
        if !bare || origin.contains('*') {
            return Err(EXPECTED);
        }
        if pattern.is_none() {
            return Ok(Self::Exact(origin));
        }
        let Some(Host::Domain(domain)) = url.host() else { return Err(EXPECTED) };
        if !domain.contains('.') && domain != "localhost" {
            return Err("must not allow all of a top-level domain: write https://*.example.com");
        }
        let suffix =
            psl::suffix(domain.as_bytes()).filter(|suffix| suffix.as_bytes() == domain.as_bytes());
        let is_shared = match suffix.and_then(|suffix| suffix.typ()) {
            Some(psl::Type::Icann) => {
                return Err(
                    "must not allow all of a public suffix: anybody can register a domain there",
                );
            }
            Some(psl::Type::Private) => true,
            None => false,
        };
        let (scheme, host) = origin.split_once("://").ok_or(EXPECTED)?;
        Ok(Self::Subdomains {
            scheme: format!("{scheme}://"),
            suffix: format!(".{host}"),
            is_shared,
        })
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == origin,
            Self::Subdomains { scheme, suffix, is_shared: _ } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|rest| rest.strip_suffix(suffix.as_str()))
                .is_some_and(is_labels),
            Self::Local => {
                let scheme =
                    ["http://", "https://"].into_iter().find(|scheme| origin.starts_with(scheme));
                scheme.is_some_and(|scheme| is_local(&origin[scheme.len()..]))
            }
        }
    }
}

/// Whether a host, with a port or without, is one of the names under which this machine reaches
/// itself.
#[must_use]
pub fn is_local(authority: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].into_iter().any(|name| {
        let Some((host, port)) = authority.split_at_checked(name.len()) else { return false };
        let is_port = |port: &str| {
            (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
        };
        host.eq_ignore_ascii_case(name)
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
    })
}

/// One DNS label or more, as browsers write them: lower case, no empty label.
fn is_labels(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    })
}

impl OriginList {
    /// A list of these entries.
    #[must_use]
    pub fn new(origins: Vec<Origin>) -> Self {
        Self { origins }
    }

    /// Whether a page of this origin (the `Origin` header's text) may call. `null` never may.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.matches(origin))
    }

    /// The patterns below which the pages of many people are, as with a hoster
    /// (`https://*.github.io`): each of them may call.
    pub fn shared(&self) -> impl Iterator<Item = String> {
        self.origins.iter().filter_map(|origin| match origin {
            Origin::Subdomains { scheme, suffix, is_shared: true } => {
                Some(format!("{scheme}*{suffix}"))
            }
            Origin::Subdomains { .. } | Origin::Exact(_) | Origin::Local => None,
        })
    }

    /// Adds an entry: `dev` allows its own pages.
    pub fn push(&mut self, origin: Origin) {
        self.origins.push(origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> OriginList {
        OriginList::new(texts.iter().map(|text| Origin::parse(text).expect(text)).collect())
    }

    #[test]
    fn an_exact_origin_matches_itself_alone() {
        let list = list(&["https://Example.com:443", "http://localhost:3000"]);
        assert!(
            list.allows("https://example.com"),
            "case and default port are as browsers write them"
        );
        assert!(list.allows("http://localhost:3000"));
        for other in [
            "http://example.com",
            "https://example.com:8443",
            "https://a.example.com",
            "null",
            "",
            "*",
        ] {
            assert!(!list.allows(other), "{other}");
        }
    }

    #[test]
    fn a_pattern_matches_one_label_or_more_and_never_the_bare_domain_nor_another_port() {
        let list = list(&["https://*.example.com"]);
        assert!(list.allows("https://a.example.com"));
        assert!(list.allows("https://a.b.example.com"));
        for other in [
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://evil.com/.example.com",
            "https://evil.com#.example.com",
            "https://evilexample.com",
            "https://a.example.com.evil.com",
            "null",
        ] {
            assert!(!list.allows(other), "{other}");
        }
    }

    #[test]
    fn a_page_of_this_machine_is_local_whichever_its_port() {
        let list = OriginList::new(vec![Origin::Local]);
        for local in [
            "http://localhost",
            "http://localhost:5173",
            "https://127.0.0.1:8443",
            "http://[::1]:3000",
        ] {
            assert!(list.allows(local), "{local}");
        }
        for other in [
            "http://localhost.evil.example",
            "http://localhost:5173.evil.example",
            "http://127.0.0.10",
            "http://127.0.0.1:1@evil.example",
            "http://a.localhost",
            "http://[::1].evil.example",
            "http://localhost:",
            "http://localhost:5173/",
            "ftp://localhost",
            "localhost:5173",
            "null",
        ] {
            assert!(!list.allows(other), "{other}");
        }
    }

    #[test]
    fn a_pattern_of_a_public_suffix_is_refused_and_one_of_a_hoster_is_known_as_shared() {
        for text in [
            "https://*.co.uk",
            "https://*.com.au",
            "https://*.k12.ma.us",
            "https://*.CO.UK",
            "https://*.co.uk:8443",
            "https://*.anything.ck",
            "https://*.xn--55qx5d.cn",
        ] {
            assert!(Origin::parse(text).unwrap_err().contains("public suffix"), "{text}");
        }
        for text in [
            "https://*.com.",
            "https://*.example.com.",
            "https://example.com.",
            "https://example.com.:8443",
        ] {
            assert!(Origin::parse(text).unwrap_err().contains("dot"), "{text}");
        }
        let hosters = [
            "https://*.github.io",
            "https://*.vercel.app",
            "https://*.netlify.app",
            "https://*.pages.dev",
            "https://*.herokuapp.com:8443",
        ];
        assert_eq!(list(&hosters).shared().collect::<Vec<_>>(), hosters);
        let own = [
            "https://*.example.com",
            "https://*.example.co.uk",
            "https://*.me.github.io",
            "https://me.github.io",
            "https://co.uk",
            "https://*.intern.corp",
            "http://*.localhost:3000",
        ];
        assert_eq!(list(&own).shared().count(), 0);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "*",
            "null",
            "example.com",
            "https://",
            "https://example.com/",
            "https://example.com/app",
        ]
        .into_iter()
        .chain([
            "https://*",
            "https://*.com",
            "https://a*.example.com",
            "https://*.*.example.com",
            "ftp://a.b",
        ])
        .chain([
            "https://user@example.com",
            "https://example.com?x",
            "https://*.127.0.0.1",
        ]) {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
