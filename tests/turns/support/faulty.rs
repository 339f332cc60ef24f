//! What if the store fails? A store that does, at a call of the test's choice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatkit_server::protocol::{Feedback, FeedbackKind, Id, Item, Thread, Timestamp};
use chatkit_server::store::{
    Added, Answer, Audience, Claimed, Each, Kept, Owner, PageQuery, Store, StoreError,
    StoredAttachment, ThreadChange, TurnClaim,
};
use chatkit_server::user::UserId;
use futures_util::FutureExt;

/// A store whose call number `failing` fails; calls count from 0. Sweeps come at times of their own
/// and don't count.
pub(crate) struct Faulty {
    store: Arc<dyn Store>,
    calls: AtomicUsize,
    failing: AtomicUsize,
    fault: Fault,
}

/// How a call fails.
pub(crate) type Fault = fn(String) -> StoreError;

impl Faulty {
    pub(crate) fn new(store: Arc<dyn Store>, fault: Fault) -> Self {
        Self { store, calls: AtomicUsize::new(0), failing: AtomicUsize::new(usize::MAX), fault }
    }

    /// Lets the call fail that comes after so many others.
    pub(crate) fn fail_after(&self, calls: usize) {
        self.calls.store(0, Ordering::SeqCst);
        self.failing.store(calls, Ordering::SeqCst);
    }

    /// Whether the call has come that was to fail.
    pub(crate) fn has_failed(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > self.failing.load(Ordering::SeqCst)
    }

    fn pass<'a, T>(&'a self, call: impl FnOnce(&'a dyn Store) -> Answer<'a, T>) -> Answer<'a, T>
    where
        T: Send + 'a,
    {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.failing.load(Ordering::SeqCst) {
            let fault = (self.fault)("the test wants it".to_owned());
            return async { Err(fault) }.boxed();
        }
        call(&*self.store)
    }
}

macro_rules! passed {
    ($(fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $answer:ty;)*) => {
        impl Store for Faulty {
            $(fn $name<'a>(&'a self $(, $arg: $type)*) -> Answer<'a, $answer> {
                // The service sweeps at a time of its own.
                if stringify!($name).starts_with("sweep_") {
                    return self.store.$name($($arg),*);
                }
                self.pass(move |store| store.$name($($arg),*))
            })*

            fn sweep_attachments(&self, before: Timestamp, limit: u32) -> Answer<'_, Vec<Id>> {
                self.store.sweep_attachments(before, limit)
            }

            fn sweep_threads(&self, before: Timestamp, limit: u32) -> Answer<'_, (u64, Vec<Id>)> {
                self.store.sweep_threads(before, limit)
            }
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
    fn revoke(&self, user: &'a UserId, secret: Option<&'a str>) -> ();
    fn last_revocation(&self, user: &'a UserId) -> Timestamp;
    fn is_revoked(&self, user: &'a UserId, secret: &'a str, after: Timestamp) -> bool;
    fn sweep_revocations(&self) -> ();
    fn ping(&self) -> ();
}
