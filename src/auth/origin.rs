//! Did one of our pages start this request? A browser adds its cookies to requests that any site
//! starts, so a cookie counts only when the request says that it comes from a page that may ask.

use axum::http::HeaderMap;
use axum::http::header::{HOST, HeaderName, ORIGIN};

use super::Asking;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the request carries an allowed `Origin`, or one that equals its own scheme and host, or,
/// with no `Origin`, says `Sec-Fetch-Site: same-origin`.
pub(super) fn is_ours(asking: &Asking<'_>) -> bool {
    match one(asking.headers, &ORIGIN) {
        Header::One(origin) => (asking.allowed_origin)(origin) || is_own(asking, origin),
        Header::Absent => {
            matches!(one(asking.headers, &SEC_FETCH_SITE), Header::One("same-origin"))
        }
        Header::Unclear => false,
    }
}

/// Whether the request says that another site started it. A request that says nothing, like curl's,
/// is not foreign.
pub(super) fn is_foreign(asking: &Asking<'_>) -> bool {
    match one(asking.headers, &ORIGIN) {
        Header::Absent => match one(asking.headers, &SEC_FETCH_SITE) {
            Header::Absent => false,
            Header::One(site) => !matches!(site, "same-origin" | "none"),
            Header::Unclear => true,
        },
        Header::One(_) | Header::Unclear => !is_ours(asking),
    }
}

/// Whether `origin` is the scheme and host under which the client reached us.
fn is_own(asking: &Asking<'_>, origin: &str) -> bool {
    let Header::One(host) = one(asking.headers, &HOST) else { return false };
    let (scheme, port) = if asking.https { ("https://", ":443") } else { ("http://", ":80") };
    let Some(of_origin) = origin.strip_prefix(scheme) else { return false };
    // A browser leaves the default port out of both; other clients may write it.
    let plain =
        |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    !host.is_empty() && plain(of_origin) == plain(host)
}

enum Header<'a> {
    Absent,
    One(&'a str),
    Unclear,
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Header<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (None, _) => Header::Absent,
        (Some(Ok(text)), None) => Header::One(text),
        (Some(_), _) => Header::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(headers: &[(&'static str, &'static str)], https: bool) -> (bool, bool) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let allowed_origin = |origin: &str| origin == "https://shop.example";
        let asking = Asking {
            headers: &headers,
            client_is_loopback: false,
            https,
            allowed_origin: &allowed_origin,
        };
        (is_ours(&asking), is_foreign(&asking))
    }

    #[test]
    fn an_allowed_origin_and_our_own_are_ours() {
        assert_eq!(asks(&[("origin", "https://shop.example")], true), (true, false), "listed");
        assert_eq!(
            asks(&[("origin", "https://us.example"), ("host", "us.example")], true),
            (true, false)
        );
        assert_eq!(
            asks(&[("origin", "http://localhost:8080"), ("host", "LOCALHOST:8080")], false),
            (true, false)
        );
        assert_eq!(
            asks(&[("origin", "https://us.example"), ("host", "us.example:443")], true),
            (true, false)
        );
        assert_eq!(asks(&[("sec-fetch-site", "same-origin")], true), (true, false), "no Origin");
    }

    #[test]
    fn any_other_origin_is_foreign() {
        let host = ("host", "us.example");
        for headers in [
            vec![("origin", "https://evil.example"), host],
            vec![("origin", "http://us.example"), host],
            vec![("origin", "https://us.example:8443"), host],
            vec![("origin", "https://us.example.evil.example"), host],
            vec![("origin", "null"), host],
            vec![("origin", "https://"), ("host", "")],
            vec![("origin", "https://evil.example"), host, ("sec-fetch-site", "same-origin")],
            vec![("sec-fetch-site", "cross-site"), host],
            vec![("sec-fetch-site", "same-site"), host],
        ] {
            assert_eq!(asks(&headers, true), (false, true), "{headers:?}");
        }
    }

    #[test]
    fn a_request_that_says_nothing_is_neither_ours_nor_foreign() {
        assert_eq!(asks(&[("host", "us.example")], true), (false, false));
        assert_eq!(
            asks(&[("sec-fetch-site", "none")], true),
            (false, false),
            "typed into the address bar"
        );
    }
}
