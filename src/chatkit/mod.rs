//! The chat itself, in self-hosted mode: what the ChatKit protocol asks for, done here.

pub mod links;
pub mod transcribe;
pub mod uploads;
