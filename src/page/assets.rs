//! Where does chatkit.js come from when the CDN is out of a browser's reach? From here: its files
//! are fetched from the CDN and passed on, and the addresses in them that lead back to the CDN are
//! made to lead here.
//!
//! `chatkit.js` and its siblings are `deployments/chatkit/*` at the CDN, `ck1/*` is `assets/ck1/*`;
//! a path that begins with `deployments/` or `assets/` is taken as it is. Domain verification is
//! between the widget and OpenAI and is left alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use url::Url;

use super::LOADER_PATH;
use super::folder::not_found;
use super::kept::{Answer, Asked, Coding, File, Kept};
use crate::error::{Error, Kind};

/// The path under which the files are served.
pub const PREFIX: &str = "/api/chatkit/assets/";

/// The address that is written into the loader, also when the files are fetched from elsewhere.
const OFFICIAL_CDN: &str = "https://cdn.platform.openai.com";

/// A larger file is not held in memory; the widget's largest has half of it, the loader and its
/// page far less.
const LARGEST: usize = 8 * 1024 * 1024;

/// How long a file that is passed on as it is may take to be whole. One that takes longer flows
/// through.
const MOMENT: Duration = Duration::from_secs(1);

/// How long it is believed that the CDN does not have a file, and that it fails.
const MISSING_FOR: Duration = Duration::from_secs(10);
const FAILED_FOR: Duration = Duration::from_secs(2);

/// No file of the CDN's has a longer path.
const LONGEST_PATH: usize = 255;

/// How long the CDN may take to begin its answer.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// How long one file may take in all, read by a slow client.
const FILE_DEADLINE: Duration = Duration::from_secs(300);

const PASSED_BACK: [HeaderName; 10] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
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
    kept: Kept,
}

impl CdnProxy {
    /// Fetches from below `base` with `client`, which must follow no redirects.
    #[must_use]
    pub fn new(client: reqwest::Client, base: Url) -> Self {
        Self { client, base, kept: Kept::default() }
    }

    /// Answers GET or HEAD for one file. `public_origin` is where the browser reached us, as
    /// `https://chat.example.com`.
    ///
    /// # Errors
    /// `not_found` for a path that the CDN doesn't have or that is not plain; the upstream errors
    /// for a CDN that fails.
    pub async fn answer(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        public_origin: &str,
    ) -> Result<Response, Error> {
        let path = cdn_path(path).ok_or_else(not_found)?;
        let rewritten = is_rewritten(&path);
        // What is rewritten must come plain.
        let coding = if rewritten { Coding::None } else { Coding::of(headers) };
        let asked = Asked { path, coding };
        let mut flowing = None;
        let answer = self.kept.get(asked.clone(), self.ask(&asked, rewritten, &mut flowing)).await;
        let is_head = *method == Method::HEAD;
        match answer {
            Answer::File(file) if rewritten => {
                let text = self.rewrite(&file.body, public_origin);
                let mut response = file.answer(headers, text, false, is_head);
                response.headers_mut().append(VARY, HeaderValue::from_static("host"));
                Ok(response)
            }
            Answer::File(file) => Ok(file.answer(headers, file.body.clone(), true, is_head)),
            Answer::Refused(error, _) => Err(error),
            Answer::Flows => {
                let upstream = match flowing {
                    Some(begun) => begun,
                    None => Begun::whole(self.fetch(&asked).await?),
                };
                Ok(upstream.flow(is_head))
            }
        }
    }

    /// Asks the CDN. An answer that is not to be kept is left in `flowing`.
    async fn ask(&self, asked: &Asked, rewritten: bool, flowing: &mut Option<Begun>) -> Answer {
        let upstream = match self.fetch(asked).await {
            Ok(upstream) => upstream,
            Err(error) if error.kind() == Kind::NotFound => {
                return Answer::Refused(error, MISSING_FOR);
            }
            Err(error) => return Answer::Refused(error, FAILED_FOR),
        };
        let mut begun = Begun::whole(upstream);
        let reading = begun.read();
        let outcome = if rewritten { Ok(reading.await) } else { timeout(MOMENT, reading).await };
        match outcome {
            Ok(Ok(true)) => Answer::File(Arc::new(begun.file())),
            Ok(Ok(false)) if rewritten => {
                Answer::Refused(invalid("a file that must be rewritten is over 8 MiB"), FAILED_FOR)
            }
            Ok(Err(error)) => Answer::Refused(unavailable(error.without_url()), FAILED_FOR),
            Ok(Ok(false)) | Err(_) => {
                *flowing = Some(begun);
                Answer::Flows
            }
        }
    }

    /// The beginning of the CDN's answer, if it is a file.
    async fn fetch(&self, asked: &Asked) -> Result<reqwest::Response, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::internal("the CDN's address has no path"))?
            .pop_if_empty()
            .extend(asked.path.split('/'));
        let mut request = self.client.get(url).timeout(FILE_DEADLINE);
        if let Some(coding) = asked.coding.header() {
            request = request.header(ACCEPT_ENCODING, coding);
        }
        let answer = timeout(HEAD_DEADLINE, request.send()).await;
        let answer = answer.map_err(|_| {
            Error::new(Kind::UpstreamTimeout, "OpenAI's CDN did not answer in time. Try again.")
        })?;
        let answer = answer.map_err(|error| unavailable(error.without_url()))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Err(not_found()),
            StatusCode::TOO_MANY_REQUESTS => Err(unavailable("the CDN limits our requests")),
            status if status.is_server_error() => {
                Err(unavailable(format_args!("the CDN answered {status}")))
            }
            status => Err(invalid(format_args!("the CDN answered {status}"))),
        }
    }

    fn rewrite(&self, whole: &Bytes, public_origin: &str) -> Bytes {
        let Ok(text) = std::str::from_utf8(whole) else { return whole.clone() };
        let ours = self.base.as_str().trim_end_matches('/');
        let text = rewrite_addresses(
            &rewrite_addresses(text, ours, public_origin),
            OFFICIAL_CDN,
            public_origin,
        );
        let home = format!("{public_origin}{PREFIX}");
        rewrite_root_paths(&text, &home).into()
    }
}

/// An answer of the CDN, as far as it has been read.
struct Begun {
    upstream: reqwest::Response,
    headers: HeaderMap,
    beginning: BytesMut,
}

impl Begun {
    fn whole(upstream: reqwest::Response) -> Self {
        let headers = kept_headers(upstream.headers());
        Self { upstream, headers, beginning: BytesMut::new() }
    }

    /// Reads up to the end, or to where it is too large to be held: says whether it came to its
    /// end.
    async fn read(&mut self) -> reqwest::Result<bool> {
        if self.upstream.content_length().is_some_and(|length| length > LARGEST as u64) {
            return Ok(false);
        }
        while let Some(chunk) = self.upstream.chunk().await? {
            self.beginning.extend_from_slice(&chunk);
            if self.beginning.len() > LARGEST {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn file(self) -> File {
        File { headers: self.headers, body: self.beginning.freeze(), at: Instant::now() }
    }

    /// What was read, and then the rest as it comes.
    fn flow(self, is_head: bool) -> Response {
        let beginning = stream::iter([Ok(self.beginning.freeze())]);
        let body = if is_head {
            Body::empty()
        } else {
            Body::from_stream(beginning.chain(self.upstream.bytes_stream()))
        };
        let mut response = Response::new(body);
        *response.headers_mut() = self.headers;
        response.headers_mut().remove(ACCEPT_RANGES);
        response
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
    Error::new(Kind::UpstreamInvalidResponse, "OpenAI's CDN gave an answer that is no file.")
        .because(cause)
}

/// Where a path of ours lies at the CDN; nothing if any part of it is not a plain name.
fn cdn_path(path: &str) -> Option<String> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| {
                b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~' | b'@' | b'+')
            })
    };
    if path.len() > LONGEST_PATH || !path.split('/').all(plain) {
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
    cdn_path == LOADER_PATH
        || std::path::Path::new(cdn_path).extension().is_some_and(|ext| ext == "html")
}

/// Makes absolute addresses of the CDN lead here.
fn rewrite_addresses(text: &str, cdn: &str, public_origin: &str) -> String {
    text.replace(&format!("{cdn}/deployments/chatkit/"), &format!("{public_origin}{PREFIX}"))
        .replace(&format!("{cdn}/assets/ck1/"), &format!("{public_origin}{PREFIX}ck1/"))
        .replace(cdn, &format!("{public_origin}{}", PREFIX.trim_end_matches('/')))
}

/// Makes `/assets/ck1/`, written from the root, lead here: but not where it is the end of a longer
/// address.
fn rewrite_root_paths(text: &str, home: &str) -> String {
    const ROOT_PATH: &str = "/assets/ck1/";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(ROOT_PATH) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let begins = before
            .chars()
            .next_back()
            .is_none_or(|c| matches!(c, '"' | '\'' | '`' | '(' | '=' | ' ' | ','));
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
