//! Sessions against a scripted upstream: what we send, what comes of each answer, and what nobody may see.

mod deadlines;
mod errors;
mod fixture;
mod flows;
mod requests;
mod retries;
mod secrets;
