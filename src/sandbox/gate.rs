//! May this request come in, and what stands on its way out? The key, the headers, and the paths
//! that do not exist.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use axum::body::{self, Body};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::error::ApiError;

const BETA: HeaderName = HeaderName::from_static("openai-beta");
const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const VERSION: HeaderName = HeaderName::from_static("openai-version");

/// The largest body that is read, in bytes; OpenAI's general limit.
pub(super) const MAX_BODY: usize = 26_214_400;
/// The largest body that a model gets, with images and files in it, in bytes.
pub(super) const MAX_MODEL_BODY: usize = 64 * 1024 * 1024;
/// How long a body may take to arrive.
pub(super) const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Marks a response that something before OpenAI gave: it gets none of OpenAI's headers.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotFromOpenAi;

/// The way in and out of every request: its key is checked before anything else is looked at, and
/// its answer carries the headers that OpenAI's do.
pub(super) async fn pass(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let organization = request.headers().get(ORGANIZATION).cloned();
    let mut response = match check_key(request.headers(), request.uri().path()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if response.extensions().get::<NotFromOpenAi>().is_none() {
        let id = request_id();
        tracing::debug!(status = response.status().as_u16(), request_id = ?id, "sandbox answered");
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        headers.insert(VERSION, HeaderValue::from_static("2020-10-01"));
        headers
            .insert(ORGANIZATION, organization.unwrap_or(HeaderValue::from_static("org-sandbox")));
        let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        headers.insert(PROCESSING_MS, elapsed.into());
    }
    response
}

/// The answer on every path that is not in the router.
pub(super) async fn refuse_path(method: Method, uri: Uri) -> ApiError {
    unknown_path(&method, &uri)
}

/// OpenAI's words for a path that does not exist.
pub(super) fn unknown_path(method: &Method, uri: &Uri) -> ApiError {
    ApiError::invalid(StatusCode::NOT_FOUND, format!("Invalid URL ({method} {})", uri.path()))
}

/// The answer on a path of the router under another method; the router adds `Allow`.
pub(super) async fn refuse_method() -> ApiError {
    ApiError::invalid(StatusCode::METHOD_NOT_ALLOWED, "Only POST requests are accepted.")
        .code("method_not_supported")
}

/// Every ChatKit operation needs the beta header, whose value may be a list.
pub(super) fn check_beta(headers: &HeaderMap) -> Result<(), ApiError> {
    let named = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|list| list.split(',').any(|beta| beta.trim() == "chatkit_beta=v1"))
    };
    if headers.get_all(BETA).iter().any(named) {
        return Ok(());
    }
    let message = "You must provide the 'OpenAI-Beta' header to access the ChatKit API. Please try \
                   again by setting the header 'OpenAI-Beta: chatkit_beta=v1'.";
    Err(ApiError::invalid(StatusCode::BAD_REQUEST, message).code("invalid_beta"))
}

/// The whole body of a request that says it is JSON, up to so many bytes.
pub(super) async fn read_json(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, ApiError> {
    check_content_type(headers, "application/json")?;
    match tokio::time::timeout(BODY_DEADLINE, body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(ApiError::too_large(limit)),
        Err(_) => Err(ApiError::too_slow()),
    }
}

/// A new id: the prefix, and more random digits than can be guessed.
pub(super) fn new_id(prefix: &str) -> String {
    let mut id = prefix.to_owned();
    HEXLOWER.encode_append(&random::<16>(), &mut id);
    id
}

/// Fills a buffer from the system's generator.
#[expect(
    clippy::expect_used,
    reason = "without randomness there are no ids, and nothing to go on with"
)]
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("aws-lc ends the process rather than run out of randomness");
    bytes
}

fn check_key(headers: &HeaderMap, path: &str) -> Result<(), ApiError> {
    let Some(key) = headers.get(header::AUTHORIZATION).and_then(bearer) else {
        return Err(ApiError::invalid(
            StatusCode::UNAUTHORIZED,
            "You didn't provide an API key. You need to provide your API key in an Authorization \
             header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API \
             key from https://platform.openai.com/account/api-keys.",
        ));
    };
    if key == "sk-forbidden" {
        let scope =
            if path.starts_with("/v1/chatkit") { "api.chatkit.write" } else { "model.request" };
        let message = format!(
            "You have insufficient permissions for this operation. Missing scopes: {scope}. Check \
             that you have the correct role in your organization (Reader, Writer, Owner) and \
             project (Member, Owner), and if you're using a restricted API key, that it has the \
             necessary scopes."
        );
        return Err(ApiError::invalid(StatusCode::FORBIDDEN, message).code("missing_scope"));
    }
    if key == "sk-revoked" || key.len() <= 3 || !key.starts_with("sk-") {
        let message = format!(
            "Incorrect API key provided: {}. You can find your API key at \
             https://platform.openai.com/account/api-keys.",
            masked(key)
        );
        return Err(ApiError::invalid(StatusCode::UNAUTHORIZED, message).code("invalid_api_key"));
    }
    Ok(())
}

/// The credential of `Bearer <credential>`; the scheme's name has no case (RFC 9110, 11.1).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

/// A key as OpenAI repeats it: both ends, stars between. One that is too short for that shows its
/// first three characters at most. Header values are ASCII here, so that any byte is a boundary.
fn masked(key: &str) -> String {
    let (head, tail) = if key.len() > 24 { (8, 4) } else { (key.len().min(3), 0) };
    let hidden = key.len() - head - tail;
    format!("{}{}{}", &key[..head], "*".repeat(hidden), &key[key.len() - tail..])
}

/// The body must be said to be of this type.
pub(super) fn check_content_type(headers: &HeaderMap, expected: &str) -> Result<(), ApiError> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .map_or(Cow::Borrowed(""), |value| String::from_utf8_lossy(value.as_bytes()));
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let message = format!(
        "Unsupported content type: '{given}'. This API method only accepts '{expected}' requests, \
         but you specified the header 'Content-Type: {given}'. Please try again with a supported \
         content type."
    );
    Err(ApiError::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
        .code("unsupported_content_type"))
}

#[expect(clippy::expect_used, reason = "the text is made of letters and digits")]
fn request_id() -> HeaderValue {
    let mut text = *b"req_................................";
    HEXLOWER.encode_mut(&random::<16>(), &mut text[4..]);
    HeaderValue::from_bytes(&text).expect("hex digits are a valid header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_key_shows_its_ends_and_hides_the_rest() {
        assert_eq!(masked("pk-proj-0123456789abcdefWXYZ"), "pk-proj-****************WXYZ");
        assert_eq!(masked("sk-revoked"), "sk-*******");
        assert_eq!(masked("ab"), "ab");
    }

    #[test]
    fn a_bearer_key_is_found_whatever_the_case_of_its_scheme() {
        for (value, key) in [
            ("Bearer sk-1", Some("sk-1")),
            ("bearer  sk-1", Some("sk-1")),
            ("Basic sk-1", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("sk-1", None),
        ] {
            assert_eq!(bearer(&HeaderValue::from_static(value)), key, "{value}");
        }
    }
}
