//! How do turns behave? Over real sockets, with an agent of the tests' own: what is said, what is
//! kept, and what becomes of a turn when clients leave, repeat themselves, or the service ends.
#![cfg(test)]

mod actions;
mod answers;
mod cuts;
mod depth;
mod elsewhere;
mod faults;
mod files;
mod images;
mod owners;
mod panics;
mod repeats;
mod support;
