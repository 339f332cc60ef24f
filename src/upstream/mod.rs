//! How do we speak to OpenAI, and to servers of models that speak like it? Pooled connections with
//! deadlines, retries and size caps, and the calls that go through them.

mod completions;
pub mod error;
pub mod http;
mod link;
pub mod model;
pub mod redact;
mod responses;
mod retry;
pub mod sessions;
pub mod sse;
pub mod transcriptions;

pub use error::Error;
pub use http::Client;
pub use link::{BuildError, Call};
pub use retry::Deadline;
