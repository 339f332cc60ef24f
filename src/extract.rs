//! How do bodies come in and go out? [`JsonBytes`] reads one whole, within a size and a time, and
//! refuses in our own words; [`Json`] answers.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

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
    /// More, if its reader finds in the beginning of the body that it may have them.
    pub exception: Option<Exception>,
}

/// A larger limit.
#[derive(Debug, Clone, Copy)]
pub struct Exception {
    /// What may be so large, with its article.
    pub what: &'static str,
    /// At most so many bytes.
    pub most: usize,
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
        let message = format!(
            "The body may have {kibibytes} KiB{more}. Send only the fields that are documented."
        );
        Error::new(Kind::BodyTooLarge, message)
    }

    fn largest(self) -> usize {
        self.exception.map_or(self.most, |exception| exception.most)
    }
}

/// Reads a body that must be empty or JSON: whole, up to 64 KiB, within 30 seconds.
///
/// # Errors
/// `body_too_large`, `unsupported_media_type`, `request_timeout`, and `invalid_request` for a body
/// that breaks off.
pub async fn read_json(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    let limits = BodyLimits { most: MAX_BODY, exception: None };
    match read_body(headers, body, limits).await? {
        Reading::Whole(body) => Ok(body),
        Reading::Longer(_) => Err(limits.too_large()),
    }
}

/// How far a body was read.
#[derive(Debug)]
pub enum Reading {
    /// To its end.
    Whole(Bytes),
    /// As far as any body may go.
    Longer(Longer),
}

/// A body that is larger than most may be: its beginning, and what is still to come.
#[derive(Debug)]
pub struct Longer {
    beginning: Vec<u8>,
    body: Body,
    announced: Option<usize>,
    limits: BodyLimits,
    until: Instant,
}

/// Like [`read_json`], with limits of the caller's. What is longer than most bodies may be is left
/// to the caller to read on.
///
/// # Errors
/// As for [`read_json`].
pub async fn read_body(
    headers: &HeaderMap,
    body: Body,
    limits: BodyLimits,
) -> Result<Reading, Error> {
    let announced: Option<usize> =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > limits.largest()) {
        return Err(limits.too_large());
    }
    if body.is_end_stream() {
        return Ok(Reading::Whole(Bytes::new()));
    }
    let until = Instant::now() + BODY_DEADLINE;
    let mut longer = Longer { beginning: Vec::new(), body, announced, limits, until };
    let is_whole = longer.read_to(limits.most).await?;
    if !longer.beginning.is_empty() && !is_json(headers) {
        let message = "Send the body as JSON, with `Content-Type: application/json`.";
        return Err(Error::new(Kind::UnsupportedMediaType, message));
    }
    Ok(if is_whole { Reading::Whole(longer.beginning.into()) } else { Reading::Longer(longer) })
}

impl Longer {
    /// What has come of it.
    #[must_use]
    pub fn beginning(&self) -> &[u8] {
        &self.beginning
    }

    /// How many bytes it has at the most.
    #[must_use]
    pub fn at_most(&self) -> usize {
        self.announced.unwrap_or(self.limits.largest())
    }

    /// Reads it to its end, into one buffer that never takes more than [`at_most`](Self::at_most)
    /// bytes.
    ///
    /// # Errors
    /// `body_too_large`, `request_timeout`, and `invalid_request` for a body that breaks off.
    pub async fn read(mut self) -> Result<Vec<u8>, Error> {
        let most = self.at_most();
        self.beginning.reserve_exact(most.saturating_sub(self.beginning.len()));
        if self.beginning.len() > most || !self.read_to(most).await? {
            return Err(self.limits.too_large());
        }
        Ok(self.beginning)
    }

    /// Reads until there are more bytes than these. Whether the body has come to its end before.
    async fn read_to(&mut self, most: usize) -> Result<bool, Error> {
        let late =
            |_| Err(Error::new(Kind::RequestTimeout, "The body took over 30 seconds to arrive."));
        let reading = async {
            while let Some(frame) = self.body.frame().await {
                let broke_off = "The body broke off. Send it again.";
                let frame = frame
                    .map_err(|error| Error::new(Kind::InvalidRequest, broke_off).because(error))?;
                let Ok(data) = frame.into_data() else { continue };
                self.beginning.extend_from_slice(&data);
                if self.beginning.len() > most {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        timeout_at(self.until, reading).await.unwrap_or_else(late)
    }
}

/// `application/json`, in any case and with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
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
        status => {
            Error::internal(format_args!("a file was answered with {status}")).into_response()
        }
    }
}

/// 416, with the `Content-Range` that says how long the file is.
#[must_use]
pub fn out_of_range(headers: &HeaderMap) -> Response {
    let error = Error::new(
        Kind::RangeNotSatisfiable,
        "The file has no such range. Ask for one range within the length that `Content-Range` \
         gives.",
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
            Ok(json) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json)
                .into_response(),
            Err(error) => Error::internal(error).into_response(),
        }
    }
}
