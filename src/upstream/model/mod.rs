//! What is asked of a model, and what comes back? The words that both model APIs are translated
//! into and from: a request, the events of an answer, and what can go wrong; and the client that
//! carries them.

mod client;
mod error;
mod event;
mod patience;
mod request;
mod stream;
mod wire;

pub use client::{ModelClient, ModelSettings};
pub use error::{ModelError, ModelErrorKind};
pub use event::{
    Annotation, ItemId, MessagePart, ModelEvent, PartKind, SearchStatus, Usage, WebSource,
};
pub use request::{
    FunctionTool, ImageDetail, InputItem, InputPart, ModelApi, ModelEndpoint, ModelRequest, Role,
    ToolChoice,
};
pub use stream::ModelStream;

pub(super) use client::endpoint_headers;
pub(super) use error::Trouble;
pub(super) use stream::{Progress, Reader};
pub(super) use wire::{Lenient, WireUsage, arguments, is_truthy, parse};
