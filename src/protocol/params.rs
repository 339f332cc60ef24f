//! What does a request carry? The `params` of each type.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use utoipa::ToSchema;

use super::objects::Object;
use super::{
    Answer, DEEPEST, Id, InferenceOptions, StructuredInputStatus, UserContent, is_too_deep, lax,
};

/// A thread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct OfThread {
    /// Which.
    #[schema(value_type = String)]
    pub thread_id: Id,
}

/// An item of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct ItemOfThread {
    /// Which thread.
    #[schema(value_type = String)]
    pub thread_id: Id,
    /// Which item.
    #[schema(value_type = String)]
    pub item_id: Id,
}

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct OfAttachment {
    /// Which.
    #[schema(value_type = String)]
    pub attachment_id: Id,
}

/// A first message, which makes a thread.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct CreateThread {
    /// The message.
    pub input: UserMessageInput,
}

/// A further message.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct AddUserMessage {
    /// Which thread.
    #[schema(value_type = String)]
    pub thread_id: Id,
    /// The message.
    pub input: UserMessageInput,
}

/// What a person sends.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct UserMessageInput {
    /// Texts and mentions.
    #[serde(deserialize_with = "content")]
    pub content: Vec<UserContent>,
    /// Ids of uploaded files.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub attachments: Vec<Id>,
    /// What the person refers to.
    #[serde(default)]
    pub quoted_text: Option<String>,
    /// What the person chose for this answer.
    #[serde(default)]
    pub inference_options: InferenceOptions,
}

/// What a client tool returned.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct AddClientToolOutput {
    /// Which thread.
    #[schema(value_type = String)]
    pub thread_id: Id,
    /// Any JSON.
    #[serde(deserialize_with = "any_json")]
    pub result: Value,
}

/// Answers to questions.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct AddStructuredInput {
    /// Which thread.
    #[schema(value_type = String)]
    pub thread_id: Id,
    /// Which item asked.
    #[schema(value_type = String)]
    pub item_id: Id,
    /// The answers.
    pub input: StructuredAnswers,
}

/// Answers to questions, by the questions' ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub struct StructuredAnswers {
    /// Whether they were answered at all.
    #[serde(default, deserialize_with = "final_status")]
    #[schema(value_type = FinalStatus)]
    pub status: StructuredInputStatus,
    /// The answers.
    #[serde(default)]
    pub answers: HashMap<String, Answer>,
}

/// How questions may end.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it documents the field, which `final_status` reads")]
#[serde(rename_all = "snake_case")]
enum FinalStatus {
    /// They were answered.
    Answered,
    /// The person went past them.
    Skipped,
}

/// Something that a person did in a widget.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct CustomAction {
    /// Which thread.
    #[schema(value_type = String)]
    pub thread_id: Id,
    /// The widget, if it came from one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub item_id: Option<Id>,
    /// What was done.
    pub action: Action,
}

/// What a person did.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct Action {
    /// The agent's name for it.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the widget gave along.
    #[serde(default, deserialize_with = "any_json")]
    pub payload: Value,
}

/// Which part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub struct PageParams {
    /// At most so many; null and 0 mean 20.
    #[serde(default, deserialize_with = "lax::limit")]
    pub limit: Option<u32>,
    /// From the oldest or the newest.
    #[serde(default)]
    pub order: Order,
    /// The last one seen.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub after: Option<Id>,
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The oldest.
    Asc,
    /// The newest.
    #[default]
    Desc,
}

/// A part of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct ListItems {
    /// Which thread.
    #[schema(value_type = String)]
    pub thread_id: Id,
    /// Which part.
    #[serde(flatten)]
    pub page: PageParams,
}

/// A thread's new title.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct UpdateThread {
    /// Which thread.
    #[schema(value_type = String)]
    pub thread_id: Id,
    /// The title.
    #[schema(max_length = 500)]
    pub title: String,
}

/// What a person thinks of answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct Feedback {
    /// Which thread.
    #[schema(value_type = String)]
    pub thread_id: Id,
    /// Which items.
    #[schema(value_type = Vec<String>, max_items = 100)]
    pub item_ids: Vec<Id>,
    /// Good or bad.
    pub kind: FeedbackKind,
}

/// Good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct CreateAttachment {
    /// Its name.
    pub name: String,
    /// Its bytes.
    #[serde(deserialize_with = "lax::size")]
    pub size: u64,
    /// Its media type, or an empty text.
    #[schema(
        max_length = 127,
        pattern = r"^([A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(;.*)?)?$"
    )]
    pub mime_type: String,
}

/// Speech.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct Transcribe {
    /// The recording.
    #[schema(format = Byte, min_length = 4)]
    pub audio_base64: String,
    /// Its media type, with parameters.
    #[schema(pattern = "^audio/(webm|mp4|ogg)(;.*)?$")]
    pub mime_type: String,
}

/// Any JSON that does not nest too deep. Without a default the field must be there, and may be
/// null.
fn any_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if is_too_deep(&value) { Err(too_deep("it nests")) } else { Ok(value) }
}

/// Texts and mentions whose data does not nest too deep. Those of the store are the same type, and
/// are read as they are.
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

fn final_status<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<StructuredInputStatus, D::Error> {
    match StructuredInputStatus::deserialize(deserializer)? {
        StructuredInputStatus::Pending => {
            Err(de::Error::custom("expected `answered` or `skipped`"))
        }
        status => Ok(status),
    }
}
