//! The files of messages: taken in, given back, thrown away.

mod downloads;
mod forms;
mod images;
mod lives;
mod quota;
mod room;
mod strangers;
mod uploads;
