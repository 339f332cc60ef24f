//! How often does the database fail? [`Counted`] passes every call on, and counts those that fail.

use std::sync::Arc;

use super::{
    Added, Answer, Audience, Claimed, Each, Kept, Owner, PageQuery, Store, StoreError,
    StoredAttachment, ThreadChange, TurnClaim,
};
use crate::protocol::{Feedback, FeedbackKind, Id, Item, Thread, Timestamp};
use crate::telemetry::metrics::Metrics;
use crate::user::UserId;

/// A store whose failures are counted.
#[expect(missing_debug_implementations, reason = "a store need not have one")]
pub struct Counted {
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl Counted {
    /// Counts the failures of this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    fn note<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        answer.inspect_err(|_| self.metrics.store_failed())
    }
}

macro_rules! passed {
    ($(fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $answer:ty;)*) => {
        impl Store for Counted {
            $(fn $name<'a>(&'a self $(, $arg: $type)*) -> Answer<'a, $answer> {
                let answer = self.store.$name($($arg),*);
                Box::pin(async move { self.note(answer.await) })
            })*
        }
    };
}

passed! {
    fn create_thread(&self, owner: &'a Owner, thread: &'a Thread, first: &'a Item, claim: &'a TurnClaim) -> Claimed;
    fn is_key_reused(&self, owner: &'a Owner, thread_id: Option<&'a str>, key: &'a str, body: &'a str) -> bool;
    fn take_turn(&self, owner: &'a Owner, thread_id: &'a str, claim: &'a TurnClaim) -> Claimed;
    fn keep_turn(&self, owner: &'a Owner, thread_id: &'a str, claim: &'a TurnClaim) -> bool;
    fn end_turn(&self, owner: &'a Owner, thread_id: &'a str, claim: &'a TurnClaim, got_through: bool) -> ();
    fn thread(&self, owner: &'a Owner, thread_id: &'a str) -> Option<Thread>;
    fn each_thread(&self, owner: &'a Owner, page: &'a PageQuery, most: Option<u32>, each: Each<'a, Thread>) -> Option<bool>;
    fn change_thread(&self, owner: &'a Owner, thread_id: &'a str, change: &'a ThreadChange) -> Option<Thread>;
    fn delete_thread(&self, owner: &'a Owner, thread_id: &'a str) -> Option<Vec<Id>>;
    fn item(&self, owner: &'a Owner, thread_id: &'a str, item_id: &'a str) -> Option<Item>;
    fn each_item(&self, owner: &'a Owner, thread_id: &'a str, page: &'a PageQuery, audience: Audience, each: Each<'a, Item>) -> Option<bool>;
    fn save_item(&self, owner: &'a Owner, item: &'a Item) -> bool;
    fn add_message(&self, owner: &'a Owner, message: &'a Item) -> Added;
    fn remove_items(&self, owner: &'a Owner, thread_id: &'a str, item_ids: &'a [Id]) -> ();
    fn replace_after(&self, owner: &'a Owner, thread_id: &'a str, item_id: &'a str, items: &'a [Item]) -> bool;
    fn save_feedback(&self, owner: &'a Owner, feedback: &'a Feedback, at: Timestamp) -> bool;
    fn feedback(&self, owner: &'a Owner, thread_id: &'a str) -> Vec<(Id, FeedbackKind)>;
    fn add_attachment(&self, owner: &'a Owner, attachment: &'a StoredAttachment, most: u64) -> bool;
    fn complete_attachment(&self, owner: &'a Owner, attachment: &'a StoredAttachment) -> bool;
    fn save_attachment(&self, owner: &'a Owner, attachment: &'a StoredAttachment) -> ();
    fn attachment(&self, owner: &'a Owner, attachment_id: &'a str) -> Option<StoredAttachment>;
    fn linked_attachment(&self, attachment_id: &'a str) -> Option<(Owner, StoredAttachment)>;
    fn kept_attachments(&self, owner: &'a Owner) -> Kept;
    fn known_attachments(&self, ids: &'a [Id]) -> Vec<Id>;
    fn delete_attachment(&self, owner: &'a Owner, attachment_id: &'a str) -> bool;
    fn sweep_attachments(&self, before: Timestamp, limit: u32) -> Vec<Id>;
    fn sweep_threads(&self, before: Timestamp, limit: u32) -> (u64, Vec<Id>);
    fn revoke(&self, user: &'a UserId, secret: Option<&'a str>) -> ();
    fn last_revocation(&self, user: &'a UserId) -> Timestamp;
    fn is_revoked(&self, user: &'a UserId, secret: &'a str, after: Timestamp) -> bool;
    fn sweep_revocations(&self) -> ();
    fn ping(&self) -> ();
}
