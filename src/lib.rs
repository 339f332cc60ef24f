//! A ChatKit backend in one binary.

pub mod auth;
pub mod clock;
pub mod config;
pub mod error;
pub mod limits;
pub mod redis_link;
pub mod sandbox;
pub mod sessions;
pub mod telemetry;
pub mod upstream;
pub mod user;
