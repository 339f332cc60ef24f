//! Does the built-in agent answer? As a library, with a scripted server of models on a real socket
//! and a database in memory.
#![cfg(test)]

mod example;
mod failures;
mod files;
mod requests;
mod server_tools;
mod setup;
mod titles;
mod widgets;
