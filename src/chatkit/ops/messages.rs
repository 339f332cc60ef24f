//! What does a person bring to a thread? Messages, what tools returned, answers to questions, and
//! the wish for another answer.

use super::sizes::{
    bytes_of, bytes_of_answers, bytes_of_message, require_affordable, require_few_parts,
    require_short,
};
use super::writable_thread;
use crate::agent::turn::new_item;
use crate::chatkit::turn::{Plan, answered, is_pending_call};
use crate::chatkit::uploads::{check_attachments, refuse_sent};
use crate::chatkit::{Asker, Chat, not_found};
use crate::error::{Error, Kind};
use crate::ids::new_id;
use crate::protocol::{
    AddClientToolOutput, AddStructuredInput, AddUserMessage, ClientToolCallStatus, CreateThread,
    Event, Id, Item, ItemKind, ItemOfThread, StreamOptions, Thread, UserMessage, UserMessageInput,
};

/// Where the call of a repeated output is looked for: nothing but what the agent said may have come
/// after it.
const NEWEST: u32 = 20;

/// A thread that begins with a message.
pub(super) async fn create_thread(
    chat: &Chat,
    asker: &Asker,
    params: CreateThread,
) -> Result<Plan, Error> {
    let thread = Thread::new(new_id("thr_"), chat.now());
    let message = message(chat, asker, &thread.id, params.input).await?;
    Ok(Plan::Create { thread, message })
}

/// A further message.
pub(super) async fn add_message(
    chat: &Chat,
    asker: &Asker,
    params: AddUserMessage,
) -> Result<Plan, Error> {
    let thread = writable_thread(chat, asker, &params.thread_id).await?;
    let message = message(chat, asker, &thread.id, params.input).await?;
    Ok(Plan::Message { thread, message })
}

/// What a tool of the page returned. Only the newest item of a thread can be a call that waits for
/// it; the same output once more is passed over.
pub(super) async fn add_tool_output(
    chat: &Chat,
    asker: &Asker,
    params: AddClientToolOutput,
) -> Result<Plan, Error> {
    let thread = writable_thread(chat, asker, &params.thread_id).await?;
    require_short(chat, "params.result", bytes_of(&params.result))?;
    let newest = chat.newest_items(&asker.owner, &thread.id, NEWEST).await?;
    if let Some(call) = newest.first().filter(|item| is_pending_call(item)) {
        return Ok(Plan::ToolOutput { thread, call_id: call.id.clone(), result: params.result });
    }
    let is_repeated = newest.iter().find_map(|item| match &item.kind {
        ItemKind::UserMessage(_) => Some(false),
        ItemKind::ClientToolCall(call) => {
            Some(call.status == ClientToolCallStatus::Completed && call.output == params.result)
        }
        _ => None,
    });
    if is_repeated != Some(true) {
        return Err(Error::new(
            Kind::Conflict,
            "No tool call of this conversation waits for an output.",
        ));
    }
    let stream_options = StreamOptions { allow_cancel: true };
    Ok(Plan::Say { thread, event: Box::new(Event::StreamOptions { stream_options }) })
}

/// Answers to questions.
pub(super) async fn add_answers(
    chat: &Chat,
    asker: &Asker,
    params: AddStructuredInput,
) -> Result<Plan, Error> {
    let AddStructuredInput { thread_id, item_id, input } = params;
    let thread = writable_thread(chat, asker, &thread_id).await?;
    require_short(chat, "params.input.answers", bytes_of_answers(&input))?;
    let item = chat.store.item(&asker.owner, &thread.id, &item_id).await?;
    let item = item.filter(|item| !item.is_hidden()).ok_or_else(not_found)?;
    match &item.kind {
        ItemKind::StructuredInput { .. } if answered(item.clone(), &input).is_some() => {
            Ok(Plan::StructuredInput { thread, item_id, input })
        }
        ItemKind::StructuredInput { .. } => {
            Err(Error::new(Kind::Conflict, "These questions are answered already."))
        }
        _ => Err(Error::invalid("`params.item_id` must be the id of an item that asks questions.")),
    }
}

/// Another answer to a message.
pub(super) async fn retry(
    chat: &Chat,
    asker: &Asker,
    params: &ItemOfThread,
) -> Result<Plan, Error> {
    let thread = writable_thread(chat, asker, &params.thread_id).await?;
    let item = chat.store.item(&asker.owner, &thread.id, &params.item_id).await?;
    let message = item.filter(|item| !item.is_hidden()).ok_or_else(not_found)?;
    let ItemKind::UserMessage(said) = &message.kind else {
        return Err(Error::invalid("`params.item_id` must be the id of a user's message."));
    };
    // The agent may have had another budget when it was sent.
    require_affordable(chat, asker, said).await?;
    Ok(Plan::Retry { thread, message })
}

async fn message(
    chat: &Chat,
    asker: &Asker,
    thread_id: &Id,
    input: UserMessageInput,
) -> Result<Item, Error> {
    require_short(chat, "params.input", bytes_of_message(&input))?;
    require_few_parts(&input)?;
    let UserMessageInput { content, attachments: ids, quoted_text, inference_options } = input;
    let mut attachments = check_attachments(&chat.uploads, &asker.owner, &ids).await?;
    refuse_sent(&attachments)?;
    for attachment in &mut attachments {
        attachment.thread_id = Some(thread_id.clone());
    }
    let message = UserMessage { content, attachments, quoted_text, inference_options };
    require_affordable(chat, asker, &message).await?;
    Ok(new_item(thread_id, chat.now(), ItemKind::UserMessage(message)))
}
