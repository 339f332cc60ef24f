//! What does a request carry? The `params` of each type.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::objects::Object;
use super::{Answer, DEEPEST, Id, InferenceOptions, StructuredInputStatus, UserContent, is_too_deep, lax};

/// A thread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OfThread {
    /// Which.
    pub thread_id: Id,
}

/// An item of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ItemOfThread {
    /// Which thread.
    pub thread_id: Id,
    /// Which item.
    pub item_id: Id,
}

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OfAttachment {
    /// Which.
    pub attachment_id: Id,
}

/// A first message, which makes a thread.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CreateThread {
    /// The message.
    pub input: UserMessageInput,
}

/// A further message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AddUserMessage {
    /// Which thread.
    pub thread_id: Id,
    /// The message.
    pub input: UserMessageInput,
}

/// What a person sends.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct UserMessageInput {
    /// Texts and mentions.
    #[serde(deserialize_with = "content")]
    pub content: Vec<UserContent>,
    /// Ids of uploaded files.
    #[serde(default)]
    pub attachments: Vec<Id>,
    /// What the person refers to.
    #[serde(default)]
    pub quoted_text: Option<String>,
    /// What the person chose for this answer.
    #[serde(default)]
    pub inference_options: InferenceOptions,
}

/// What a client tool returned.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AddClientToolOutput {
    /// Which thread.
    pub thread_id: Id,
    /// Any JSON.
    #[serde(deserialize_with = "any_json")]
    pub result: Value,
}

/// Answers to questions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AddStructuredInput {
    /// Which thread.
    pub thread_id: Id,
    /// Which item asked.
    pub item_id: Id,
    /// The answers.
    pub input: StructuredAnswers,
}

/// Answers to questions, by the questions' ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct StructuredAnswers {
    /// Whether they were answered at all.
    #[serde(default, deserialize_with = "final_status")]
    pub status: StructuredInputStatus,
    /// The answers.
    #[serde(default)]
    pub answers: HashMap<String, Answer>,
}

/// Something that a person did in a widget.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CustomAction {
    /// Which thread.
    pub thread_id: Id,
    /// The widget, if it came from one.
    #[serde(default)]
    pub item_id: Option<Id>,
    /// What was done.
    pub action: Action,
}

/// What a person did.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Action {
    /// The agent's name for it.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the widget gave along.
    #[serde(default, deserialize_with = "any_json")]
    pub payload: Value,
}

/// Which part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct PageParams {
    /// At most so many; null and 0 mean 20.
    #[serde(default, deserialize_with = "lax::limit")]
    pub limit: Option<u32>,
    /// From the oldest or the newest.
    #[serde(default)]
    pub order: Order,
    /// The last one seen.
    #[serde(default)]
    pub after: Option<Id>,
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The oldest.
    Asc,
    /// The newest.
    #[default]
    Desc,
}

/// A part of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ListItems {
    /// Which thread.
    pub thread_id: Id,
    /// Which part.
    #[serde(flatten)]
    pub page: PageParams,
}

/// A thread's new title.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UpdateThread {
    /// Which thread.
    pub thread_id: Id,
    /// The title.
    pub title: String,
}

/// What a person thinks of answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Feedback {
    /// Which thread.
    pub thread_id: Id,
    /// Which items.
    pub item_ids: Vec<Id>,
    /// Good or bad.
    pub kind: FeedbackKind,
}

/// Good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackKind {
    /// Good.
    Positive,
    /// Bad.
    Negative,
}

impl FeedbackKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        }
    }
}

/// A file that will be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CreateAttachment {
    /// Its name.
    pub name: String,
    /// Its bytes.
    #[serde(deserialize_with = "lax::size")]
    pub size: u64,
    /// Its media type.
    pub mime_type: String,
}

/// Speech.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transcribe {
    /// The recording.
    pub audio_base64: String,
    /// Its media type, with parameters.
    pub mime_type: String,
}

/// Any JSON that does not nest too deep. Without a default the field must be there, and may be null.
fn any_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if is_too_deep(&value) { Err(too_deep("it nests")) } else { Ok(value) }
}

/// Texts and mentions whose data does not nest too deep. Those of the store are the same type, and are read as they are.
fn content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<UserContent>, D::Error> {
    let content: Vec<Object<UserContent>> = Vec::deserialize(deserializer)?;
    let mut content: Vec<UserContent> = content.into_iter().map(|part| part.0).collect();
    // It is kept as long as its answer takes, and most have one element.
    content.shrink_to_fit();
    match content.iter().position(UserContent::is_too_deep) {
        Some(place) => Err(too_deep(&format!("the `data` of [{place}] nests"))),
        None => Ok(content),
    }
}

fn too_deep<E: de::Error>(what: &str) -> E {
    E::custom(format_args!("{what} deeper than {DEEPEST} levels"))
}

fn final_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StructuredInputStatus, D::Error> {
    match StructuredInputStatus::deserialize(deserializer)? {
        StructuredInputStatus::Pending => Err(de::Error::custom("expected `answered` or `skipped`")),
        status => Ok(status),
    }
}
