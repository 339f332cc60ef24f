//! Where is the credential? Reads the `Authorization` header and cookies, strictly: what is there
//! twice or is badly written counts as a bad credential, never as none.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};

use super::error::Flaw;

/// The token of the one `Authorization: Bearer` header (RFC 6750 section 2.1), if there is such a
/// header.
///
/// # Errors
/// When there are several such headers, or the one is of another scheme or form.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Flaw> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Flaw::SeveralHeaders);
    }
    let value = value.to_str().map_err(|_| Flaw::NotBearer)?;
    let (scheme, token) = value.split_once(' ').ok_or(Flaw::NotBearer)?;
    let token = token.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") && is_token68(token) {
        Ok(Some(token))
    } else {
        Err(Flaw::NotBearer)
    }
}

/// The value of the one cookie of this name (RFC 6265 section 4.2), without the quotes that may be
/// around it.
///
/// # Errors
/// When there are several cookies of this name, or its value is no plain text.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Flaw> {
    let mut found = cookies(headers, name);
    let Some(value) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(Flaw::SeveralCookies);
    }
    value.map(Some)
}

/// The values of all cookies of this name; of one that is no plain text, that it is none.
pub(super) fn cookies<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> impl Iterator<Item = Result<&'a str, Flaw>> {
    let pairs =
        headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let values = pairs.filter_map(move |pair| {
        pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    });
    values.map(|value| {
        let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        std::str::from_utf8(quoted.unwrap_or(value)).map_err(|_| Flaw::NotThreeParts)
    })
}

/// RFC 9110's `token68`: what a bearer token is made of.
fn is_token68(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty()
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn with(name: &HeaderName, values: &[&[u8]]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn one_bearer_header_gives_its_token_whatever_the_case_of_the_scheme() {
        for line in ["Bearer a.b-c", "bearer a.b-c", "BEARER   a.b-c", "Bearer a.b-c "] {
            assert_eq!(
                bearer(&with(&AUTHORIZATION, &[line.as_bytes()])),
                Ok(Some("a.b-c")),
                "{line:?}"
            );
        }
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
        assert_eq!(
            bearer(&with(&AUTHORIZATION, &[b"Bearer cks_x=="])),
            Ok(Some("cks_x==")),
            "token68 may end in ="
        );
    }

    #[test]
    fn a_header_that_is_there_and_bad_is_never_taken_for_none() {
        let lines: [&[u8]; 11] = [
            b"",
            b"Bearer",
            b"Bearer ",
            b"Bearera",
            b"Basic YTpi",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer =",
            b"Bearer\ta",
            b"Bearer \xff",
            b"Bearer a, Bearer b",
        ];
        for line in lines {
            assert_eq!(bearer(&with(&AUTHORIZATION, &[line])), Err(Flaw::NotBearer), "{line:?}");
        }
        let twice = with(&AUTHORIZATION, &[b"Bearer a", b"Bearer a"]);
        assert_eq!(bearer(&twice), Err(Flaw::SeveralHeaders), "also when both are the same");
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_in_whichever_header_line() {
        let headers = with(&COOKIE, &[b"xsid=1; sid=a=b;SID=2", b"other=3"]);
        assert_eq!(cookie(&headers, "sid"), Ok(Some("a=b")));
        assert_eq!(cookie(&headers, "other"), Ok(Some("3")));
        assert_eq!(cookie(&headers, "si"), Ok(None));
        assert_eq!(cookie(&with(&COOKIE, &[b"sid=\"abc\""]), "sid"), Ok(Some("abc")), "quotes");
        assert_eq!(
            cookie(&with(&COOKIE, &[b"sid="]), "sid"),
            Ok(Some("")),
            "an empty cookie is there"
        );
    }

    #[test]
    fn two_cookies_of_one_name_are_refused() {
        assert_eq!(cookie(&with(&COOKIE, &[b"sid=1; sid=1"]), "sid"), Err(Flaw::SeveralCookies));
        assert_eq!(cookie(&with(&COOKIE, &[b"sid=1", b"sid=2"]), "sid"), Err(Flaw::SeveralCookies));
        assert_eq!(
            cookie(&with(&COOKIE, &[b"sid=\xff"]), "sid"),
            Err(Flaw::NotThreeParts),
            "no text"
        );
    }

    proptest! {
        #[test]
        fn any_header_bytes_are_read_without_a_panic(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(AUTHORIZATION, value.clone());
                headers.insert(COOKIE, value);
                if let Ok(found) = bearer(&headers) {
                    prop_assert!(is_token68(found.unwrap_or_default()));
                }
                let _ = cookie(&headers, "sid");
            }
        }

        #[test]
        fn a_written_token_is_read_back(token in "[A-Za-z0-9._~+/-]{1,80}={0,2}", scheme in "[Bb][Ee]arer") {
            let headers = with(&AUTHORIZATION, &[format!("{scheme} {token}").as_bytes()]);
            prop_assert_eq!(bearer(&headers), Ok(Some(token.as_str())));
        }

        #[test]
        fn a_written_cookie_is_read_back(value in "[A-Za-z0-9._=-]{0,80}", before in "[a-r]{1,8}", after in "[t-z]{1,8}") {
            let line = format!("{before}=1; sid={value}; {after}=2");
            let headers = with(&COOKIE, &[line.as_bytes()]);
            prop_assert_eq!(cookie(&headers, "sid"), Ok(Some(value.as_str())));
        }
    }
}
