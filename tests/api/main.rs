//! The service as its clients see it: the real binary over real sockets.

mod support;

mod cors;
mod errors;

mod metrics;
mod openapi;
mod process;

mod shutdown;
mod strangers;
