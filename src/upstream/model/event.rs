//! What does a model say while it answers? One closed list, whichever API it was asked through.
//!
//! Events are keyed by the model's own `item_id`, and within an item by `content_index` or
//! `summary_index`. Those ids are names within one answer: chat completions have none, and the
//! adapter counts.

use std::sync::Arc;

use serde_json::{Map, Value};

/// The model's name for an item of its answer; shared, because each event carries it.
pub type ItemId = Arc<str>;

/// One step of an answer. An answer that ends well ends with [`Completed`](Self::Completed).
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "the fields are named alike in all variants and described above the list or by their \
              types"
)]
pub enum ModelEvent {
    /// A message begins; its parts, normally none yet.
    MessageAdded { item_id: ItemId, parts: Vec<MessagePart> },
    /// A part of a message begins; its text, normally none yet.
    PartAdded { item_id: ItemId, content_index: usize, kind: PartKind, text: String },
    /// A piece of a text part, never empty.
    TextDelta { item_id: ItemId, content_index: usize, delta: String },
    /// A source of what a text part says. Kinds that ChatKit can't show have been left out.
    Annotation { item_id: ItemId, content_index: usize, annotation: Annotation },
    /// A text part is whole.
    TextDone { item_id: ItemId, content_index: usize, text: String },
    /// A piece of a refusal, never empty.
    RefusalDelta { item_id: ItemId, content_index: usize, delta: String },
    /// A message is whole: everything that it says, in order.
    MessageDone { item_id: ItemId, parts: Vec<MessagePart> },
    /// The model begins to think.
    ReasoningAdded { item_id: ItemId },
    /// A piece of a thought that may be shown, never empty.
    ThoughtDelta { item_id: ItemId, summary_index: usize, delta: String },
    /// A thought is whole.
    ThoughtDone { item_id: ItemId, summary_index: usize, text: String },
    /// The model calls a function, and waits for what it returns, unless
    /// [`FunctionOutput`](Self::FunctionOutput) follows.
    FunctionCall { item_id: ItemId, call_id: String, name: String, arguments: Map<String, Value> },
    /// The server itself has called the function, and this call has returned.
    FunctionOutput { call_id: String },
    /// The server goes on by itself after a response that was whole.
    WentOn,
    /// An image is being made.
    ImageAdded { item_id: ItemId },
    /// A sketch of the image, in base64; `index` counts the sketches from 0.
    ImagePartial { item_id: ItemId, index: u64, b64: String },
    /// The image, in base64; `format` is `png`, `jpeg` or `webp`.
    ImageDone { item_id: ItemId, b64: String, format: String },
    /// The web is searched; said at the beginning and again at the end, when more is known.
    WebSearch {
        item_id: ItemId,
        status: SearchStatus,
        queries: Vec<String>,
        sources: Vec<WebSource>,
    },
    /// Files are searched; said at the beginning and again at the end. Each file's name stands
    /// there once.
    FileSearch { item_id: ItemId, status: SearchStatus, queries: Vec<String>, files: Vec<String> },
    /// The model waits for leave to call this tool of this MCP server, and says no more.
    ApprovalWanted { server: String, tool: String },
    /// The answer is whole. Of several responses that make one answer, usage is the sum. Local
    /// servers may not say what it took.
    Completed { usage: Option<Usage> },
}

/// What a part of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// What the model says.
    Text,
    /// Why it says nothing.
    Refusal,
}

/// A part of a message that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePart {
    /// What it is.
    pub kind: PartKind,
    /// All of its text.
    pub text: String,
    /// Its sources, without the kinds that ChatKit can't show; none for a refusal.
    pub annotations: Vec<Annotation>,
}

/// Where a statement comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Annotation {
    /// A page of the web.
    Url {
        /// Its address.
        url: String,
        /// Its title, or its address when it has none.
        title: String,
        /// The character of the text after the statement.
        index: Option<u64>,
    },
    /// A file that was searched, or one that the model made.
    File {
        /// Its name, never empty.
        filename: String,
        /// The character of the text that it belongs to.
        index: Option<u64>,
    },
}

/// How far a search is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchStatus {
    /// Under way.
    Running,
    /// Done.
    Completed,
    /// Over, and nothing came of it.
    Failed,
}

/// A page that a search came upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSource {
    /// Its address.
    pub url: String,
    /// Its title, where the server gives one.
    pub title: Option<String>,
}

/// What an answer took, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// What was sent.
    pub input_tokens: u64,
    /// How much of it was in the server's cache.
    pub cached_tokens: u64,
    /// What came back, reasoning included.
    pub output_tokens: u64,
    /// How much of it was reasoning.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// What this and another response took together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
        }
    }
}
