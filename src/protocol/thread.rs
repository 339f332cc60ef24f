//! What is a thread on the wire, and what is a page of something?

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Id, Item, Timestamp};

/// A conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ThreadMetadata)]
pub struct Thread {
    /// Its title; absent until one is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `thr_` and 32 hex digits.
    #[schema(value_type = String)]
    pub id: Id,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Whether it may be written to.
    pub status: ThreadStatus,
    /// Hosts from which the widget may load images; absent unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_image_domains: Option<Vec<String>>,
    /// Always `{}` on the wire.
    #[serde(default)]
    #[schema(value_type = HashMap<String, Value>)]
    pub metadata: Map<String, Value>,
}

impl Thread {
    /// A new, active thread without a title.
    #[must_use]
    pub fn new(id: Id, created_at: Timestamp) -> Self {
        let (title, allowed_image_domains) = (None, None);
        Self {
            title,
            id,
            created_at,
            status: ThreadStatus::Active,
            allowed_image_domains,
            metadata: Map::new(),
        }
    }
}

/// Whether a thread may be written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ThreadStatus {
    /// It may.
    Active,
    /// Not for now.
    Locked {
        /// What a person is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Not any more.
    Closed {
        /// What a person is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// A thread as an answer carries it: with a page of its items, which only `threads.get_by_id`
/// fills.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Thread)]
pub struct ThreadView {
    /// The thread, whose `metadata` stays here.
    #[serde(flatten)]
    pub thread: Thread,
    /// Its items.
    pub items: Page<Item>,
}

impl ThreadView {
    /// The thread with the empty page.
    #[must_use]
    pub fn bare(thread: &Thread) -> Self {
        Self::with(thread, Page::default())
    }

    /// The thread with these items.
    #[must_use]
    pub fn with(thread: &Thread, items: Page<Item>) -> Self {
        let thread = Thread { metadata: Map::new(), ..thread.clone() };
        Self { thread, items }
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is in it.
    pub data: Vec<T>,
    /// Whether something follows.
    pub has_more: bool,
    /// The id of the last element, when something follows: the cursor of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub after: Option<Id>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { data: Vec::new(), has_more: false, after: None }
    }
}

impl<T> Page<T> {
    /// The same page of something made of each element.
    #[must_use]
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page {
            data: self.data.into_iter().map(each).collect(),
            has_more: self.has_more,
            after: self.after,
        }
    }
}
