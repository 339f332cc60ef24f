//! Who is let in, and who is not: the authenticator against real tokens, real cookies and a real server of keys.

mod attacks;
mod config;
mod cookies;
mod credentials;
mod fetched;
mod support;
