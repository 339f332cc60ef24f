//! What does a person think of answers?

use super::Done;
use crate::chatkit::{Asker, Chat, not_found};
use crate::error::Error;
use crate::protocol::Feedback;

/// How many items one request may name. Each is a statement in one transaction, for which others
/// wait.
const MOST_ITEMS: usize = 100;

/// Notes what a person thinks of items.
pub(super) async fn note_feedback(
    chat: &Chat,
    asker: &Asker,
    params: &Feedback,
) -> Result<Done, Error> {
    if params.item_ids.len() > MOST_ITEMS {
        return Err(Error::invalid(format!(
            "`params.item_ids` names more than {MOST_ITEMS} items."
        )));
    }
    let is_noted = chat.store.save_feedback(&asker.owner, params, chat.now()).await?;
    if is_noted { Ok(Done {}) } else { Err(not_found()) }
}
