//! What does a browser get at `/`? The built-in sample page, the operator's folder, or nothing.

pub mod assets;
pub mod folder;
mod kept;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use url::Url;

use crate::config::service::{Assets, PageConfig};
use crate::extract::Json;
use crate::user::Fingerprint;

/// Where OpenAI's CDN keeps the loader.
pub(crate) const LOADER_PATH: &str = "deployments/chatkit/chatkit.js";

/// The files of the built-in page: path, content type, text.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("../../static/index.html")),
    ("/sample.css", "text/css; charset=utf-8", include_str!("../../static/sample.css")),
    ("/sample.js", "text/javascript; charset=utf-8", include_str!("../../static/sample.js")),
    ("/steps.js", "text/javascript; charset=utf-8", include_str!("../../static/steps.js")),
    ("/loader.js", "text/javascript; charset=utf-8", include_str!("../../static/loader.js")),
    ("/requests.js", "text/javascript; charset=utf-8", include_str!("../../static/requests.js")),
    (
        "/chatkit-fetch.js",
        "text/javascript; charset=utf-8",
        include_str!("../../static/chatkit-fetch.js"),
    ),
    (
        "/chatkit-fetch.d.ts",
        "text/plain; charset=utf-8",
        include_str!("../../static/chatkit-fetch.d.ts"),
    ),
    ("/protocol.js", "text/javascript; charset=utf-8", include_str!("../../static/protocol.js")),
    ("/items.js", "text/javascript; charset=utf-8", include_str!("../../static/items.js")),
    ("/textbox.js", "text/javascript; charset=utf-8", include_str!("../../static/textbox.js")),
];

/// What the sample page wants to know of this service besides the public configuration.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageSettings {
    /// Whether `POST /dev/token` signs anybody in.
    pub dev: bool,
    /// Whether a visitor needs no token.
    pub anonymous: bool,
    /// How long a session lives.
    pub session_ttl_seconds: u64,
}

/// What an embedding page needs to know: no secret and no workflow id.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicConfig {
    /// Who runs the chat.
    #[schema(example = "hosted")]
    pub mode: &'static str,
    /// Where the page loads chatkit.js from.
    #[schema(example = "https://cdn.platform.openai.com/deployments/chatkit/chatkit.js")]
    pub script_url: String,
    /// In self-hosted mode: what a page passes to ChatKit as `api`, but for its `fetch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiConfig>,
    /// In self-hosted mode: whether speech is turned into text, which is ChatKit's
    /// `composer.dictation.enabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dictation: Option<bool>,
}

/// ChatKit's `CustomApiConfig`, as far as a server can know it. Paths are of this service.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiConfig {
    /// Where the ChatKit protocol is spoken.
    #[schema(example = "/api/chatkit")]
    pub url: &'static str,
    /// With it the widget has OpenAI verify the domain of the page.
    #[schema(example = "domain_pk_localhost_dev")]
    pub domain_key: String,
    /// How files are sent; absent where they are not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_strategy: Option<UploadStrategy>,
}

/// ChatKit's `FileUploadStrategy`.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum UploadStrategy {
    /// A form with the file goes to one address, which answers with the attachment.
    Direct {
        /// That address.
        #[serde(rename = "uploadUrl")]
        #[schema(example = "/api/chatkit/upload")]
        upload_url: &'static str,
    },
}

impl PublicConfig {
    /// The public configuration of hosted mode.
    #[must_use]
    pub fn new(page: &PageConfig) -> Self {
        Self { mode: "hosted", script_url: script_url(page), api: None, dictation: None }
    }

    /// The public configuration of self-hosted mode; `uploads` and `dictation` say whether files
    /// and speech are accepted.
    #[must_use]
    pub fn self_hosted(
        page: &PageConfig,
        domain_key: String,
        uploads: bool,
        dictation: bool,
    ) -> Self {
        let upload_strategy =
            uploads.then_some(UploadStrategy::Direct { upload_url: "/api/chatkit/upload" });
        let api = ApiConfig { url: "/api/chatkit", domain_key, upload_strategy };
        let (script_url, api) = (script_url(page), Some(api));
        Self { mode: "self-hosted", script_url, api, dictation: Some(dictation) }
    }
}

fn script_url(page: &PageConfig) -> String {
    match page.assets {
        Assets::Cdn => format!("{}/{LOADER_PATH}", page.cdn_base.as_str().trim_end_matches('/')),
        Assets::Proxy => format!("{}chatkit.js", assets::PREFIX),
    }
}

/// The built-in page: its files, its settings at `/sample.json`, and a content security policy that
/// fits where chatkit.js comes from.
pub fn sample_page(page: &PageConfig, settings: PageSettings) -> Router {
    let policy = HeaderValue::from_str(&content_security_policy(page)).ok();
    let settings = get(async move || Json(settings));
    FILES.iter().fold(
        Router::new().route("/sample.json", settings),
        |router, (path, content_type, text)| {
            let file = File::new(text, content_type, policy.clone());
            router.route(path, get(async move |headers: HeaderMap| file.answer(&headers)))
        },
    )
}

/// A file of the page, ready to be served.
#[derive(Debug, Clone)]
struct File {
    text: &'static str,
    headers: [(HeaderName, HeaderValue); 3],
    policy: Option<HeaderValue>,
}

impl File {
    fn new(text: &'static str, content_type: &'static str, policy: Option<HeaderValue>) -> Self {
        let etag = format!("\"{}\"", Fingerprint::of(text.as_bytes()).hex());
        let etag = HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\""));
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (ETAG, etag),
        ];
        Self { text, headers, policy }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let known = names_etag(asked, &self.headers[2].1);
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.text.into_response()
        };
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        if let Some(policy) = &self.policy {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy.clone());
        }
        response
    }
}

/// Whether `If-None-Match` names this tag: a list, compared weakly (RFC 9110 section 13.1.2),
/// because a proxy that compresses makes tags weak.
fn names_etag(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let lines = asked.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|tag| {
        let strong = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || strong.as_bytes() == etag.as_bytes()
    })
}

/// The page's own files, ChatKit's script and iframe, OpenAI's API (the widget's requests leave
/// from the page), and nothing else. Styles may be inline because ChatKit's loader puts a style
/// element into its shadow root.
fn content_security_policy(page: &PageConfig) -> String {
    let cdn = match page.assets {
        Assets::Cdn => origin(&page.cdn_base),
        Assets::Proxy => "'self'".to_owned(),
    };
    let and_cdn = |sources: &str| {
        let is_there = sources.split(' ').any(|source| source == cdn);
        if is_there { sources.to_owned() } else { format!("{sources} {cdn}") }
    };
    let (scripts, fonts) = (and_cdn("'self'"), and_cdn("'self' data:"));
    let connections = and_cdn("'self' https://api.openai.com");
    format!(
        "default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; frame-src \
         {cdn}; connect-src {connections}; img-src 'self' data: https:; font-src {fonts}; base-uri \
         'none'; form-action 'none'; frame-ancestors 'self'"
    )
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Assets, PageConfig, PublicConfig, Url};
    use crate::config::service::PageSource;

    #[test]
    fn self_hosted_pages_learn_where_to_chat_and_whether_to_send_files() {
        let cdn_base = Url::parse("https://cdn.example").expect("an address");
        let page = PageConfig { source: PageSource::BuiltIn, assets: Assets::Cdn, cdn_base };
        let config = |uploads| {
            serde_json::to_value(PublicConfig::self_hosted(
                &page,
                "domain_pk_1".to_owned(),
                uploads,
                true,
            ))
            .expect("JSON")
        };
        let mut expected = json!({
            "mode": "self-hosted",
            "scriptUrl": "https://cdn.example/deployments/chatkit/chatkit.js",
            "api": {
                "url": "/api/chatkit",
                "domainKey": "domain_pk_1",
                "uploadStrategy": {"type": "direct", "uploadUrl": "/api/chatkit/upload"},
            },
            "dictation": true,
        });
        assert_eq!(config(true), expected);
        expected["api"].as_object_mut().expect("an object").remove("uploadStrategy");
        assert_eq!(config(false), expected);
    }
}
