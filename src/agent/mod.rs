//! Who answers? An [`Agent`]: it is given a [`Turn`], reads the thread, and emits what it has to
//! say as it comes.

mod history;
pub mod model;
pub mod title;
pub mod turn;
pub mod widget;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

pub use history::cost_of;
pub use turn::Turn;

use crate::protocol::{Action, Id, Item, ItemUpdate, NoticeLevel, UserMessage};
use crate::store::ThreadChange;

/// Something that answers in threads.
///
/// The future of a turn is dropped when the turn is stopped: what it awaits ends with it. What it
/// emitted by then is kept.
pub trait Agent: Send + Sync + 'static {
    /// Answers the newest item of the thread: a user's message, the output of a client tool, or
    /// answers to questions.
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>>;

    /// Does what a person asked for in a widget, and says what changes by it. `sender` is the
    /// widget, if it came from one.
    fn act<'a>(
        &'a self,
        turn: &'a Turn,
        action: &'a Action,
        sender: Option<&'a Item>,
    ) -> BoxFuture<'a, Result<(), AgentError>> {
        let _ = (turn, action, sender);
        async { Err(AgentError::no_actions()) }.boxed()
    }

    /// Like [`Agent::act`], for an action that wants no stream: returns the widget as it is then,
    /// if it changed. It may run while a turn of the same thread does.
    fn act_now<'a>(
        &'a self,
        turn: &'a Turn,
        action: &'a Action,
        sender: Option<&'a Item>,
    ) -> BoxFuture<'a, Result<Option<Item>, AgentError>> {
        let _ = (turn, action, sender);
        async { Err(AgentError::no_actions()) }.boxed()
    }

    /// Proposes a title for a thread that begins with this message. It is asked after the first
    /// answer. Without one, the first words of the message are the title.
    fn title<'a>(&'a self, message: &'a UserMessage) -> BoxFuture<'a, Option<String>> {
        let _ = message;
        async { None }.boxed()
    }

    /// Whether threads get titles at all.
    fn wants_titles(&self) -> bool {
        true
    }

    /// What one message may cost together with its files, in tokens. `None` is no limit of the
    /// agent's.
    fn max_input_tokens(&self) -> Option<u32> {
        None
    }

    /// Whether the UI shows a stop button while this agent answers.
    fn allow_cancel(&self) -> bool {
        true
    }
}

/// Something that an agent says. It is stored where that is said, and then goes to whoever listens.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEvent {
    /// An item begins. From here on it is kept when the turn is stopped, if it is a message with
    /// text.
    ItemAdded(Item),
    /// An item that has begun changes.
    ItemUpdated {
        /// Which item.
        item_id: Id,
        /// How.
        update: ItemUpdate,
    },
    /// An item is final: it is stored. Hidden ones are stored and not sent.
    ItemDone(Item),
    /// An item is stored, and nothing is sent: a workflow that the next turn goes on with.
    ItemKept(Item),
    /// A stored item is another now: it is stored over itself.
    ItemReplaced(Item),
    /// An item is withdrawn: it is deleted.
    ItemRemoved(Id),
    /// The thread changes.
    ThreadChanged(ThreadChange),
    /// Something to show until something else comes. It is not stored.
    Progress {
        /// The text.
        text: String,
        /// The icon in front of it.
        icon: Option<String>,
    },
    /// Something for the page to do. It is not stored.
    ClientEffect {
        /// What.
        name: String,
        /// What with.
        data: Map<String, Value>,
    },
    /// Something to tell the person. It is not stored.
    Notice {
        /// How grave it is.
        level: NoticeLevel,
        /// The text, in Markdown.
        message: String,
        /// What stands above it.
        title: Option<String>,
    },
}

/// Why an answer failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It did. The person is told nothing but that.
    #[error("{cause}")]
    Failed {
        /// For the log.
        cause: String,
        /// Whether trying again makes sense.
        allow_retry: bool,
    },
    /// It did, and the person is told why.
    #[error("{message}")]
    Told {
        /// What the person reads.
        message: String,
        /// Whether trying again makes sense.
        allow_retry: bool,
    },
    /// It was asked for what it does not do, and the person is told so. That is no fault of the
    /// service's.
    #[error("{message}")]
    Declined {
        /// What the person reads.
        message: String,
    },
    /// The turn is over, so nobody wants to hear more. An agent passes it on.
    #[error("the turn is over")]
    Over,
}

impl AgentError {
    /// A failure that may pass.
    pub fn failed(cause: impl std::fmt::Display) -> Self {
        Self::Failed { cause: cause.to_string(), allow_retry: true }
    }

    fn no_actions() -> Self {
        let message = "This assistant does not handle actions.".to_owned();
        Self::Declined { message }
    }
}
