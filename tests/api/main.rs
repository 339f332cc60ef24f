//! The service as its clients see it: the real binary over real sockets, and its rooms against real
//! neighbours.
#![cfg(test)]

#[path = "../support/postgres.rs"]
mod postgres;
mod support;

mod access;
mod assets;
mod attachments;
mod chat;
mod check;
mod check_chat;
mod connections;
mod cors;
mod dev;
mod errors;
mod framing;
mod issued;
mod limits;
mod metrics;
mod modes;
mod oidc;
mod openapi;
mod page;
mod process;
mod readme;
mod redis;
mod replicas;
mod request_id;
mod sandbox;
mod secrets;
mod sessions;
mod shutdown;
mod strangers;
mod unread;
