//! What does a person think of answers?

use super::Done;
use crate::chatkit::{Asker, Chat, not_found};
use crate::error::Error;
use crate::protocol::Feedback;

/// Notes what a person thinks of items.
pub(super) async fn note_feedback(chat: &Chat, asker: &Asker, params: &Feedback) -> Result<Done, Error> {
    let is_noted = chat.store.save_feedback(&asker.owner, params, chat.now()).await?;
    if is_noted { Ok(Done {}) } else { Err(not_found()) }
}
