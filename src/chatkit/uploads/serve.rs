//! How does a file go out? From disk, in ranges too, with headers that keep a browser from running
//! any of it.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::{kind, name};
use crate::error::Error;
use crate::extract::refused_file;
use crate::protocol::Attachment;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// Answers GET and HEAD with a file. A browser may keep it for `keep`; without that it asks again
/// each time. `missing` is the answer when the bytes are not there.
pub(super) async fn serve(
    request: Request,
    path: &Path,
    attachment: &Attachment,
    keep: Option<Duration>,
    missing: Error,
) -> Result<Response, Error> {
    let text = |text: String| HeaderValue::try_from(text).map_err(Error::internal);
    let media_type = text(attachment.mime_type.clone())?;
    let place = if kind::is_shown(&attachment.mime_type) { "inline" } else { "attachment" };
    let disposition = text(name::disposition(place, &attachment.name))?;
    let cache = text(match keep {
        Some(keep) => format!("private, max-age={}", keep.as_secs()),
        None => "private, no-cache".to_owned(),
    })?;

    let answer = match ServeFile::new(path).oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    if answer.status().is_client_error() || answer.status().is_server_error() {
        return Ok(refused_file(answer.status(), answer.headers(), missing));
    }
    let mut response = answer.map(Body::new);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONTENT_DISPOSITION, disposition);
    headers.insert(CACHE_CONTROL, cache);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    // The widget is a page of another site.
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    Ok(response)
}
