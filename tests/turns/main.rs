//! How do turns behave? Over real sockets, with an agent of the tests' own: what is said, what is kept, and what becomes of a turn when
//! clients leave, repeat themselves, or the service ends.
#![cfg(test)]

mod answers;
mod cuts;
mod faults;
mod files;
mod images;
mod owners;
mod repeats;
mod support;
