//! The service as its clients see it: the real binary over real sockets, and its rooms against real neighbours.
#![cfg(test)]

mod support;

mod cors;
mod errors;
mod limits;
mod metrics;
mod openapi;
mod process;
mod redis;
mod sandbox;
mod sessions;
mod shutdown;
mod strangers;
