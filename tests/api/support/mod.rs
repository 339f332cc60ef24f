//! What the tests share: the real binary as a server, a scripted upstream, tokens.

pub mod server;
pub mod tokens;
