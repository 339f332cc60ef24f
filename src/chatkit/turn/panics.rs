//! What if something panics while a turn runs? That is a failure like others: the turn goes on to
//! its end.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::error::panic_text;

/// What some work comes to, or what its panic said. It is no `async fn`, which would keep room for
/// the work twice.
pub(super) fn caught<T>(work: impl Future<Output = T>) -> impl Future<Output = Result<T, String>> {
    // What a turn shares with others is behind locks that shrug off a panic. What is its own is not
    // used on after one, but to give it back.
    let outcome = AssertUnwindSafe(work).catch_unwind();
    outcome.map(|outcome| outcome.map_err(|payload| format!("panic: {}", panic_text(&*payload))))
}
