//! What do we say about ourselves? Logs, metrics, and what is known of the request that is under
//! way.

pub mod logs;
pub mod metrics;
pub mod request;
