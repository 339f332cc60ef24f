//! Where does chatkit.js come from when the CDN is out of a browser's reach? From here: its files are fetched from the
//! CDN and passed on, and the addresses in them that lead back to the CDN are made to lead here.
//!
//! `chatkit.js` and its siblings are `deployments/chatkit/*` at the CDN, `ck1/*` is `assets/ck1/*`; a path that begins
//! with `deployments/` or `assets/` is taken as it is. Domain verification is between the widget and OpenAI and is left alone.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, EXPIRES, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED,
    RANGE, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use url::Url;

use super::LOADER_PATH;
use super::folder::not_found;
use crate::error::{Error, Kind};
use crate::extract::out_of_range;

/// The path under which the files are served.
pub const PREFIX: &str = "/api/chatkit/assets/";

/// The address that is written into the loader, also when the files are fetched from elsewhere.
const OFFICIAL_CDN: &str = "https://cdn.platform.openai.com";

/// A file whose addresses are rewritten is held in memory whole; the loader and its page are far smaller.
const MAX_REWRITTEN: usize = 8 * 1024 * 1024;

/// How long the CDN may take to begin its answer.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// How long one file may take in all, read by a slow client.
const FILE_DEADLINE: Duration = Duration::from_secs(300);

const PASSED_ON: [HeaderName; 5] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE, ACCEPT_ENCODING];
const PASSED_BACK: [HeaderName; 11] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    ACCEPT_RANGES,
    CACHE_CONTROL,
    EXPIRES,
    AGE,
    ETAG,
    LAST_MODIFIED,
    VARY,
];

/// The way to the CDN.
#[derive(Debug, Clone)]
pub struct CdnProxy {
    client: reqwest::Client,
    base: Url,
}

impl CdnProxy {
    /// Fetches from below `base` with `client`, which must follow no redirects.
    #[must_use]
    pub fn new(client: reqwest::Client, base: Url) -> Self {
        Self { client, base }
    }

    /// Answers GET or HEAD for one file. `public_origin` is where the browser reached us, as `https://chat.example.com`.
    ///
    /// # Errors
    /// `not_found` for a path that the CDN doesn't have or that is not plain; the upstream errors for a CDN that fails.
    pub async fn answer(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        public_origin: &str,
    ) -> Result<Response, Error> {
        let path = cdn_path(path).ok_or_else(not_found)?;
        let rewritten = is_rewritten(&path);
        // Only the whole text tells how long it is once its addresses are rewritten.
        let asked = if rewritten { &Method::GET } else { method };
        let upstream = self.fetch(asked, &path, headers, rewritten).await?;
        let status = upstream.status();
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED => {}
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(out_of_range(upstream.headers())),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => return Err(not_found()),
            StatusCode::TOO_MANY_REQUESTS => return Err(unavailable("the CDN limits our requests")),
            status if status.is_server_error() => {
                return Err(unavailable(format_args!("the CDN answered {status}")));
            }
            status => return Err(invalid(format_args!("the CDN answered {status}"))),
        }
        let mut out = kept_headers(upstream.headers());
        let body = if rewritten && status == StatusCode::OK {
            out.remove(ACCEPT_RANGES);
            out.append(VARY, HeaderValue::from_static("host"));
            let text = self.rewrite(upstream, public_origin).await?;
            out.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
            if *method == Method::HEAD { Body::empty() } else { Body::from(text) }
        } else {
            Body::from_stream(upstream.bytes_stream())
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = out;
        Ok(response)
    }

    async fn fetch(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        rewritten: bool,
    ) -> Result<reqwest::Response, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::internal("the CDN's address has no path"))?
            .pop_if_empty()
            .extend(path.split('/'));
        let mut request = self.client.request(method.clone(), url).timeout(FILE_DEADLINE);
        for name in &PASSED_ON {
            // What is rewritten must come whole and plain.
            let whole = rewritten && (*name == RANGE || *name == IF_RANGE || *name == ACCEPT_ENCODING);
            if let Some(value) = headers.get(name).filter(|_| !whole) {
                request = request.header(name, value);
            }
        }
        let answer = tokio::time::timeout(HEAD_DEADLINE, request.send()).await;
        let answer = answer.map_err(|_| {
            Error::new(Kind::UpstreamTimeout, "OpenAI's CDN did not answer in time. Try again.")
        })?;
        answer.map_err(|error| unavailable(error.without_url()))
    }

    async fn rewrite(&self, mut upstream: reqwest::Response, public_origin: &str) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = upstream.chunk().await.map_err(|error| unavailable(error.without_url()))? {
            if whole.len() + chunk.len() > MAX_REWRITTEN {
                return Err(invalid("a file that must be rewritten is over 8 MiB"));
            }
            whole.extend_from_slice(&chunk);
        }
        let Ok(text) = std::str::from_utf8(&whole) else { return Ok(whole.freeze()) };
        let ours = self.base.as_str().trim_end_matches('/');
        let text =
            rewrite_addresses(&rewrite_addresses(text, ours, public_origin), OFFICIAL_CDN, public_origin);
        let home = format!("{public_origin}{PREFIX}");
        Ok(rewrite_root_paths(&text, &home).into())
    }
}

fn kept_headers(upstream: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in &PASSED_BACK {
        for value in upstream.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

fn unavailable(cause: impl std::fmt::Display) -> Error {
    Error::new(Kind::UpstreamUnavailable, "OpenAI's CDN can't be reached. Try again in a moment.")
        .because(cause)
}

fn invalid(cause: impl std::fmt::Display) -> Error {
    Error::new(Kind::UpstreamInvalidResponse, "OpenAI's CDN gave an answer that is no file.").because(cause)
}

/// Where a path of ours lies at the CDN; nothing if any part of it is not a plain name.
fn cdn_path(path: &str) -> Option<String> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~' | b'@' | b'+'))
    };
    if !path.split('/').all(plain) {
        return None;
    }
    Some(match path.split_once('/') {
        Some(("deployments" | "assets", _)) => path.to_owned(),
        Some(("ck1", rest)) => format!("assets/ck1/{rest}"),
        _ => format!("deployments/chatkit/{path}"),
    })
}

/// The loader and the pages of the iframe hold addresses; everything else is passed on as it is.
fn is_rewritten(cdn_path: &str) -> bool {
    cdn_path == LOADER_PATH || std::path::Path::new(cdn_path).extension().is_some_and(|ext| ext == "html")
}

/// Makes absolute addresses of the CDN lead here.
fn rewrite_addresses(text: &str, cdn: &str, public_origin: &str) -> String {
    text.replace(&format!("{cdn}/deployments/chatkit/"), &format!("{public_origin}{PREFIX}"))
        .replace(&format!("{cdn}/assets/ck1/"), &format!("{public_origin}{PREFIX}ck1/"))
        .replace(cdn, &format!("{public_origin}{}", PREFIX.trim_end_matches('/')))
}

/// Makes `/assets/ck1/`, written from the root, lead here: but not where it is the end of a longer address.
fn rewrite_root_paths(text: &str, home: &str) -> String {
    const ROOT_PATH: &str = "/assets/ck1/";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(ROOT_PATH) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let begins =
            before.chars().next_back().is_none_or(|c| matches!(c, '"' | '\'' | '`' | '(' | '=' | ' ' | ','));
        if begins {
            out.push_str(home);
            out.push_str("ck1/");
        } else {
            out.push_str(ROOT_PATH);
        }
        rest = &found[ROOT_PATH.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_cdns_own_and_nowhere_else() {
        for (ours, theirs) in [
            ("chatkit.js", Some("deployments/chatkit/chatkit.js")),
            ("index-aB_1.html", Some("deployments/chatkit/index-aB_1.html")),
            ("ck1/a/b.js", Some("assets/ck1/a/b.js")),
            ("deployments/chatkit/x.js", Some("deployments/chatkit/x.js")),
            ("assets/ck1/x.woff2", Some("assets/ck1/x.woff2")),
            ("../x", None),
            ("ck1/../../x", None),
            ("ck1//x", None),
            ("a\\b", None),
            ("%2e%2e/x", None),
            (".env", None),
            ("", None),
            ("a?b", None),
            ("a#b", None),
        ] {
            assert_eq!(cdn_path(ours).as_deref(), theirs, "{ours}");
        }
    }

    #[test]
    fn addresses_that_lead_to_the_cdn_lead_here() {
        let home = "https://chat.example.com";
        let script = r#"const a="https://cdn.platform.openai.com/deployments/chatkit/index-x.html",b="https://cdn.platform.openai.com";"#;
        assert_eq!(
            rewrite_addresses(script, OFFICIAL_CDN, home),
            r#"const a="https://chat.example.com/api/chatkit/assets/index-x.html",b="https://chat.example.com/api/chatkit/assets";"#
        );
        let page = r#"<script src="/assets/ck1/a.js"></script><p title="x/assets/ck1/">"#;
        assert_eq!(
            rewrite_root_paths(page, "https://chat.example.com/api/chatkit/assets/"),
            r#"<script src="https://chat.example.com/api/chatkit/assets/ck1/a.js"></script><p title="x/assets/ck1/">"#
        );
    }
}
