//! Who is let in, and who is not: the authenticator against real tokens, real cookies and a real
//! server of keys.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails, also in the functions that tests share"
)]

mod algorithms;
mod attacks;
mod config;
mod cookies;
mod credentials;
mod discovery;
mod fetched;
mod support;
