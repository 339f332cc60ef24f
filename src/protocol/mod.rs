//! What goes over the wire? The ChatKit protocol's requests, objects and events: types alone, no
//! I/O.
//!
//! The source is what `openai-chatkit` 1.6 speaks. Fields that are null are left out, fields that
//! have a default are there, and what a request has besides is ignored.

mod attachment;
mod content;
mod depth;
mod event;
mod item;
mod lax;
mod name;
pub mod objects;
mod params;
mod request;
mod speech;
mod thread;
mod time;
mod workflow;

use std::sync::Arc;

pub use attachment::*;
pub use content::*;
pub use depth::*;
pub use event::*;
pub use item::*;
pub use params::*;
pub use request::*;
pub use thread::*;
pub use time::*;
pub use workflow::*;

/// The id of a thread, an item or an attachment: opaque to everybody.
pub type Id = Arc<str>;
