//! What stands in a thread? Every kind of item, as the wire and the store have it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Id, OutputText, Task, Timestamp, UserMessage, Workflow, lax};

/// Something in a thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ThreadItem)]
pub struct Item {
    /// A prefix (`msg_`, `tc_`, `wf_`, `tsk_`, `shcx_`) and 32 hex digits.
    #[schema(value_type = String)]
    pub id: Id,
    /// The thread that it stands in.
    #[schema(value_type = String)]
    pub thread_id: Id,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// What it is.
    #[serde(flatten)]
    pub kind: ItemKind,
}

impl Item {
    /// Whether it is kept from the client.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        matches!(self.kind, ItemKind::HiddenContextItem { .. } | ItemKind::SdkHiddenContext { .. })
    }
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = ThreadItemKind)]
pub enum ItemKind {
    /// What the person wrote.
    UserMessage(UserMessage),
    /// What the model wrote.
    AssistantMessage {
        /// Its parts.
        content: Vec<OutputText>,
    },
    /// A call that the page answers.
    ClientToolCall(ClientToolCall),
    /// A piece of UI, passed through as the agent made it.
    Widget {
        /// The root component.
        widget: Value,
        /// What is copied in its place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copy_text: Option<String>,
    },
    /// An image that the model made.
    GeneratedImage {
        /// The image; absent while it is being made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<GeneratedImage>,
    },
    /// Questions to the person.
    StructuredInput {
        /// Whether they are answered.
        status: StructuredInputStatus,
        /// The questions.
        inputs: Vec<Question>,
    },
    /// A list of tasks: what the model thought and did.
    Workflow {
        /// The list.
        workflow: Workflow,
    },
    /// One task that stands alone.
    Task {
        /// The task.
        task: Task,
    },
    /// A marker for the UI.
    EndOfTurn,
    /// Something for the model alone, from an agent.
    HiddenContextItem {
        /// Any JSON.
        content: Value,
    },
    /// Something for the model alone, from the server.
    SdkHiddenContext {
        /// The text.
        content: String,
    },
}

/// A call that the page answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClientToolCall {
    /// Whether it is answered.
    pub status: ClientToolCallStatus,
    /// The model's name for the call.
    pub call_id: String,
    /// Which tool.
    pub name: String,
    /// What with: an object.
    pub arguments: Value,
    /// The answer. `null` is left out.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
}

/// Whether a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientToolCallStatus {
    /// Not yet.
    Pending,
    /// It is.
    Completed,
}

/// An image that the model made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GeneratedImage {
    /// The model's id for it.
    pub id: String,
    /// The address of the image. Where this service keeps the image, the store has `attachment:`
    /// and the file's id, and the wire has a signed link, which is made anew for each answer.
    pub url: String,
}

/// What begins the URL of an image that is kept here.
const KEPT: &str = "attachment:";

impl GeneratedImage {
    /// An image whose bytes are those of an attachment.
    #[must_use]
    pub fn kept(id: String, attachment_id: &str) -> Self {
        Self { id, url: format!("{KEPT}{attachment_id}") }
    }

    /// The attachment that has its bytes. `None` when its URL leads elsewhere.
    #[must_use]
    pub fn attachment_id(&self) -> Option<&str> {
        self.url.strip_prefix(KEPT)
    }
}

/// Whether questions are answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StructuredInputStatus {
    /// Not yet.
    Pending,
    /// They are.
    #[default]
    Answered,
    /// The person went past them.
    Skipped,
}

/// A question to the person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Question {
    /// Its id.
    pub id: String,
    /// The question.
    pub question: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The answer, once it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// How it is answered.
    #[serde(flatten)]
    pub kind: QuestionKind,
}

/// How a question is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum QuestionKind {
    /// By choosing.
    MultipleChoice {
        /// What there is to choose from.
        options: Vec<Value>,
        /// Whether several may be chosen.
        #[serde(default)]
        #[schema(required)]
        multiple: bool,
    },
    /// By writing.
    Freeform,
}

/// An answer to a question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// What was chosen or written.
    #[serde(default)]
    pub values: Vec<String>,
    /// Whether it was left out.
    #[serde(default, deserialize_with = "lax::truth")]
    pub skipped: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_item_survives_the_store() {
        let base = |kind: Value| {
            let mut item = json!({"id": "msg_1", "thread_id": "thr_1", "created_at": "2026-11-20T22:38:48.073893Z"});
            item.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
            item
        };
        for kind in [
            json!({"type": "user_message", "content": [{"type": "input_text", "text": "a\u{0}\u{2028}b"},
                {"type": "input_tag", "id": "x", "text": "X", "data": {"a": null}, "interactive": false}],
                "attachments": [{"id": "atc_1", "name": "a.pdf", "mime_type": "application/pdf", "type": "file"}],
                "quoted_text": "q", "inference_options": {"tool_choice": {"id": "t"}}}),
            json!({"type": "assistant_message", "content": [{"type": "output_text", "text": "t", "annotations": [
                {"type": "annotation", "source": {"type": "url", "title": "T", "url": "https://x"}, "index": 5}]}]}),
            json!({"type": "client_tool_call", "status": "completed", "call_id": "c", "name": "n",
                "arguments": {"z": null, "a": 18_446_744_073_709_551_615_u64}, "output": [null, 1.5]}),
            json!({"type": "client_tool_call", "status": "pending", "call_id": "c", "name": "n", "arguments": {}}),
            json!({"type": "widget", "widget": {"type": "Card", "children": []}, "copy_text": "c"}),
            json!({"type": "generated_image"}),
            json!({"type": "structured_input", "status": "pending", "inputs": [
                {"id": "q", "question": "Q?", "type": "multiple_choice", "options": [{"value": "A"}], "multiple": false},
                {"id": "f", "question": "F?", "type": "freeform", "description": "d"}]}),
            json!({"type": "workflow", "workflow": {"type": "reasoning", "expanded": false, "summary": {"duration": 3},
                "tasks": [{"status_indicator": "none", "type": "thought", "content": "c"},
                    {"status_indicator": "complete", "type": "web_search", "queries": [], "sources": []}]}}),
            json!({"type": "task", "task": {"status_indicator": "none", "type": "custom", "title": "t"}}),
            json!({"type": "end_of_turn"}),
            json!({"type": "hidden_context_item", "content": {"a": [1]}}),
            json!({"type": "sdk_hidden_context", "content": "s"}),
        ] {
            let wire = base(kind);
            let item: Item = serde_json::from_value(wire.clone()).unwrap();
            assert_eq!(serde_json::to_value(&item).unwrap(), wire, "the wire's shape");
            let stored = serde_json::to_string(&item).unwrap();
            assert_eq!(serde_json::from_str::<Item>(&stored).unwrap(), item, "the store's text");
        }
    }
}
