//! What will a turn do? A [`Plan`] is a streaming request after its checks.

use serde_json::Value;

use crate::protocol::{Action, Event, Id, Item, ItemKind, StructuredAnswers, Thread};
use crate::store::TurnAbout;

/// What a turn will do.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Makes a thread that begins with a message, and answers it.
    Create {
        /// The thread, which is not stored yet.
        thread: Thread,
        /// The message, which is not stored yet.
        message: Item,
    },
    /// Adds a message and answers it.
    Message {
        /// The thread.
        thread: Thread,
        /// The message, which is not stored yet.
        message: Item,
    },
    /// Completes the pending call at the end of the thread, and goes on.
    ToolOutput {
        /// The thread.
        thread: Thread,
        /// The call.
        call_id: Id,
        /// What the tool returned.
        result: Value,
    },
    /// Notes answers to questions, and goes on.
    StructuredInput {
        /// The thread.
        thread: Thread,
        /// Which item asked.
        item_id: Id,
        /// The answers.
        input: StructuredAnswers,
    },
    /// Answers a message anew; the earlier answer stays until there is a new one.
    Retry {
        /// The thread.
        thread: Thread,
        /// The message.
        message: Item,
    },
    /// Takes up a turn that was stopped because nobody listened.
    Resume(Resumption),
    /// Lets the agent handle what a person did in a widget.
    Act {
        /// The thread.
        thread: Thread,
        /// The widget, if it came from one.
        sender: Option<Item>,
        /// What was done.
        action: Action,
    },
    /// Says one event and nothing else.
    Say {
        /// The thread.
        thread: Thread,
        /// The event.
        event: Box<Event>,
    },
}

/// How a turn is taken up again: it says what was said first, and answers anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Resumption {
    /// The thread.
    pub thread: Thread,
    /// What was said before the answer.
    pub preamble: Vec<Event>,
    /// What is answered: whatever stands behind it is replaced.
    pub anchor: Item,
}

/// Where a turn stands in its thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The thread.
    pub thread_id: Id,
    /// What is answered.
    pub anchor_id: Id,
    /// Whether an earlier message is answered anew.
    pub is_retry: bool,
}

impl Resumption {
    pub(super) fn place(&self) -> Place {
        let is_message = matches!(self.anchor.kind, ItemKind::UserMessage(_));
        Place {
            thread_id: self.thread.id.clone(),
            anchor_id: self.anchor.id.clone(),
            is_retry: is_message && self.preamble.is_empty(),
        }
    }
}

impl Resumption {
    /// What the turn was about that is taken up again.
    fn about(&self) -> TurnAbout {
        let anchor_id = self.anchor.id.clone();
        let answered = self.preamble.iter().find_map(|event| match event {
            Event::ItemReplaced { item } => Some(item.id.clone()),
            _ => None,
        });
        match (answered, &self.anchor.kind) {
            (Some(item_id), _) => TurnAbout::Answers { item_id, behind: Some(anchor_id) },
            (None, ItemKind::UserMessage(_)) if self.preamble.is_empty() => {
                TurnAbout::Retry { item_id: anchor_id }
            }
            (None, ItemKind::UserMessage(_)) => TurnAbout::Message { item_id: anchor_id },
            (None, _) => TurnAbout::Output { item_id: anchor_id },
        }
    }
}

impl Plan {
    /// What stands with the claim.
    pub(super) fn about(&self) -> Option<TurnAbout> {
        let about = match self {
            Self::Create { message, .. } | Self::Message { message, .. } => {
                TurnAbout::Message { item_id: message.id.clone() }
            }
            Self::ToolOutput { call_id, .. } => TurnAbout::Output { item_id: call_id.clone() },
            Self::StructuredInput { item_id, .. } => {
                TurnAbout::Answers { item_id: item_id.clone(), behind: None }
            }
            Self::Retry { message, .. } => TurnAbout::Retry { item_id: message.id.clone() },
            Self::Act { .. } => TurnAbout::Act,
            Self::Resume(resumption) => resumption.about(),
            Self::Say { .. } => return None,
        };
        Some(about)
    }

    /// The thread that it is carried out in.
    pub(in crate::chatkit) fn thread_id(&self) -> &Id {
        match self {
            Self::Create { thread, .. }
            | Self::Message { thread, .. }
            | Self::ToolOutput { thread, .. }
            | Self::StructuredInput { thread, .. }
            | Self::Retry { thread, .. }
            | Self::Resume(Resumption { thread, .. })
            | Self::Act { thread, .. }
            | Self::Say { thread, .. } => &thread.id,
        }
    }
}
