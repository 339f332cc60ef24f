//! A handler that panics answers 500 like any other fault, and the process goes on.

use std::panic::AssertUnwindSafe;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use crate::error::{Error, panic_text};

/// The answer, or a 500 where there was to be one. The panic's own text goes to the log, never to
/// the client.
pub async fn caught(answer: impl Future<Output = Response>) -> Response {
    // What a handler shares with others is behind locks that shrug off a panic, or is not shared at
    // all.
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|payload| {
        Error::internal(format_args!("panic: {}", panic_text(&*payload))).into_response()
    })
}
