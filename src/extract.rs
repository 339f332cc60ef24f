//! How do bodies come in and go out? [`JsonBytes`] reads one whole, within a size and a time, and refuses in our own
//! words; [`Json`] answers.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::time::timeout;

use crate::error::{Error, Kind};

/// The largest body of a session request: 64 KiB.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The bytes of a JSON body that has not been parsed yet. An empty body needs no content type.
#[derive(Debug)]
pub struct JsonBytes(pub Bytes);

impl<S: Sync> FromRequest<S> for JsonBytes {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        read_json(&parts.headers, body).await.map(Self)
    }
}

/// How large a body may be.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// At most so many bytes.
    pub most: usize,
    /// More, if the beginning of the body says that it may have them.
    pub exception: Option<Exception>,
}

/// A larger limit, and what the beginning of a body must be like for it.
#[derive(Debug, Clone, Copy)]
pub struct Exception {
    /// What may be so large, with its article.
    pub what: &'static str,
    /// At most so many bytes.
    pub most: usize,
    /// Whether a body that begins so may have them.
    pub fits: fn(&[u8]) -> bool,
}

impl BodyLimits {
    /// The refusal of a larger body.
    #[must_use]
    pub fn too_large(self) -> Error {
        let kibibytes = self.most / 1024;
        let more = self
            .exception
            .map(|Exception { what, most, .. }| format!(", or {} KiB with {what}", most / 1024));
        let more = more.unwrap_or_default();
        let message =
            format!("The body may have {kibibytes} KiB{more}. Send only the fields that are documented.");
        Error::new(Kind::BodyTooLarge, message)
    }

    /// Whether a body that is so long already may go on.
    fn allow(self, beginning: &[u8], length: usize, is_excepted: &mut Option<bool>) -> bool {
        let Some(Exception { most, fits, .. }) = self.exception else { return length <= self.most };
        length <= self.most || (length <= most && *is_excepted.get_or_insert_with(|| fits(beginning)))
    }
}

/// Reads a body that must be empty or JSON: whole, up to 64 KiB, within 30 seconds.
///
/// # Errors
/// `body_too_large`, `unsupported_media_type`, `request_timeout`, and `invalid_request` for a body that breaks off.
pub async fn read_json(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    read_body(headers, body, BodyLimits { most: MAX_BODY, exception: None }).await
}

/// Like [`read_json`], with limits of the caller's.
///
/// # Errors
/// As for [`read_json`].
pub async fn read_body(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, Error> {
    let announced: Option<usize> =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let most = limits.exception.map_or(limits.most, |exception| exception.most);
    if announced.is_some_and(|length| length > most) {
        return Err(limits.too_large());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let body = timeout(BODY_DEADLINE, collect(body, limits, announced)).await.unwrap_or_else(|_| {
        Err(Error::new(Kind::RequestTimeout, "The body took over 30 seconds to arrive."))
    })?;
    if !body.is_empty() && !is_json(headers) {
        let message = "Send the body as JSON, with `Content-Type: application/json`.";
        return Err(Error::new(Kind::UnsupportedMediaType, message));
    }
    Ok(body)
}

async fn collect(mut body: Body, limits: BodyLimits, announced: Option<usize>) -> Result<Bytes, Error> {
    let mut collected = Vec::new();
    let mut is_excepted = None;
    while let Some(frame) = body.frame().await {
        let broke_off = "The body broke off. Send it again.";
        let frame = frame.map_err(|error| Error::new(Kind::InvalidRequest, broke_off).because(error))?;
        let Ok(data) = frame.into_data() else { continue };
        if !limits.allow(&collected, collected.len() + data.len(), &mut is_excepted) {
            return Err(limits.too_large());
        }
        make_room(&mut collected, data.len(), limits.most, announced);
        collected.extend_from_slice(&data);
    }
    Ok(collected.into())
}

/// Room for more bytes. One that has sent more than `usual` has shown that it means it: it gets what it announced at once,
/// because a buffer that doubles takes twice the bytes.
fn make_room(collected: &mut Vec<u8>, more: usize, usual: usize, announced: Option<usize>) {
    let needed = collected.len() + more;
    if needed > collected.capacity() {
        let doubled = needed.max(2 * collected.capacity());
        let wanted = announced.filter(|announced| needed > usual && *announced >= needed).unwrap_or(doubled);
        collected.reserve_exact(wanted - collected.len());
    }
}

/// `application/json`, in any case and with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// What the file server refuses, in our words. `missing` is the answer where there is no such file.
#[must_use]
pub fn refused_file(status: StatusCode, headers: &HeaderMap, missing: Error) -> Response {
    match status {
        StatusCode::NOT_FOUND => missing.into_response(),
        StatusCode::RANGE_NOT_SATISFIABLE => out_of_range(headers),
        StatusCode::PRECONDITION_FAILED => Error::new(
            Kind::PreconditionFailed,
            "The file is not the one that the request's conditions name. Ask again without them.",
        )
        .into_response(),
        status => Error::internal(format_args!("a file was answered with {status}")).into_response(),
    }
}

/// 416, with the `Content-Range` that says how long the file is.
#[must_use]
pub fn out_of_range(headers: &HeaderMap) -> Response {
    let error = Error::new(
        Kind::RangeNotSatisfiable,
        "The file has no such range. Ask for one range within the length that `Content-Range` gives.",
    );
    let mut response = error.into_response();
    if let Some(range) = headers.get(CONTENT_RANGE) {
        response.headers_mut().insert(CONTENT_RANGE, range.clone());
    }
    response
}

/// A JSON answer.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(json) => {
                ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
            }
            Err(error) => Error::internal(error).into_response(),
        }
    }
}
