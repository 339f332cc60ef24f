//! A site's ChatKit backend in one binary: it knows who the user is, keeps the API key, and hands
//! the browser a short-lived client secret. In hosted mode that is one of OpenAI's, and OpenAI runs
//! the chat. In self-hosted mode it is signed here, and the chat is here too: this service speaks
//! the ChatKit protocol, keeps the threads, and asks a model.
//!
//! # The way of a request
//!
//! 1. **Arrive.** [`server`] accepts connections: it has a bound for their number, a deadline for
//!    the head of a request, and a least rate for the client that reads an answer. After a refusal
//!    it reads the rest of the request's body. [`app`] puts the routes and the [`layers`] together.
//!    A request passes the layers in this order: the request's id and its log line; CORS; security
//!    headers; load shedding; panics; the checks of `Host` and `Transfer-Encoding`; the client's
//!    address; the limit by address. The log line of a stream is written at the stream's end.
//! 2. **Who.** [`auth`] turns a header or a cookie into a caller, or into an error. Then the limit
//!    by user ([`limits`]); the chat counts it after the third step, because what costs has another
//!    limit than what reads.
//! 3. **What.** [`extract`] reads the body. [`sessions`] parses the body of a session request,
//!    [`protocol`] parses a request of the chat.
//! 4. **Do.** [`sessions`] asks a [`Mint`](sessions::mint::Mint), which calls OpenAI through
//!    [`upstream`] in hosted mode and signs the client secret itself in self-hosted mode. In hosted
//!    mode a [`Registry`](sessions::registry::Registry) knows whose secret is whose: in this
//!    process, or in Redis through [`redis_link`]. In self-hosted mode the secret says so itself,
//!    and [`Revoked`](store::revoked::Revoked) knows from the database which are no good any more.
//! 5. **Answer.** JSON, or [`error`]: one kind of failure, one status, one shape.
//!
//! # The way of a message
//!
//! In self-hosted mode `POST /api/chatkit` goes on from the second step:
//!
//! 1. [`ChatDoor`](door::ChatDoor) lets in whoever holds a client secret, and every user.
//!    [`chatkit::http`] reads one [`Request`](protocol::Request) of a closed list.
//! 2. A plain one is answered by a function of [`chatkit::ops`], from the [`Store`](store::Store).
//!    A streaming one is checked there and becomes a [`Plan`](chatkit::turn::Plan), or is refused
//!    while that can still be a status.
//! 3. A [`Turn`](chatkit::turn::Turn) carries the plan out, on the task tracker and not in the
//!    request. It takes the thread for itself, over replicas too, and lets an
//!    [`Agent`](agent::Agent) speak. What the agent emits is stored, then said.
//! 4. The built-in agent, [`agent::model`], makes the thread's newest part into the input of a
//!    model, asks it through [`upstream::model`], and makes items of what it says.
//! 5. Clients hear a turn by its [`Feed`](chatkit::feed::Feed), each at its own pace;
//!    [`chatkit::repeats`] finds the feed for a request that comes again. Whatever happens, a
//!    stream has a last event.
//!
//! Files come in and go out by [`chatkit::uploads`], under [`chatkit::links`] that are signed and
//! expire.
//!
//! # What is where
//!
//! Imports point one way: [`cli`] → [`service`] → [`app`] → {[`sessions`], [`chatkit`], [`page`],
//! [`layers`], [`dev`], [`readiness`]} → [`door`] → [`agent`] → {[`upstream`], [`store`], [`auth`],
//! [`limits`]} → {[`extract`], [`lifecycle`], [`openapi`], [`redis_link`]} → [`config`] →
//! [`telemetry`] → {[`clock`], [`error`], [`ids`], [`protocol`], [`user`]}. [`server`] stands beside
//! [`app`] and knows no route. [`sandbox`] plays OpenAI for `dev` and for tests, and knows nothing
//! of the rest.
//!
//! # Embedding
//!
//! [`config::Config::from_vars`] reads a configuration from any look-up, [`service::Service::bind`]
//! puts the service together, [`service::Service::run`] serves until a signal ends it.
//! [`service::Own`] is what a program brings along: an [`Agent`](agent::Agent) of its own in place
//! of a configured one, a [`Store`](store::Store) in place of a database. `examples/assistant` is
//! such a program.

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
pub mod readiness;

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
