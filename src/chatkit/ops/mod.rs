//! What does each request do? One file a family: functions from what was asked to an answer, or for
//! a streaming request to the plan of a turn.

mod feedback;
mod messages;
mod read;
mod sizes;
mod threads;
mod widgets;

use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::transcribe::{Speech, Transcription, no_dictation};
use super::turn::Plan;
use super::{Asker, Chat, not_found, uploads};
use crate::error::{Error, Kind};
use crate::extract::{Json, Longer};
use crate::protocol::{Attachment, Item, Page, Plain, Streaming, Thread, ThreadStatus, ThreadView};
use crate::upstream::{Call, Deadline};

/// Answers a request that is answered with JSON.
///
/// # Errors
/// What is not there, or is not allowed; and failures of what is below.
pub async fn answer(chat: &Chat, asker: &Asker, request: Plain) -> Result<Response, Error> {
    match request {
        Plain::ThreadsGetById(params) => read::get_thread(chat, asker, &params).await,
        Plain::ThreadsList(params) => read::list_threads(chat, asker, params).await,
        Plain::ItemsList(params) => read::list_items(chat, asker, params).await,
        Plain::ThreadsUpdate(params) => json(threads::rename_thread(chat, asker, params).await),
        Plain::ThreadsDelete(params) => json(threads::delete_thread(chat, asker, &params).await),
        Plain::ThreadsSyncCustomAction(params) => json(widgets::act_now(chat, asker, params).await),
        Plain::ItemsFeedback(params) => json(feedback::note_feedback(chat, asker, &params).await),
        Plain::AttachmentsCreate(params) => json(
            uploads::create_attachment(&chat.uploads, &asker.owner, &params, &asker.base).await,
        ),
        Plain::AttachmentsDelete(params) => {
            let deleted =
                uploads::delete_attachment(&chat.uploads, &asker.owner, &params.attachment_id)
                    .await;
            json(deleted.map(|()| Done {}))
        }
        Plain::InputTranscribe(params) => {
            let speech = chat.speech.as_ref().ok_or_else(no_dictation)?;
            json(speech.transcribe(&asker.speaker(), params, call(speech, asker)).await)
        }
    }
}

/// Answers a request whose body is too large for any but one: `input.transcribe` with a long
/// recording. `None` for another.
///
/// # Errors
/// As for [`answer`].
pub async fn answer_long(
    chat: &Chat,
    asker: &Asker,
    body: Longer,
) -> Result<Option<Response>, Error> {
    let speech = chat.speech.as_ref().ok_or_else(no_dictation)?;
    let text = speech.transcribe_long(&asker.speaker(), body, call(speech, asker)).await?;
    text.map(|text| json(Ok(text))).transpose()
}

fn call<'a>(speech: &Speech, asker: &'a Asker) -> Call<'a> {
    Call { deadline: Deadline::after(speech.timeout), request: Some(&asker.context) }
}

/// Checks a streaming request as far as that is possible before its turn, and says what the turn
/// will do.
///
/// # Errors
/// Whatever can be refused before a stream begins.
pub async fn plan(chat: &Chat, asker: &Asker, request: Streaming) -> Result<Plan, Error> {
    match request {
        Streaming::ThreadsCreate(params) => messages::create_thread(chat, asker, params).await,
        Streaming::ThreadsAddUserMessage(params) => {
            messages::add_message(chat, asker, params).await
        }
        Streaming::ThreadsAddClientToolOutput(params) => {
            messages::add_tool_output(chat, asker, params).await
        }
        Streaming::ThreadsAddStructuredInput(params) => {
            messages::add_answers(chat, asker, params).await
        }
        Streaming::ThreadsRetryAfterItem(params) => messages::retry(chat, asker, &params).await,
        Streaming::ThreadsCustomAction(params) => widgets::act(chat, asker, params).await,
    }
}

/// What a plain request is answered with.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it documents the answers, which `answer` makes")]
#[schema(as = ChatAnswer)]
#[serde(untagged)]
pub(super) enum Answer {
    Thread(ThreadView),
    Threads(Page<ThreadView>),
    Items(Page<Item>),
    Attachment(Attachment),
    Words(Transcription),
    Changed(widgets::ActedNow),
    Done(Done),
}

/// `{}`: done.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Done {}

fn json<T: Serialize>(answer: Result<T, Error>) -> Result<Response, Error> {
    answer.map(|answer| Json(answer).into_response())
}

/// The thread of a request that changes it.
async fn writable_thread(chat: &Chat, asker: &Asker, thread_id: &str) -> Result<Thread, Error> {
    let thread = chat.store.thread(&asker.owner, thread_id).await?.ok_or_else(not_found)?;
    let (state, reason) = match &thread.status {
        ThreadStatus::Active => return Ok(thread),
        ThreadStatus::Locked { reason } => ("locked", reason),
        ThreadStatus::Closed { reason } => ("closed", reason),
    };
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(Error::new(
        Kind::Conflict,
        format!("This conversation is {state}{reason}. Start a new one."),
    ))
}
