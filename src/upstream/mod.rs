//! How do we speak to OpenAI? One pooled client with a deadline, retries and a size cap, and the calls that go through it.

pub mod error;
pub mod http;
pub mod redact;
mod retry;
pub mod sessions;

pub use error::Error;
pub use http::{BuildError, Call, Client};
pub use retry::Deadline;
