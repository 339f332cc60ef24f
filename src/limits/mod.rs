//! How often may they ask? Limits per client address and per user.

pub mod client_ip;
mod hop;
