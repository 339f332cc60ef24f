//! What do the tests of turns stand on? A service in this process with an agent that does as it is
//! told.

pub(crate) mod client;
pub(crate) mod faulty;
pub(crate) mod parrot;
pub(crate) mod server;
