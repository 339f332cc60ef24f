//! How is a model asked through the Responses API (`POST {base}/responses`), and what do the events
//! of its stream mean?

mod body;
mod events;
mod items;

pub(super) use body::body;
pub(super) use events::EventReader;
