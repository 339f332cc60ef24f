//! What is a turn about? It stands with the claim, so that another replica can tell the answer of
//! the very same request, or take up that one and no other.

use serde::{Deserialize, Serialize};

use crate::protocol::Id;

/// What a turn is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TurnAbout {
    /// A message that a person brought.
    Message {
        /// The message. It may not be stored yet.
        item_id: Id,
    },
    /// What a tool of the page returned.
    Output {
        /// The call, which may still be pending.
        item_id: Id,
    },
    /// Answers to questions.
    Answers {
        /// The questions, which may still be pending.
        item_id: Id,
        /// What stood at the end of the thread when they were answered, once they are: the turn's
        /// answer comes behind it.
        behind: Option<Id>,
    },
    /// Another answer to a message.
    Retry {
        /// The message.
        item_id: Id,
    },
    /// What was done in a widget. Nothing in the thread stands for it.
    Act,
}
