//! Where do threads live? [`Store`] is what the chat needs of a database; SQLite and PostgreSQL
//! keep it alike.
//!
//! Every call names the owner first. What belongs to somebody else is not there: look-ups return
//! `None`, and changes say that nothing was changed.

mod about;
mod attachments;
mod claim;
mod connect;
pub mod counted;
mod database;
pub mod files;
mod insist;
mod items;
mod page;
mod pulse;
mod revocations;
pub mod revoked;
pub mod room;
mod sql_store;
mod sqlite_file;
mod threads;
mod turns;

pub use about::TurnAbout;
pub use attachments::{Kept, StoredAttachment};
pub use claim::{Claimed, TurnClaim};
pub use connect::{connect, connect_alone};
pub use insist::insist;
pub use page::{Each, PAGE_BYTES};

use page::Filling;

use futures_util::future::BoxFuture;

use crate::protocol::{
    Feedback, FeedbackKind, Id, Item, Order, Page, Thread, ThreadStatus, Timestamp,
};
use crate::user::UserId;

/// Whose a thread is: a user's, within a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The workflow: the name of an agent.
    pub workflow: Id,
    /// The user.
    pub user: UserId,
}

/// Why a call to the store came to nothing. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be reached, is overloaded, or took too long: the same call may go through
    /// a little later.
    #[error("the store is away: {0}")]
    Away(String),
    /// Anything else. It is not expected to go away by itself.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// What a call to the store comes to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Which part of a list: at most `limit` elements behind `after`, seen from the end that `order`
/// names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// 1 or more.
    pub limit: u32,
    /// Which end comes first.
    pub order: Order,
    /// The last element seen.
    pub after: Option<Id>,
}

/// For whom items are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// For the client: without hidden items. They are left out by the query, so that pages are
    /// full.
    Client,
    /// For the model: all.
    Model,
}

/// What of a thread changes; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadChange {
    /// Its title.
    pub title: Option<TitleChange>,
    /// Whether it may be written to.
    pub status: Option<ThreadStatus>,
    /// Hosts from which the widget may load images.
    pub allowed_image_domains: Option<Vec<String>>,
}

/// How a title changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TitleChange {
    /// To this one: a person chose it.
    Set(String),
    /// To this one, if there is none yet.
    Suggest(String),
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is stored, and its files are its thread's.
    Yes,
    /// There is no such thread.
    ThreadGone,
    /// One of its files is gone, or another item has it. Nothing is stored.
    FileGone,
}

/// What the chat needs of a database.
pub trait Store: Send + Sync + 'static {
    /// Makes a thread with its first item, and takes its turn. [`Claimed::Repeat`] when a thread
    /// was made by the same request (`claim.key` of the same owner) and that turn runs, or has not
    /// got through and its time has not passed: then nothing is made. The files of a user's message
    /// become the thread's; nothing is made either when one of them can't.
    fn create_thread<'a>(
        &'a self,
        owner: &'a Owner,
        thread: &'a Thread,
        first: &'a Item,
        claim: &'a TurnClaim,
    ) -> Answer<'a, Claimed>;

    /// Whether a key is known to have come with another body: to the thread that the request names,
    /// or to make one.
    fn is_key_reused<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: Option<&'a str>,
        key: &'a str,
        body: &'a str,
    ) -> Answer<'a, bool>;

    /// Takes a thread's turn: when nobody has it, or its holder's time has passed.
    /// [`Claimed::Repeat`] when the last claim has the same key and its turn runs, or it ended
    /// without getting through and its time has not passed, or its holder was lost less than two
    /// minutes ago.
    fn take_turn<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        claim: &'a TurnClaim,
    ) -> Answer<'a, Claimed>;

    /// Renews a claim, also one whose time has passed, under the key that it has by now. `false`
    /// when somebody else has the turn, or the thread is gone.
    fn keep_turn<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        claim: &'a TurnClaim,
    ) -> Answer<'a, bool>;

    /// Gives the turn back. With `got_through` the key is forgotten; without it, the key is
    /// remembered for as long as `claim.lasts`.
    fn end_turn<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        claim: &'a TurnClaim,
        got_through: bool,
    ) -> Answer<'a, ()>;

    /// A thread.
    fn thread<'a>(&'a self, owner: &'a Owner, thread_id: &'a str) -> Answer<'a, Option<Thread>>;

    /// Hands over threads by their making, until `each` has enough; with `most` as if there were
    /// none but the newest so many. A cursor that is one of the others counts by its place. It says
    /// whether something follows what was asked for, and `None` when `after` is not one of the
    /// owner's. Who keeps threads elsewhere reads them one by one, or a few at a time: a page may
    /// be asked for ten thousand and end after the first.
    fn each_thread<'a>(
        &'a self,
        owner: &'a Owner,
        page: &'a PageQuery,
        most: Option<u32>,
        each: Each<'a, Thread>,
    ) -> Answer<'a, Option<bool>>;

    /// A page of [`Store::each_thread`], of [`PAGE_BYTES`] at the most.
    fn threads<'a>(
        &'a self,
        owner: &'a Owner,
        page: &'a PageQuery,
    ) -> Answer<'a, Option<Page<Thread>>> {
        Box::pin(async move {
            let mut filling = Filling::new();
            let follows = self
                .each_thread(owner, page, None, &mut |thread, bytes| filling.take(thread, bytes))
                .await?;
            Ok(follows.map(|follows| filling.page(follows, |thread: &Thread| &thread.id)))
        })
    }

    /// Changes a thread in one step, and returns it as it is then.
    fn change_thread<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        change: &'a ThreadChange,
    ) -> Answer<'a, Option<Thread>>;

    /// Deletes a thread with its items, feedback and files. Returns the ids of the files, whose
    /// bytes are the caller's to remove.
    fn delete_thread<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
    ) -> Answer<'a, Option<Vec<Id>>>;

    /// An item.
    fn item<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        item_id: &'a str,
    ) -> Answer<'a, Option<Item>>;

    /// Hands over items by their place, until `each` has enough. It says whether something follows
    /// what was asked for, and `None` when there is no such thread, or `after` is none of its
    /// items. They are read like threads: one by one, or a few at a time.
    fn each_item<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        page: &'a PageQuery,
        audience: Audience,
        each: Each<'a, Item>,
    ) -> Answer<'a, Option<bool>>;

    /// A page of [`Store::each_item`], of [`PAGE_BYTES`] at the most.
    fn items<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        page: &'a PageQuery,
        audience: Audience,
    ) -> Answer<'a, Option<Page<Item>>> {
        Box::pin(async move {
            let mut filling = Filling::new();
            let follows = self
                .each_item(owner, thread_id, page, audience, &mut |item, bytes| {
                    filling.take(item, bytes)
                })
                .await?;
            Ok(follows.map(|follows| filling.page(follows, |item: &Item| &item.id)))
        })
    }

    /// Stores an item: a new one at the end of its thread, a known one over itself and in its
    /// place. Its files become the thread's if no other has them. `false` when there is no such
    /// thread.
    fn save_item<'a>(&'a self, owner: &'a Owner, item: &'a Item) -> Answer<'a, bool>;

    /// Stores a new message at the end of its thread, if no other item has its files.
    fn add_message<'a>(&'a self, owner: &'a Owner, message: &'a Item) -> Answer<'a, Added>;

    /// Removes items. Those that are not there are passed over.
    fn remove_items<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        item_ids: &'a [Id],
    ) -> Answer<'a, ()>;

    /// Puts these items in place of everything that stands behind an item, in one step. `false`
    /// when that item is not there.
    fn replace_after<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        item_id: &'a str,
        items: &'a [Item],
    ) -> Answer<'a, bool>;

    /// Notes what a person thinks of items. A later opinion of the same item takes the place of an
    /// earlier one. `false` when one of the items is not there.
    fn save_feedback<'a>(
        &'a self,
        owner: &'a Owner,
        feedback: &'a Feedback,
        at: Timestamp,
    ) -> Answer<'a, bool>;

    /// What a person thinks of the items of a thread.
    fn feedback<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
    ) -> Answer<'a, Vec<(Id, FeedbackKind)>>;

    /// Stores the description of a new file, if its user keeps at most so many bytes with it.
    /// `false` when that is too much.
    fn add_attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment: &'a StoredAttachment,
        most: u64,
    ) -> Answer<'a, bool>;

    /// Notes that the bytes of an announced file have come, and what they are. `false` when some
    /// had come before, or there is no such file: of several uploads, on several replicas too, one
    /// gets `true`.
    fn complete_attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment: &'a StoredAttachment,
    ) -> Answer<'a, bool>;

    /// Stores a file's description, over an earlier one of the same owner.
    fn save_attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment: &'a StoredAttachment,
    ) -> Answer<'a, ()>;

    /// A file's description.
    fn attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment_id: &'a str,
    ) -> Answer<'a, Option<StoredAttachment>>;

    /// A file's description and whose it is, for a request that a signed link authorises.
    fn linked_attachment<'a>(
        &'a self,
        attachment_id: &'a str,
    ) -> Answer<'a, Option<(Owner, StoredAttachment)>>;

    /// What the owner's user keeps.
    fn kept_attachments<'a>(&'a self, owner: &'a Owner) -> Answer<'a, Kept>;

    /// Those of these files, a hundred or so, that have a description, whoever's they are.
    fn known_attachments<'a>(&'a self, ids: &'a [Id]) -> Answer<'a, Vec<Id>>;

    /// Deletes the description of a file that no item carries. `false` when it is not there, or an
    /// item carries it.
    fn delete_attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment_id: &'a str,
    ) -> Answer<'a, bool>;

    /// Deletes files that were made before a time and that no item carries, at most `limit`.
    /// Returns their ids.
    fn sweep_attachments(&self, before: Timestamp, limit: u32) -> Answer<'_, Vec<Id>>;

    /// Deletes threads that were last written to before a time, at most `limit`. Returns how many,
    /// and the ids of their files.
    fn sweep_threads(&self, before: Timestamp, limit: u32) -> Answer<'_, (u64, Vec<Id>)>;

    /// Revokes a user's client secret by its id, which is not empty; without an id all that the
    /// user has got until now. It may be forgotten two hours later: no secret lives that long.
    fn revoke<'a>(&'a self, user: &'a UserId, secret: Option<&'a str>) -> Answer<'a, ()>;

    /// When all client secrets of a user were revoked the last time, by a time that only grows from
    /// one to the next. Zero is never.
    fn last_revocation<'a>(&'a self, user: &'a UserId) -> Answer<'a, Timestamp>;

    /// Whether a user's client secret was revoked by its id, or all of them later than `after`.
    fn is_revoked<'a>(
        &'a self,
        user: &'a UserId,
        secret: &'a str,
        after: Timestamp,
    ) -> Answer<'a, bool>;

    /// Forgets revocations of over two hours ago.
    fn sweep_revocations(&self) -> Answer<'_, ()>;

    /// Whether the database answers and can be written to.
    fn ping(&self) -> Answer<'_, ()>;
}
