//! The files of messages: taken in, given back, thrown away.

mod downloads;
mod forms;
mod images;
mod lives;
mod room;
mod strangers;
mod uploads;
