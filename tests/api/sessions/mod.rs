//! Sessions against a scripted upstream: what we send, what comes of each answer, and what nobody
//! may see.

mod chat_door;
mod deadlines;
mod errors;
mod fixture;
mod flows;
mod holders;
mod requests;
mod retries;
mod revocations;
mod secrets;
mod signed;
