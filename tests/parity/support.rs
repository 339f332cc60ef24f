//! What these tests share with those of the API: the real binary as a server, and tokens.

#[path = "../api/support/server.rs"]
#[expect(dead_code, reason = "the tests of the API need more of it")]
pub(crate) mod server;
#[path = "../api/support/tokens.rs"]
pub(crate) mod tokens;
