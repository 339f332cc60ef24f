//! A ChatKit backend in one binary.

pub mod clock;
pub mod sandbox;
