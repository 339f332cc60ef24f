//! What do people and models write? Texts, mentions, and what a text rests on.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Attachment, lax};

/// What the person wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UserMessage {
    /// Texts and mentions.
    pub content: Vec<UserContent>,
    /// Files that were sent along.
    #[serde(default)]
    #[schema(required)]
    pub attachments: Vec<Attachment>,
    /// What the person refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted_text: Option<String>,
    /// What the person chose for this answer.
    #[serde(default)]
    #[schema(required)]
    pub inference_options: InferenceOptions,
}

impl UserMessage {
    /// All parts in a row, a mention as `@` and its text.
    #[must_use]
    pub fn text(&self) -> String {
        let part = |part: &UserContent| match part {
            UserContent::InputText { text } => text.clone(),
            UserContent::InputTag(tag) => format!("@{}", tag.text),
        };
        self.content.iter().map(part).collect()
    }
}

/// A part of a user's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum UserContent {
    /// Text.
    InputText {
        /// The text.
        text: String,
    },
    /// An @-mention.
    InputTag(Tag),
}

/// An @-mention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tag {
    /// What is mentioned.
    pub id: String,
    /// How it is called.
    pub text: String,
    /// What the page knows of it.
    #[schema(value_type = HashMap<String, Value>)]
    pub data: serde_json::Map<String, Value>,
    /// Under which heading the page offered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether it can be clicked.
    #[serde(default, deserialize_with = "lax::truth")]
    pub interactive: bool,
}

/// What a person chose for an answer; `{}` when nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InferenceOptions {
    /// The tool that the composer names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// The model that the composer names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A tool that the person chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolChoice {
    /// Its name.
    pub id: String,
}

/// A part of an assistant's message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename = "output_text")]
pub struct OutputText {
    /// What it rests on.
    #[serde(default)]
    #[schema(required)]
    pub annotations: Vec<Annotation>,
    /// The text, in Markdown.
    pub text: String,
}

/// A reference in a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename = "annotation")]
pub struct Annotation {
    /// What is referred to.
    pub source: Source,
    /// Behind which character of the text it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// What an annotation or a search refers to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// How it is called.
    pub title: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Under which heading it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub kind: SourceKind,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SourceKind {
    /// A page of the web.
    Url {
        /// Its address.
        url: String,
        /// Who is named for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attribution: Option<String>,
    },
    /// A file.
    File {
        /// Its name.
        filename: String,
    },
    /// Something that the site knows.
    Entity(Entity),
}

/// Something that the site knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Entity {
    /// Its id.
    pub id: String,
    /// The icon shown with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// What is shown in place of its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What is shown inside a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline_label: Option<String>,
    /// Whether it can be clicked.
    #[serde(default)]
    #[schema(required)]
    pub interactive: bool,
    /// What the page knows of it.
    #[serde(default)]
    #[schema(required, value_type = HashMap<String, Value>)]
    pub data: serde_json::Map<String, Value>,
}
