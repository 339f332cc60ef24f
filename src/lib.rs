//! A ChatKit backend in one binary.

pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dev;
pub mod error;
pub mod extract;
pub mod layers;
pub mod lifecycle;
pub mod limits;
pub mod openapi;
pub mod page;
pub mod redis_link;
pub mod sandbox;
pub mod server;
pub mod service;
pub mod sessions;
pub mod telemetry;
pub mod upstream;
pub mod user;
