//! The chat of self-hosted mode as its clients see it: the real binary, with a real database, and a model that does as it is told.

#[path = "../../turns/support/client.rs"]
mod client;
mod model;
mod setting;

mod client_tools;
mod crashes;
mod cuts;
mod dictation;
mod failures;
mod fairness;
mod history;
mod metrics;
mod refusals;
mod replicas;
mod retention;
mod slow_reader;
mod streams;

// The client is shared with the tests of turns, whose servers have this key in a room of this name.
use crate::support::server;
