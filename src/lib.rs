//! A site's ChatKit backend in one binary: it knows who the user is, keeps the API key, and hands the browser a
//! short-lived client secret.
//!
//! # The way of a request
//!
//! 1. **Arrive.** [`server`] accepts, within a cap and with a deadline for the head. [`app`] holds every route and every
//!    layer on one screen; the [`layers`] themselves have a file each. The outermost gives the request its id, writes
//!    the body of an error and the one log line; then come panics, CORS, security headers, load shedding, the client's
//!    address, and the limit by address.
//! 2. **Who.** [`auth`] turns a header or a cookie into a caller, or into an error. Then the limit by user ([`limits`]).
//! 3. **What.** [`extract`] reads a small body whole; [`sessions`] makes sense of it.
//! 4. **Do.** [`sessions`] asks a [`Mint`](sessions::mint::Mint), which calls OpenAI through [`upstream`] in hosted mode
//!    and signs the client secret itself in self-hosted mode, and a [`Registry`](sessions::registry::Registry), which
//!    knows whose secret is whose: in this process, or in Redis through [`redis_link`]. Whoever then comes with a client
//!    secret that was signed here passes the [`ChatDoor`](door::ChatDoor).
//! 5. **Answer.** JSON, or [`error`]: one kind of failure, one status, one shape.
//!
//! # What is where
//!
//! Imports point one way: [`cli`] → [`service`] → [`app`] → {[`sessions`], [`page`], [`layers`], [`dev`]} → {[`auth`],
//! [`limits`], [`upstream`], [`redis_link`], [`extract`], [`telemetry`], [`lifecycle`]} → {[`config`], [`user`],
//! [`clock`], [`error`]}. [`sandbox`] plays OpenAI for `dev` and for tests, and knows nothing of the rest.
//!
//! # Embedding
//!
//! [`config::Config::from_vars`] reads a configuration from any look-up, [`service::Service::bind`] puts the service
//! together, [`service::Service::run`] serves until a signal ends it.

pub mod cli;

pub mod app;
pub mod server;
pub mod service;

pub mod chatkit;
pub mod layers;
pub mod sessions;

pub mod dev;
pub mod door;
pub mod page;

pub mod agent;

pub mod auth;
pub mod limits;
pub mod redis_link;
pub mod store;
pub mod upstream;

pub mod extract;
pub mod lifecycle;
pub mod openapi;
pub mod telemetry;

pub mod clock;
pub mod config;
pub mod error;
pub mod ids;
pub mod protocol;
pub mod user;

pub mod sandbox;
