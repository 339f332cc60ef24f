//! Where do we listen and how do we behave as a service? Address, logs, CORS, page, metrics,
//! shutdown.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use url::Url;

use super::env::Vars;
use super::origins::{Origin, OriginList};
use crate::telemetry::logs::LogFormat;

/// Where to listen and how to behave as a service.
#[derive(Debug)]
pub struct ServiceConfig {
    /// `HOST`: an address or a host name; `0.0.0.0` by default.
    pub host: String,
    /// `PORT`: 8080 by default; 0 takes a free one.
    pub port: u16,
    /// `RUST_LOG`: what is logged; `info` by default.
    pub log_filter: String,
    /// `LOG_FORMAT`: unset means text on a terminal and JSON elsewhere.
    pub log_format: Option<LogFormat>,
    /// `CORS_ALLOWED_ORIGINS`: which pages may call from a browser; none by default.
    pub origins: OriginList,
    /// `SHUTDOWN_GRACE_SECONDS`: how long open requests may take to finish; 25 by default.
    pub shutdown_grace: Duration,
    /// `METRICS_ADDR`: where Prometheus may scrape, and health is asked for too; nowhere by
    /// default.
    pub metrics: Option<SocketAddr>,
    /// The sample page and the way to chatkit.js.
    pub page: PageConfig,
}

/// The sample page and the way to chatkit.js.
#[derive(Debug, Clone)]
pub struct PageConfig {
    /// `STATIC_DIR`: what is served at `/`.
    pub source: PageSource,
    /// `CHATKIT_ASSETS`: who serves chatkit.js.
    pub assets: Assets,
    /// `CHATKIT_CDN_BASE`, without a final slash: `https://cdn.platform.openai.com` by default.
    pub cdn_base: Url,
}

/// What is served at `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageSource {
    /// The built-in sample page.
    BuiltIn,
    /// A folder of the operator's.
    Folder(PathBuf),
    /// Nothing.
    Off,
}

/// Who serves chatkit.js and its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assets {
    /// OpenAI's CDN.
    Cdn,
    /// This service, which fetches them from the CDN.
    Proxy,
}

impl ServiceConfig {
    /// Reads the subject's variables; what is wrong with them is noted in `vars`.
    pub fn from_vars(vars: &Vars<'_>) -> Self {
        Self {
            host: host(vars),
            port: port(vars),
            log_filter: vars.or(
                "RUST_LOG",
                "info".to_owned(),
                "a level, or a list of module=level",
                |text| EnvFilter::try_new(text).ok().map(|_| text.to_owned()),
            ),
            log_format: vars.optional("LOG_FORMAT", "`text` or `json`", |text| match text {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            }),
            origins: origins(vars),
            shutdown_grace: Duration::from_secs(vars.number(
                "SHUTDOWN_GRACE_SECONDS",
                25,
                0..=3600,
            )),
            metrics: metrics(vars),
            page: page(vars),
        }
    }
}

/// `HOST`: an address without brackets, or a name; `0.0.0.0` by default.
pub fn host(vars: &Vars<'_>) -> String {
    vars.or("HOST", "0.0.0.0".to_owned(), "an IP address or a host name", parse_host)
}

/// `PORT`: 8080 by default.
pub fn port(vars: &Vars<'_>) -> u16 {
    vars.or("PORT", 8080, "a whole number from 0 to 65535", |text| text.parse().ok())
}

/// `METRICS_ADDR`: nowhere by default.
pub fn metrics(vars: &Vars<'_>) -> Option<SocketAddr> {
    vars.optional("METRICS_ADDR", "an address and port like 127.0.0.1:9090", |text| {
        text.parse().ok()
    })
}

/// An IP address (IPv6 with or without brackets), or a name of letters, digits, dots and hyphens.
fn parse_host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let numeric = bare.chars().all(|c| c.is_ascii_digit() || c == '.');
    let name = !numeric && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    (bare.parse::<IpAddr>().is_ok() || name).then(|| bare.to_owned())
}

fn origins(vars: &Vars<'_>) -> OriginList {
    const NAME: &str = "CORS_ALLOWED_ORIGINS";
    let mut origins = Vec::new();
    for item in vars.list(NAME) {
        match Origin::parse(&item) {
            Ok(origin) => origins.push(origin),
            Err(reason) => vars.problem(NAME, reason),
        }
    }
    OriginList::new(origins)
}

fn page(vars: &Vars<'_>) -> PageConfig {
    let source =
        vars.or("STATIC_DIR", PageSource::BuiltIn, "`off` or a folder that exists", |text| {
            match text {
                "off" => Some(PageSource::Off),
                path => std::fs::canonicalize(path)
                    .ok()
                    .filter(|path| path.is_dir())
                    .map(PageSource::Folder),
            }
        });
    let assets = vars.or("CHATKIT_ASSETS", Assets::Cdn, "`cdn` or `proxy`", |text| match text {
        "cdn" => Some(Assets::Cdn),
        "proxy" => Some(Assets::Proxy),
        _ => None,
    });
    let default = "https://cdn.platform.openai.com";
    let text = vars.text("CHATKIT_CDN_BASE").unwrap_or_else(|| default.to_owned());
    let base = Url::parse(text.trim_end_matches('/')).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if base.is_none() {
        vars.problem(
            "CHATKIT_CDN_BASE",
            format!("must be an http or https address like {default}"),
        );
    }
    #[expect(clippy::expect_used, reason = "a constant that parses")]
    let cdn_base = base.unwrap_or_else(|| Url::parse(default).expect("the default is an address"));
    PageConfig { source, assets, cdn_base }
}
