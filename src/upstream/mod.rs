//! How do we speak to OpenAI, and to servers of models that speak like it? Pooled connections with deadlines, retries and
//! size caps, and the calls that go through them.

pub mod error;
pub mod http;
mod link;
pub mod redact;
mod retry;
pub mod sessions;
pub mod sse;

pub use error::Error;
pub use http::Client;
pub use link::{BuildError, Call};
pub use retry::Deadline;
