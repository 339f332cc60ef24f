//! What the tests share: the real binary as a server, a scripted upstream, tokens.

pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod tokens;
pub(crate) mod upstream;
