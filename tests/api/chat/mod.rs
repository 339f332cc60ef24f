//! The chat of self-hosted mode as its clients see it: the real binary, with a real database, and a
//! model that does as it is told.

#[path = "../../turns/support/client.rs"]
mod client;
mod model;
mod setting;

mod agents;
mod arrays;
mod bounds;
mod client_tools;
mod crashes;
mod cuts;
mod database_file;
mod dictation;
mod endless;
mod failures;
mod fairness;
mod full_disk;
mod history;
mod interrupted;
mod long;
mod metrics;
mod outages;
mod refusals;
mod replicas;
mod retention;
mod rolling;
mod slow_reader;
mod streams;
mod usage;

// The client is shared with the tests of turns, whose servers have this key in a room of this name.
use crate::support::server;
