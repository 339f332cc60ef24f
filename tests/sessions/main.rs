//! Sessions against a scripted upstream: what we send, what comes of each answer, and what nobody may see.

#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod flows;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod secrets;
#[cfg(test)]
#[path = "../support/upstream.rs"]
mod upstream;
