//! What do the items of a response hold that we need? Messages with their annotations, calls of
//! functions, images and searches; everything else is passed over.

use serde::Deserialize;
use serde_json::Value;

use crate::upstream::model::{
    Annotation, ItemId, Lenient, MessagePart, ModelEvent, PartKind, SearchStatus, Trouble,
    WebSource, arguments,
};

/// An item with the fields of every kind that we know.
#[derive(Deserialize)]
pub(super) struct Item<'a> {
    #[serde(default, borrow)]
    pub(super) r#type: Lenient<'a>,
    #[serde(default, borrow)]
    pub(super) id: Lenient<'a>,
    #[serde(default, borrow)]
    status: Lenient<'a>,
    #[serde(default)]
    content: Value,
    #[serde(default, borrow)]
    call_id: Lenient<'a>,
    #[serde(default, borrow)]
    name: Lenient<'a>,
    #[serde(default, borrow)]
    server_label: Lenient<'a>,
    #[serde(default, borrow)]
    arguments: Lenient<'a>,
    #[serde(default, borrow)]
    result: Lenient<'a>,
    #[serde(default, borrow)]
    output_format: Lenient<'a>,
    #[serde(default)]
    action: Value,
    #[serde(default)]
    queries: Value,
    #[serde(default)]
    results: Value,
}

impl Item<'_> {
    /// What it means that this item begins.
    pub(super) fn added(&self, item_id: ItemId) -> Option<ModelEvent> {
        match &*self.r#type.0 {
            "message" => Some(ModelEvent::MessageAdded { item_id, parts: self.parts() }),
            "reasoning" => Some(ModelEvent::ReasoningAdded { item_id }),
            "image_generation_call" => Some(ModelEvent::ImageAdded { item_id }),
            "web_search_call" => Some(self.web_search(item_id)),
            "file_search_call" => Some(self.file_search(item_id)),
            "function_call_output" if &*self.status.0 != "in_progress" => Some(self.output()),
            _ => None,
        }
    }

    /// What it means that this item is whole.
    pub(super) fn done(self, item_id: ItemId) -> Result<Option<ModelEvent>, Trouble> {
        Ok(match &*self.r#type.0 {
            "message" => Some(ModelEvent::MessageDone { item_id, parts: self.parts() }),
            "function_call" => Some(ModelEvent::FunctionCall {
                item_id,
                arguments: arguments(&self.arguments.0)?,
                call_id: self.call_id.into_string(),
                name: self.name.into_string(),
            }),
            "function_call_output" => Some(self.output()),
            "image_generation_call" => {
                self.result.some().is_some().then(|| ModelEvent::ImageDone {
                    item_id,
                    format: self.output_format.some().unwrap_or("png").to_owned(),
                    b64: self.result.into_string(),
                })
            }
            "web_search_call" => Some(self.web_search(item_id)),
            "file_search_call" => Some(self.file_search(item_id)),
            "mcp_approval_request" => {
                let (server, tool) = (self.server_label.into_string(), self.name.into_string());
                Some(ModelEvent::ApprovalWanted { server, tool })
            }
            _ => None,
        })
    }

    fn output(&self) -> ModelEvent {
        ModelEvent::FunctionOutput { call_id: self.call_id.0.clone().into_owned() }
    }

    fn parts(&self) -> Vec<MessagePart> {
        list(&self.content).iter().filter_map(message_part).collect()
    }

    fn web_search(&self, item_id: ItemId) -> ModelEvent {
        let action = &self.action;
        let mut queries = texts(&action["queries"]);
        if queries.is_empty() {
            queries.extend(text(&action["query"]));
        }
        // A page that was opened stands in the action itself.
        let source = |source: &Value| {
            let title = text(&source["title"]);
            text(&source["url"]).map(|url| WebSource { url, title })
        };
        let mut sources: Vec<_> = list(&action["sources"]).iter().filter_map(source).collect();
        if sources.is_empty() {
            sources.extend(source(action));
        }
        ModelEvent::WebSearch { item_id, status: self.search_status(), queries, sources }
    }

    fn file_search(&self, item_id: ItemId) -> ModelEvent {
        let mut files: Vec<String> = Vec::new();
        for file in list(&self.results).iter().filter_map(|result| text(&result["filename"])) {
            // One file may be found in many places.
            if !files.contains(&file) {
                files.push(file);
            }
        }
        let (status, queries) = (self.search_status(), texts(&self.queries));
        ModelEvent::FileSearch { item_id, status, queries, files }
    }

    fn search_status(&self) -> SearchStatus {
        match &*self.status.0 {
            "completed" => SearchStatus::Completed,
            "failed" | "incomplete" => SearchStatus::Failed,
            _ => SearchStatus::Running,
        }
    }
}

/// A part of a message, if it is of a kind that is shown.
pub(super) fn message_part(part: &Value) -> Option<MessagePart> {
    let (kind, field) = match part["type"].as_str()? {
        "output_text" => (PartKind::Text, "text"),
        "refusal" => (PartKind::Refusal, "refusal"),
        _ => return None,
    };
    Some(MessagePart {
        kind,
        text: part[field].as_str().unwrap_or_default().to_owned(),
        annotations: list(&part["annotations"]).iter().filter_map(annotation).collect(),
    })
}

/// An annotation, if it is of a kind that ChatKit can show.
pub(super) fn annotation(annotation: &Value) -> Option<Annotation> {
    let index = |name: &str| annotation[name].as_u64();
    let file =
        |index| text(&annotation["filename"]).map(|filename| Annotation::File { filename, index });
    match annotation["type"].as_str()? {
        "url_citation" => {
            let url = text(&annotation["url"])?;
            let title = annotation["title"].as_str().unwrap_or(&url).to_owned();
            Some(Annotation::Url { url, title, index: index("end_index") })
        }
        "file_citation" => file(index("index")),
        "container_file_citation" => file(index("end_index")),
        _ => None,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(text).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
