//! How does a person manage threads? By naming and deleting them.

use super::{Done, writable_thread};
use crate::chatkit::{Asker, Chat, not_found};
use crate::error::Error;
use crate::protocol::{OfThread, ThreadView, UpdateThread};
use crate::store::{ThreadChange, TitleChange};

/// The longest title, in characters. Every list of threads carries it.
const LONGEST_TITLE: usize = 500;

/// Gives a thread a title, which stays.
pub(super) async fn rename_thread(
    chat: &Chat,
    asker: &Asker,
    params: UpdateThread,
) -> Result<ThreadView, Error> {
    if params.title.chars().count() > LONGEST_TITLE {
        let message = format!("`params.title` must have at most {LONGEST_TITLE} characters.");
        return Err(Error::invalid(message));
    }
    let thread = writable_thread(chat, asker, &params.thread_id).await?;
    let change =
        ThreadChange { title: Some(TitleChange::Set(params.title)), ..ThreadChange::default() };
    let changed = chat.store.change_thread(&asker.owner, &thread.id, &change).await?;
    Ok(ThreadView::bare(&changed.ok_or_else(not_found)?))
}

/// Deletes a thread with all that is in it, its files too.
pub(super) async fn delete_thread(
    chat: &Chat,
    asker: &Asker,
    params: &OfThread,
) -> Result<Done, Error> {
    let files =
        chat.store.delete_thread(&asker.owner, &params.thread_id).await?.ok_or_else(not_found)?;
    chat.uploads.remove_files(&files).await;
    Ok(Done {})
}
