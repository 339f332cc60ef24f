//! How are an issuer's keys fetched? By one small HTTP client with deadlines and a size cap, which
//! follows redirects on the same host alone.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use reqwest::{Client, Proxy, Response, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::Error;
use super::jwks::Document;
use crate::config::auth::{is_loopback, key_url};
use crate::protocol::objects;

const MAX_BYTES: usize = 1024 * 1024;
const MAX_REDIRECTS: usize = 3;

/// Builds the client. `proxy` is for https alone; without it no proxy is used, whatever the system
/// says.
pub(super) fn build_client(proxy: Option<&Url>, deadline: Duration) -> Result<Client, Error> {
    let same_host = redirect::Policy::custom(|attempt| {
        let first = attempt.previous().first().map(Url::origin);
        if attempt.previous().len() <= MAX_REDIRECTS && first == Some(attempt.url().origin()) {
            attempt.follow()
        } else {
            attempt.stop()
        }
    });
    let client = Client::builder()
        .no_proxy()
        .redirect(same_host)
        .connect_timeout(deadline)
        .timeout(deadline)
        .referer(false)
        .user_agent(concat!("chatkit-server/", env!("CARGO_PKG_VERSION")));
    let client = match proxy {
        Some(proxy) => {
            client.proxy(Proxy::https(proxy.clone()).map_err(|error| client_error(&error))?)
        }
        None => client,
    };
    client.build().map_err(|error| client_error(&error))
}

fn client_error(error: &reqwest::Error) -> Error {
    Error::Client(root_cause(error).into())
}

/// Where keys are.
#[derive(Debug)]
pub(super) enum Place {
    /// At this address.
    Jwks(Url),
    /// Where the issuer's OpenID configuration says. The address is kept, and looked up again when
    /// it fails.
    Issuer { issuer: String, jwks: Option<Url> },
}

/// What an issuer answered.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) document: Document,
    /// How long the issuer says that the keys may be kept.
    pub(super) max_age: Option<Duration>,
}

/// Why there are no new keys. The words go to the log; no address is in them, because it may hold a
/// password.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it could not be reached: {0}")]
    Unreachable(Arc<str>),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("its answer is larger than 1 MiB")]
    TooLarge,
    #[error("its answer is not {0}")]
    Malformed(&'static str),
    #[error("its JWKS lists no keys")]
    NoKeys,
    #[error("none of the keys in its JWKS can be used")]
    NoUsableKeys,
    #[error("its OpenID configuration names another issuer")]
    OtherIssuer,
    #[error("its OpenID configuration has a jwks_uri that is not https")]
    UnsafeAddress,
}

#[derive(Deserialize)]
struct OpenIdConfiguration {
    issuer: String,
    jwks_uri: String,
}

impl Place {
    /// Fetches the keys, and before that the address they are at, if it is not known.
    pub(super) async fn fetch(&mut self, client: &Client) -> Result<Fetched, FetchError> {
        match self {
            Self::Jwks(url) => fetch_keys(client, url.clone()).await,
            Self::Issuer { issuer, jwks } => {
                if let Some(url) = jwks.clone()
                    && let Ok(fetched) = fetch_keys(client, url).await
                {
                    return Ok(fetched);
                }
                // The issuer may have moved its keys.
                let url = discover(client, issuer).await?;
                let fetched = fetch_keys(client, url.clone()).await?;
                *jwks = Some(url);
                Ok(fetched)
            }
        }
    }
}

/// The `jwks_uri` of an issuer (OpenID Connect Discovery 1.0, section 4).
async fn discover(client: &Client, issuer: &str) -> Result<Url, FetchError> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let address = Url::parse(&address).map_err(|_| FetchError::UnsafeAddress)?;
    let may_be_plain = address.scheme() == "http" && is_loopback(&address);
    let answer = get(client, address).await?;
    let configuration: OpenIdConfiguration = read_json(answer, "an OpenID configuration").await?;
    if configuration.issuer != issuer {
        return Err(FetchError::OtherIssuer);
    }
    key_url(&configuration.jwks_uri)
        .filter(|url| url.scheme() == "https" || may_be_plain)
        .ok_or(FetchError::UnsafeAddress)
}

async fn fetch_keys(client: &Client, url: Url) -> Result<Fetched, FetchError> {
    let answer = get(client, url).await?;
    let cache_control = answer.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let max_age = cache_control.and_then(max_age);
    let document: Document = read_json(answer, "a JWKS").await?;
    if document.is_empty() { Err(FetchError::NoKeys) } else { Ok(Fetched { document, max_age }) }
}

async fn get(client: &Client, url: Url) -> Result<Response, FetchError> {
    let answer = client.get(url).header("accept", "application/json").send().await;
    let answer = answer.map_err(|error| unreachable(&error))?;
    if answer.status() == StatusCode::OK {
        Ok(answer)
    } else {
        Err(FetchError::Status(answer.status()))
    }
}

async fn read_json<T: DeserializeOwned>(
    mut answer: Response,
    what: &'static str,
) -> Result<T, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    objects::from_slice(&body).map_err(|_| FetchError::Malformed(what))
}

fn unreachable(error: &reqwest::Error) -> FetchError {
    let cause = if error.is_timeout() { "it took too long".to_owned() } else { root_cause(error) };
    FetchError::Unreachable(cause.into())
}

/// The innermost cause: the outer ones repeat the address.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // An error without a cause is reqwest's own, and may hold the address.
    if cause.is::<reqwest::Error>() { "the request failed".to_owned() } else { cause.to_string() }
}

/// The `max-age` of a `Cache-Control` line.
fn max_age(cache_control: &str) -> Option<Duration> {
    let mut directives =
        cache_control.split(',').filter_map(|directive| directive.trim().split_once('='));
    let (_, seconds) = directives.find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))?;
    seconds.trim().trim_matches('"').parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_found_among_other_directives() {
        assert_eq!(max_age("public, Max-Age=60, must-revalidate"), Some(Duration::from_secs(60)));
        assert_eq!(max_age("max-age=\"60\""), Some(Duration::from_secs(60)));
        for none in ["", "no-store", "s-maxage=60", "max-age", "max-age=-1", "max-age=x"] {
            assert_eq!(max_age(none), None, "{none:?}");
        }
    }
}
