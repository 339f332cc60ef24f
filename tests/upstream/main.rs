//! Does the way to the model hold? The adapters as a library, against a scripted server of models
//! on a real socket.
#![cfg(test)]

mod agents;
mod bodies;
mod bounds;
mod completions;
mod failures;
mod responses;
mod server;
mod streams;
mod support;
mod transcriptions;
