//! What may a client ask? [`Request::parse`] turns a body into one of a closed list, or says which
//! field is wrong.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::objects::{self, Objects};
use super::{
    AddClientToolOutput, AddStructuredInput, AddUserMessage, CreateAttachment, CreateThread,
    CustomAction, Feedback, ItemOfThread, ListItems, OfAttachment, OfThread, PageParams,
    Transcribe, UpdateThread,
};

/// As much of a field's path is said, in characters.
const LONGEST_PATH: usize = 100;
/// As much of what is wrong with it is said, in characters.
const LONGEST_COMPLAINT: usize = 200;
/// The request that carries speech.
pub(super) const SPEECH: &str = "input.transcribe";

/// One request of the ChatKit protocol: `type` says which, `params` what with. Other members are
/// ignored.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(as = ChatRequest)]
#[serde(untagged)]
pub enum Request {
    /// Answered with a stream.
    Streaming(Streaming),
    /// Answered with JSON.
    Plain(Plain),
}

/// A request that is answered with a stream.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(as = StreamingRequest)]
#[serde(tag = "type", content = "params")]
pub enum Streaming {
    /// A first message, which makes a thread.
    #[serde(rename = "threads.create")]
    ThreadsCreate(CreateThread),
    /// A further message.
    #[serde(rename = "threads.add_user_message")]
    ThreadsAddUserMessage(AddUserMessage),
    /// What a client tool of the page returned.
    #[serde(rename = "threads.add_client_tool_output")]
    ThreadsAddClientToolOutput(AddClientToolOutput),
    /// Answers to the questions of an item.
    #[serde(rename = "threads.add_structured_input")]
    ThreadsAddStructuredInput(AddStructuredInput),
    /// Another answer in place of what follows an item.
    #[serde(rename = "threads.retry_after_item")]
    ThreadsRetryAfterItem(ItemOfThread),
    /// Something that a person did in a widget.
    #[serde(rename = "threads.custom_action")]
    ThreadsCustomAction(CustomAction),
}

impl Streaming {
    /// The thread that it names; none when it makes one.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {
        match self {
            Self::ThreadsCreate(_) => None,
            Self::ThreadsAddUserMessage(params) => Some(&params.thread_id),
            Self::ThreadsAddClientToolOutput(params) => Some(&params.thread_id),
            Self::ThreadsAddStructuredInput(params) => Some(&params.thread_id),
            Self::ThreadsRetryAfterItem(params) => Some(&params.thread_id),
            Self::ThreadsCustomAction(params) => Some(&params.thread_id),
        }
    }
}

/// A request that is answered with JSON.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(as = PlainRequest)]
#[serde(tag = "type", content = "params")]
pub enum Plain {
    /// Answered with a `Thread`, which has the first page of its items.
    #[serde(rename = "threads.get_by_id")]
    ThreadsGetById(OfThread),
    /// Answered with a page of threads without their items.
    #[serde(rename = "threads.list")]
    ThreadsList(PageParams),
    /// A new title. Answered with the `Thread` without its items.
    #[serde(rename = "threads.update")]
    ThreadsUpdate(UpdateThread),
    /// Answered with `{}`.
    #[serde(rename = "threads.delete")]
    ThreadsDelete(OfThread),
    /// Something that a person did in a widget. Answered with the item that changed, if one did.
    #[serde(rename = "threads.sync_custom_action")]
    ThreadsSyncCustomAction(CustomAction),
    /// Answered with a page of items.
    #[serde(rename = "items.list")]
    ItemsList(ListItems),
    /// What a person thinks of answers. Answered with `{}`.
    #[serde(rename = "items.feedback")]
    ItemsFeedback(Feedback),
    /// Announces a file. Answered with an `Attachment` that says where its bytes are to be sent.
    #[serde(rename = "attachments.create")]
    AttachmentsCreate(CreateAttachment),
    /// Answered with `{}`.
    #[serde(rename = "attachments.delete")]
    AttachmentsDelete(OfAttachment),
    /// A recording. Answered with its words.
    #[serde(rename = "input.transcribe")]
    InputTranscribe(Transcribe),
}

/// Why a body is no request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadRequest {
    /// It is no JSON.
    #[error("The body is not valid JSON.")]
    Json,
    /// It is JSON, and not what is asked for.
    #[error("{0}")]
    Field(String),
}

#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) params: Option<&'a RawValue>,
}

impl Envelope<'_> {
    fn kind(&self) -> Option<String> {
        self.kind.and_then(|kind| serde_json::from_str(kind.get()).ok())
    }

    /// Whether its type is this one. A type that is much longer is not copied.
    pub(super) fn is_of(&self, kind: &str) -> bool {
        // Each character may be written as six.
        self.kind.is_some_and(|raw| raw.get().len() <= 6 * kind.len() + 2)
            && self.kind().as_deref() == Some(kind)
    }
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is no JSON, has an unknown type, or a field is missing or of the wrong kind: the
    /// text names it.
    pub fn parse(body: &[u8]) -> Result<Self, BadRequest> {
        serde_json::from_slice::<IgnoredAny>(body).map_err(|_| BadRequest::Json)?;
        let envelope: Envelope<'_> = objects::from_slice(body)
            .map_err(|_| BadRequest::Field("The body must be a JSON object.".to_owned()))?;
        let kind = envelope.kind().ok_or_else(|| {
            BadRequest::Field("`type` must be a string: the name of a request.".to_owned())
        })?;
        Self::of(&kind, envelope.params.map(RawValue::get))
    }

    /// Whether answering it costs something: the model is asked, or an agent does what a person
    /// wants. The output of a client tool belongs to an answer that was counted.
    #[must_use]
    pub fn costs(&self) -> bool {
        match self {
            Self::Streaming(
                Streaming::ThreadsCreate(_)
                | Streaming::ThreadsAddUserMessage(_)
                | Streaming::ThreadsAddStructuredInput(_)
                | Streaming::ThreadsRetryAfterItem(_)
                | Streaming::ThreadsCustomAction(_),
            )
            | Self::Plain(Plain::ThreadsSyncCustomAction(_) | Plain::InputTranscribe(_)) => true,
            Self::Streaming(Streaming::ThreadsAddClientToolOutput(_))
            | Self::Plain(
                Plain::ThreadsGetById(_)
                | Plain::ThreadsList(_)
                | Plain::ThreadsUpdate(_)
                | Plain::ThreadsDelete(_)
                | Plain::ItemsList(_)
                | Plain::ItemsFeedback(_)
                | Plain::AttachmentsCreate(_)
                | Plain::AttachmentsDelete(_),
            ) => false,
        }
    }

    fn of(kind: &str, params: Option<&str>) -> Result<Self, BadRequest> {
        use {Plain as P, Streaming as S};
        Ok(match kind {
            "threads.create" => Self::Streaming(S::ThreadsCreate(read(params)?)),
            "threads.add_user_message" => Self::Streaming(S::ThreadsAddUserMessage(read(params)?)),
            "threads.add_client_tool_output" => {
                Self::Streaming(S::ThreadsAddClientToolOutput(read(params)?))
            }
            "threads.add_structured_input" => {
                Self::Streaming(S::ThreadsAddStructuredInput(read(params)?))
            }
            "threads.retry_after_item" => Self::Streaming(S::ThreadsRetryAfterItem(read(params)?)),
            "threads.custom_action" => Self::Streaming(S::ThreadsCustomAction(read(params)?)),
            "threads.get_by_id" => Self::Plain(P::ThreadsGetById(read(params)?)),
            "threads.list" => Self::Plain(P::ThreadsList(read(params)?)),
            "threads.update" => Self::Plain(P::ThreadsUpdate(read(params)?)),
            "threads.delete" => Self::Plain(P::ThreadsDelete(read(params)?)),
            "threads.sync_custom_action" => Self::Plain(P::ThreadsSyncCustomAction(read(params)?)),
            "items.list" => Self::Plain(P::ItemsList(read(params)?)),
            "items.feedback" => Self::Plain(P::ItemsFeedback(read(params)?)),
            "attachments.create" => Self::Plain(P::AttachmentsCreate(read(params)?)),
            "attachments.delete" => Self::Plain(P::AttachmentsDelete(read(params)?)),
            SPEECH => Self::Plain(P::InputTranscribe(read(params)?)),
            unknown => {
                let shown: String = unknown.chars().take(64).collect();
                return Err(BadRequest::Field(format!("`type` is unknown: `{shown}`.")));
            }
        })
    }
}

pub(super) fn read<'a, T: Deserialize<'a>>(params: Option<&'a str>) -> Result<T, BadRequest> {
    let Some(params) = params.filter(|params| params.starts_with('{')) else {
        return Err(BadRequest::Field("`params` must be an object.".to_owned()));
    };
    let mut json = serde_json::Deserializer::from_str(params);
    serde_path_to_error::deserialize(Objects(&mut json)).map_err(|error| {
        let path = shortened(&error.path().to_string(), LONGEST_PATH);
        let what = error.inner().to_string();
        // serde_json adds a place in the text, which counts from the beginning of `params`.
        let what = what.rsplit_once(" at line ").map_or(&*what, |(what, _)| what);
        let what = shortened(what, LONGEST_COMPLAINT);
        let place = if path == "." { "params".to_owned() } else { format!("params.{path}") };
        BadRequest::Field(format!("`{place}`: {what}."))
    })
}

/// The beginning of what is as long as the client likes: a path, or a text with a value in it.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::{InferenceOptions, Order, UserContent};

    fn parse(body: &Value) -> Result<Request, BadRequest> {
        Request::parse(body.to_string().as_bytes())
    }

    fn complaint(body: &Value) -> String {
        parse(body).expect_err("this is no request").to_string()
    }

    #[test]
    fn a_message_is_read_and_what_it_has_besides_is_ignored() {
        let body = json!({"type": "threads.create", "metadata": {"x": 1}, "params": {"input": {
            "content": [{"type": "input_text", "text": "hi\u{0}", "more": 1}], "attachments": [],
            "inference_options": {"model": null}, "quoted_text": null}}});
        let Ok(Request::Streaming(Streaming::ThreadsCreate(CreateThread { input }))) = parse(&body)
        else {
            panic!("{body} is a request");
        };
        assert_eq!(input.content, [UserContent::InputText { text: "hi\u{0}".to_owned() }]);
        assert_eq!(
            (input.quoted_text, input.inference_options),
            (None, InferenceOptions::default())
        );
    }

    #[test]
    fn a_wrong_field_is_named_with_its_path() {
        let unknown = json!({"type": "threads.stop"});
        assert_eq!(complaint(&unknown), "`type` is unknown: `threads.stop`.");
        assert_eq!(complaint(&json!({"type": "threads.list"})), "`params` must be an object.");
        assert_eq!(
            complaint(&json!({"params": {}})),
            "`type` must be a string: the name of a request."
        );
        assert_eq!(complaint(&json!([1])), "The body must be a JSON object.");
        assert_eq!(Request::parse(b"{"), Err(BadRequest::Json));
        let nothing = json!({"type": "threads.get_by_id", "params": {}});
        assert_eq!(complaint(&nothing), "`params`: missing field `thread_id`.");
        let tag = json!({"content": [{"type": "input_tag", "id": "a", "text": "b"}]});
        assert_eq!(
            complaint(&json!({"type": "threads.create", "params": {"input": tag}})),
            "`params.input.content[0]`: missing field `data`."
        );
        assert_eq!(
            complaint(
                &json!({"type": "threads.add_client_tool_output", "params": {"thread_id": "t"}})
            ),
            "`params`: missing field `result`."
        );
    }

    #[test]
    fn a_truth_value_may_be_a_word_or_a_number() {
        let tag =
            json!({"type": "input_tag", "id": "a", "text": "b", "data": {}, "interactive": "yes"});
        let input = json!({"content": [tag], "attachments": [], "inference_options": {}});
        let body = json!({"type": "threads.create", "params": {"input": input}});
        let Ok(Request::Streaming(Streaming::ThreadsCreate(CreateThread { input }))) = parse(&body)
        else {
            panic!("{body} is a request");
        };
        assert!(matches!(&input.content[..], [UserContent::InputTag(tag)] if tag.interactive));
        let answers = json!({"status": "answered", "answers": {"q": {"values": [], "skipped": 1}}});
        let params = json!({"thread_id": "t", "item_id": "i", "input": answers});
        let body = json!({"type": "threads.add_structured_input", "params": params});
        let Ok(Request::Streaming(Streaming::ThreadsAddStructuredInput(given))) = parse(&body)
        else {
            panic!("{body} is a request");
        };
        assert!(given.input.answers["q"].skipped);
    }

    #[test]
    fn a_result_of_null_is_a_result() {
        let body = json!({"type": "threads.add_client_tool_output", "params": {"thread_id": "t", "result": null}});
        assert!(parse(&body).is_ok(), "null is JSON");
    }

    #[test]
    fn a_limit_may_be_missing_null_a_number_or_its_text() {
        for (limit, read) in [
            (json!(null), None),
            (json!(2), Some(2)),
            (json!("2"), Some(2)),
            (json!(2.0), Some(2)),
            (json!(true), Some(1)),
            (json!(99_999_999_999_u64), Some(u32::MAX)),
        ] {
            let body = json!({"type": "threads.list", "params": {"limit": limit}});
            let Ok(Request::Plain(Plain::ThreadsList(page))) = parse(&body) else {
                panic!("{body} is a request")
            };
            assert_eq!(page.limit, read, "{body}");
        }
        for limit in [json!(-1), json!(1.5), json!("two"), json!([1])] {
            complaint(&json!({"type": "threads.list", "params": {"limit": limit}}));
        }
        let listed = json!({"type": "items.list", "params": {"thread_id": "t", "limit": "3", "order": "asc"}});
        let Ok(Request::Plain(Plain::ItemsList(list))) = parse(&listed) else {
            panic!("{listed} is a request")
        };
        assert_eq!((list.page.limit, list.page.order), (Some(3), Order::Asc));
    }
}
