//! The files of messages: taken in, given back, thrown away.

mod downloads;
mod forms;
mod lives;
mod room;
mod uploads;
