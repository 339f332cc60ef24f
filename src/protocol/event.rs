//! What does a stream say? Every event, and every change of an item that is under way.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Annotation, GeneratedImage, Id, Item, OutputText, Task, ThreadView};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type")]
#[schema(as = ChatEvent)]
pub enum Event {
    /// A thread was made.
    #[serde(rename = "thread.created")]
    ThreadCreated {
        /// The thread.
        thread: ThreadView,
    },
    /// A thread's title or status changed.
    #[serde(rename = "thread.updated")]
    ThreadUpdated {
        /// The thread.
        thread: ThreadView,
    },
    /// An item begins. It is not stored yet.
    #[serde(rename = "thread.item.added")]
    ItemAdded {
        /// The item.
        item: Item,
    },
    /// An item that has begun changes.
    #[serde(rename = "thread.item.updated")]
    ItemUpdated {
        /// Which item.
        #[schema(value_type = String)]
        item_id: Id,
        /// How.
        update: ItemUpdate,
    },
    /// An item is final, and stored.
    #[serde(rename = "thread.item.done")]
    ItemDone {
        /// The item.
        item: Item,
    },
    /// A stored item is another now.
    #[serde(rename = "thread.item.replaced")]
    ItemReplaced {
        /// The item.
        item: Item,
    },
    /// An item is gone.
    #[serde(rename = "thread.item.removed")]
    ItemRemoved {
        /// Which item.
        #[schema(value_type = String)]
        item_id: Id,
    },
    /// How the UI treats this stream.
    #[serde(rename = "stream_options")]
    StreamOptions {
        /// How.
        stream_options: StreamOptions,
    },
    /// Something to show until something else comes.
    #[serde(rename = "progress_update")]
    ProgressUpdate {
        /// The text.
        text: String,
        /// The icon in front of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        icon: Option<String>,
    },
    /// Something for the page to do.
    #[serde(rename = "client_effect")]
    ClientEffect {
        /// What.
        name: String,
        /// What with.
        #[schema(value_type = HashMap<String, Value>)]
        data: Map<String, Value>,
    },
    /// Something to tell the person.
    #[serde(rename = "notice")]
    Notice {
        /// How grave it is.
        level: NoticeLevel,
        /// The text, in Markdown.
        message: String,
        /// What stands above it.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// The answer failed.
    #[serde(rename = "error")]
    Error {
        /// `stream.error`, or `custom` with a message that is shown as it is.
        code: String,
        /// What the person is told.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Whether the UI offers to try again.
        allow_retry: bool,
    },
}

/// How the UI treats a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct StreamOptions {
    /// Whether there is a stop button.
    pub allow_cancel: bool,
}

/// How grave a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// Mind it.
    Warning,
    /// Something is wrong.
    Danger,
}

/// How an item that is under way changes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type")]
pub enum ItemUpdate {
    /// A part of a message begins.
    #[serde(rename = "assistant_message.content_part.added")]
    PartAdded {
        /// Which part.
        content_index: usize,
        /// Its beginning.
        content: OutputText,
    },
    /// A part grows.
    #[serde(rename = "assistant_message.content_part.text_delta")]
    TextDelta {
        /// Which part.
        content_index: usize,
        /// What comes behind.
        delta: String,
    },
    /// A part rests on something.
    #[serde(rename = "assistant_message.content_part.annotation_added")]
    AnnotationAdded {
        /// Which part.
        content_index: usize,
        /// Which annotation of the part.
        annotation_index: usize,
        /// The annotation.
        annotation: Annotation,
    },
    /// A part is complete. Its annotations stand in the item alone.
    #[serde(rename = "assistant_message.content_part.done")]
    PartDone {
        /// Which part.
        content_index: usize,
        /// The part.
        content: OutputText,
    },
    /// A task begins.
    #[serde(rename = "workflow.task.added")]
    TaskAdded {
        /// Which task.
        task_index: usize,
        /// The task.
        task: Task,
    },
    /// A task is another now.
    #[serde(rename = "workflow.task.updated")]
    TaskUpdated {
        /// Which task.
        task_index: usize,
        /// The whole task.
        task: Task,
    },
    /// An image gets clearer.
    #[serde(rename = "generated_image.updated")]
    ImageUpdated {
        /// The image so far.
        image: GeneratedImage,
        /// How far it is, 0 to 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        progress: Option<f64>,
    },
    /// A text in a widget grows.
    #[serde(rename = "widget.streaming_text.value_delta")]
    WidgetTextDelta {
        /// Which component.
        component_id: String,
        /// What comes behind.
        delta: String,
        /// Whether it is complete.
        done: bool,
    },
    /// A widget is another now.
    #[serde(rename = "widget.root.updated")]
    WidgetRootUpdated {
        /// The whole widget.
        widget: Value,
    },
    /// A component of a widget is another now.
    #[serde(rename = "widget.component.updated")]
    WidgetComponentUpdated {
        /// Which component.
        component_id: String,
        /// The whole component.
        component: Value,
    },
}
