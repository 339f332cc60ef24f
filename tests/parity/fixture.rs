//! What a fixture holds: the steps of a conversation, what the model says in each, and what the
//! official server said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// A conversation with the official server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// `responses` or `chat-completions`.
    pub(crate) api: String,
    /// In order; ids of earlier answers stand in them as `$thread:0`, `$item:3`, `$attachment:0`.
    pub(crate) steps: Vec<Step>,
}

/// A request or an upload, and its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// What is special about it.
    #[serde(default)]
    pub(crate) about: String,
    /// The body of the request; a string is sent as it stands.
    pub(crate) request: Option<Value>,
    /// In place of a request: the attachment whose bytes are sent to the address that it came with.
    pub(crate) upload: Option<String>,
    /// What is uploaded.
    pub(crate) file: Option<File>,
    /// What the model answers, call by call.
    #[serde(default)]
    pub(crate) model: Vec<Reply>,
    /// The client leaves after so many events.
    pub(crate) leave_after: Option<usize>,
    /// The answer comes to be so after a while, because the step before was left in the middle.
    #[serde(default)]
    pub(crate) eventually: bool,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The events of a stream.
    pub(crate) stream: Option<Vec<Value>>,
    /// The stream broke off after them.
    #[serde(default)]
    pub(crate) broken: bool,
    /// The JSON of another answer.
    pub(crate) json: Option<Value>,
    /// The bodies that reached the model.
    #[serde(default)]
    pub(crate) model_requests: Vec<Value>,
    /// What this server does differently here.
    pub(crate) ours: Option<Ours>,
}

/// A file to upload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) mime_type: String,
    pub(crate) base64: String,
}

/// One answer of the model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    #[serde(default = "ok")]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// A stream: an object is an event, a string is sent as it stands.
    pub(crate) events: Option<Vec<Value>>,
    /// Another answer.
    pub(crate) body: Option<Value>,
    #[serde(default)]
    pub(crate) end: End,
    /// The bytes come in pieces of this size, wherever that cuts them.
    pub(crate) chunk: Option<usize>,
}

/// How an answer of the model ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    #[default]
    Whole,
    /// The connection breaks.
    Cut,
    /// Nothing more comes, and the connection stays.
    Hold,
}

/// What this server does differently in a step, under a name of the table of differences.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ours {
    pub(crate) difference: String,
    pub(crate) status: Option<u16>,
    pub(crate) json: Option<Value>,
}

impl Fixture {
    /// The fixture of this name.
    pub(crate) fn load(name: &str) -> Self {
        let path = folder().join(format!("{name}.json"));
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// The names of all fixtures.
pub(crate) fn names() -> BTreeSet<String> {
    let files = fs::read_dir(folder()).expect("the fixtures are there");
    let names =
        files.map(|file| file.expect("a file").file_name().into_string().expect("a plain name"));
    names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity")
}

fn ok() -> u16 {
    200
}
