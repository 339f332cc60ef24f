//! How deep may JSON nest that a model, an agent or a page made up? Less deep than the store reads,
//! so that whatever is stored can be read again.

use serde_json::{Map, Value};

use super::{Item, ItemKind, OutputText, QuestionKind, Source, SourceKind, TaskKind, UserContent};

/// How many arrays and objects may stand in one another. An item adds a handful of its own around
/// free-form JSON, and readers of JSON stop at 128.
pub const DEEPEST: usize = 100;

/// Whether JSON nests deeper than [`DEEPEST`].
#[must_use]
pub fn is_too_deep(value: &Value) -> bool {
    !fits(value, DEEPEST)
}

/// The same for an object's fields.
#[must_use]
pub fn are_too_deep(fields: &Map<String, Value>) -> bool {
    !fields.values().all(|value| fits(value, DEEPEST - 1))
}

fn fits(value: &Value, room: usize) -> bool {
    match value {
        Value::Array(values) => room > 0 && values.iter().all(|value| fits(value, room - 1)),
        Value::Object(fields) => room > 0 && fields.values().all(|value| fits(value, room - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

impl Item {
    /// Whether free-form JSON in it nests deeper than [`DEEPEST`].
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        match &self.kind {
            ItemKind::UserMessage(message) => message.content.iter().any(UserContent::is_too_deep),
            ItemKind::AssistantMessage { content } => content.iter().any(OutputText::is_too_deep),
            ItemKind::ClientToolCall(call) => {
                is_too_deep(&call.arguments) || is_too_deep(&call.output)
            }
            ItemKind::Widget { widget, .. } => is_too_deep(widget),
            ItemKind::StructuredInput { inputs, .. } => {
                inputs.iter().any(|question| question.kind.is_too_deep())
            }
            ItemKind::Workflow { workflow } => {
                workflow.tasks.iter().any(|task| task.kind.is_too_deep())
            }
            ItemKind::Task { task } => task.kind.is_too_deep(),
            ItemKind::HiddenContextItem { content } => is_too_deep(content),
            ItemKind::GeneratedImage { .. }
            | ItemKind::EndOfTurn
            | ItemKind::SdkHiddenContext { .. } => false,
        }
    }
}

impl UserContent {
    /// Whether what the page knows of a mention nests deeper than [`DEEPEST`].
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        match self {
            Self::InputText { .. } => false,
            Self::InputTag(tag) => are_too_deep(&tag.data),
        }
    }
}

impl OutputText {
    fn is_too_deep(&self) -> bool {
        self.annotations.iter().any(|annotation| annotation.source.is_too_deep())
    }
}

impl QuestionKind {
    fn is_too_deep(&self) -> bool {
        match self {
            Self::MultipleChoice { options, .. } => options.iter().any(is_too_deep),
            Self::Freeform => false,
        }
    }
}

impl TaskKind {
    fn is_too_deep(&self) -> bool {
        match self {
            Self::WebSearch { sources, .. } | Self::File { sources, .. } => {
                sources.iter().any(Source::is_too_deep)
            }
            Self::Thought { .. } | Self::Custom { .. } | Self::Image { .. } => false,
        }
    }
}

impl Source {
    fn is_too_deep(&self) -> bool {
        match &self.kind {
            SourceKind::Entity(entity) => are_too_deep(&entity.data),
            SourceKind::Url { .. } | SourceKind::File { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(
            json!(1),
            |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({"a": inner}) },
        )
    }

    #[test]
    fn whatever_is_not_too_deep_is_read_again_wherever_it_stands() {
        let item = |kind: Value| {
            let mut item = json!({"id": "msg_1", "thread_id": "thr_1", "created_at": "2026-11-20T22:38:48.073893Z"});
            item.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
            serde_json::from_value::<Item>(item).unwrap()
        };
        for depth in [DEEPEST, DEEPEST + 1] {
            let any = nested(depth);
            let object = json!({"a": nested(depth - 1)});
            let source = json!({"type": "entity", "title": "T", "id": "x", "data": object});
            for kind in [
                json!({"type": "client_tool_call", "status": "pending", "call_id": "c", "name": "n", "arguments": object}),
                json!({"type": "client_tool_call", "status": "completed", "call_id": "c", "name": "n",
                    "arguments": {}, "output": any}),
                json!({"type": "widget", "widget": object}),
                json!({"type": "hidden_context_item", "content": any}),
                json!({"type": "user_message", "content": [
                    {"type": "input_tag", "id": "x", "text": "X", "data": object}]}),
                json!({"type": "assistant_message", "content": [{"type": "output_text", "text": "t",
                    "annotations": [{"type": "annotation", "source": source}]}]}),
                json!({"type": "structured_input", "status": "pending", "inputs": [
                    {"id": "q", "question": "Q?", "type": "multiple_choice", "options": [any], "multiple": false}]}),
                json!({"type": "workflow", "workflow": {"type": "custom", "tasks": [
                    {"type": "web_search", "queries": [], "sources": [source]}]}}),
                json!({"type": "task", "task": {"type": "file", "sources": [source]}}),
            ] {
                let name = kind.to_string();
                let item = item(kind);
                assert_eq!(item.is_too_deep(), depth > DEEPEST, "{depth}: {name}");
                let stored = serde_json::to_string(&item).unwrap();
                assert!(serde_json::from_str::<Item>(&stored).is_ok(), "{depth}: {name}");
            }
        }
    }
}
