//! What is a file on the wire?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Id;

/// A file that a person sends along with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// `atc_` and 32 hex digits.
    #[schema(value_type = String)]
    pub id: Id,
    /// The file's name, without a path.
    pub name: String,
    /// Its media type.
    pub mime_type: String,
    /// Where its bytes are to be sent, until they are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_descriptor: Option<UploadDescriptor>,
    /// The thread of the message that carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub thread_id: Option<Id>,
    /// Whether it can be shown.
    #[serde(flatten)]
    pub kind: AttachmentKind,
}

/// Whether a file can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AttachmentKind {
    /// It can.
    Image {
        /// An absolute link that needs no header. Links expire: a fresh one is made for each
        /// answer, and none is stored.
        #[serde(default)]
        #[schema(required, format = "uri")]
        preview_url: String,
    },
    /// It can't.
    File,
}

/// Where the bytes of a file are to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadDescriptor {
    /// An absolute link that needs no header.
    #[schema(format = "uri")]
    pub url: String,
    /// `POST`, as `multipart/form-data` with the field `file`.
    pub method: String,
    /// What else to send.
    #[serde(default)]
    #[schema(required)]
    pub headers: BTreeMap<String, String>,
}
