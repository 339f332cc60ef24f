//! Who keeps threads in a database of SQL? [`SqlStore`]: each call has its statements in a file by
//! its subject, and a deadline here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, TryFutureExt};
use serde::de::DeserializeOwned;

use super::database::{Database, Row};
use super::pulse::Pulse;
use super::{
    Added, Answer, Audience, Claimed, Each, Kept, Owner, PageQuery, Store, StoreError,
    StoredAttachment, ThreadChange, TurnClaim,
};
use crate::clock::Clock;
use crate::protocol::{Feedback, FeedbackKind, Id, Item, Thread, Timestamp};
use crate::user::UserId;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Threads in SQLite or PostgreSQL.
#[derive(Debug)]
pub(super) struct SqlStore {
    pub(super) database: Database,
    pub(super) pulse: Pulse,
    clock: Arc<dyn Clock>,
}

impl SqlStore {
    /// Threads in this database, whose schema is up to date.
    pub(super) fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, pulse: Pulse::default(), clock }
    }

    /// When something is written to a thread: now.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_epoch(self.clock.now())
    }

    /// Notes that something was stored, if it was.
    fn noted<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
        is_stored: impl FnOnce(&T) -> bool,
    ) -> impl Future<Output = Result<T, StoreError>> {
        call.inspect_ok(move |answer| {
            if is_stored(answer) {
                self.pulse.note_write();
            }
        })
    }
}

/// An answer within the deadline. A call is large, and an async block would hold it twice: as what
/// it was given, and as what it waits for.
fn soon<'a, T>(call: impl Future<Output = Result<T, StoreError>> + Send + 'a) -> Answer<'a, T> {
    let late = |_| Err(StoreError::Away(format!("no answer within {} s", DEADLINE.as_secs())));
    Box::pin(tokio::time::timeout(DEADLINE, call).map(move |answer| answer.unwrap_or_else(late)))
}

/// What a column of JSON says.
pub(super) fn read_json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, StoreError> {
    Ok(serde_json::from_str(&row.text(column)?)?)
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(error) = &error {
            // Not the error's own words: those of PostgreSQL name a line of its source.
            let code = error.code().unwrap_or_default();
            let text = format!("{} ({code})", error.message());
            return if will_pass(&code) { Self::Away(text) } else { Self::Failed(text) };
        }
        let is_away = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
        );
        if is_away { Self::Away(error.to_string()) } else { Self::Failed(error.to_string()) }
    }
}

/// Whether an error with this code of the database passes by itself. PostgreSQL (appendix A) has
/// classes: 08, the connection; 53, no resources; 57, the operator stepped in, or the statement
/// took too long. SQLite has `SQLITE_BUSY`, `SQLITE_NOMEM`, `SQLITE_IOERR`, `SQLITE_FULL` and,
/// where a file can't be opened while the disk is full, `SQLITE_CANTOPEN`, each with its kinds.
fn will_pass(code: &str) -> bool {
    match code.parse::<u32>() {
        Ok(sqlite) if code.len() < 5 => matches!(sqlite & 0xFF, 5 | 7 | 10 | 13 | 14),
        _ => ["08", "53", "57"].iter().any(|class| code.starts_with(class)),
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("JSON: {error}"))
    }
}

impl Store for SqlStore {
    fn create_thread<'a>(
        &'a self,
        owner: &'a Owner,
        thread: &'a Thread,
        first: &'a Item,
        claim: &'a TurnClaim,
    ) -> Answer<'a, Claimed> {
        soon(self.noted(self.insert_thread(owner, thread, first, claim), |claimed| {
            *claimed == Claimed::Yes
        }))
    }

    fn is_key_reused<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: Option<&'a str>,
        key: &'a str,
        body: &'a str,
    ) -> Answer<'a, bool> {
        soon(self.find_other_body(owner, thread_id, key, body))
    }

    fn take_turn<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        claim: &'a TurnClaim,
    ) -> Answer<'a, Claimed> {
        soon(self.claim_turn(owner, thread_id, claim))
    }

    fn keep_turn<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        claim: &'a TurnClaim,
    ) -> Answer<'a, bool> {
        soon(self.renew_turn(owner, thread_id, claim))
    }

    fn end_turn<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        claim: &'a TurnClaim,
        got_through: bool,
    ) -> Answer<'a, ()> {
        soon(self.return_turn(owner, thread_id, claim, got_through))
    }

    fn thread<'a>(&'a self, owner: &'a Owner, thread_id: &'a str) -> Answer<'a, Option<Thread>> {
        soon(self.find_thread(owner, thread_id))
    }

    fn each_thread<'a>(
        &'a self,
        owner: &'a Owner,
        page: &'a PageQuery,
        most: Option<u32>,
        each: Each<'a, Thread>,
    ) -> Answer<'a, Option<bool>> {
        soon(self.list_threads(owner, page, most, each))
    }

    fn change_thread<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        change: &'a ThreadChange,
    ) -> Answer<'a, Option<Thread>> {
        soon(self.update_thread(owner, thread_id, change))
    }

    fn delete_thread<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
    ) -> Answer<'a, Option<Vec<Id>>> {
        soon(self.erase_thread(owner, thread_id))
    }

    fn item<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        item_id: &'a str,
    ) -> Answer<'a, Option<Item>> {
        soon(self.find_item(owner, thread_id, item_id))
    }

    fn each_item<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        page: &'a PageQuery,
        audience: Audience,
        each: Each<'a, Item>,
    ) -> Answer<'a, Option<bool>> {
        soon(self.list_items(owner, thread_id, page, audience, each))
    }

    fn save_item<'a>(&'a self, owner: &'a Owner, item: &'a Item) -> Answer<'a, bool> {
        soon(self.noted(self.put_item(owner, item), |is_stored| *is_stored))
    }

    fn add_message<'a>(&'a self, owner: &'a Owner, message: &'a Item) -> Answer<'a, Added> {
        soon(self.noted(self.put_message(owner, message), |added| *added == Added::Yes))
    }

    fn remove_items<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        item_ids: &'a [Id],
    ) -> Answer<'a, ()> {
        soon(self.erase_items(owner, thread_id, item_ids))
    }

    fn replace_after<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
        item_id: &'a str,
        items: &'a [Item],
    ) -> Answer<'a, bool> {
        soon(self.replace_items(owner, thread_id, item_id, items))
    }

    fn save_feedback<'a>(
        &'a self,
        owner: &'a Owner,
        feedback: &'a Feedback,
        at: Timestamp,
    ) -> Answer<'a, bool> {
        soon(self.put_feedback(owner, feedback, at))
    }

    fn feedback<'a>(
        &'a self,
        owner: &'a Owner,
        thread_id: &'a str,
    ) -> Answer<'a, Vec<(Id, FeedbackKind)>> {
        soon(self.list_feedback(owner, thread_id))
    }

    fn add_attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment: &'a StoredAttachment,
        most: u64,
    ) -> Answer<'a, bool> {
        soon(self.insert_attachment(owner, attachment, most))
    }

    fn complete_attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment: &'a StoredAttachment,
    ) -> Answer<'a, bool> {
        soon(self.fill_attachment(owner, attachment))
    }

    fn save_attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment: &'a StoredAttachment,
    ) -> Answer<'a, ()> {
        soon(self.put_attachment(owner, attachment))
    }

    fn attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment_id: &'a str,
    ) -> Answer<'a, Option<StoredAttachment>> {
        soon(self.find_attachment(owner, attachment_id))
    }

    fn linked_attachment<'a>(
        &'a self,
        attachment_id: &'a str,
    ) -> Answer<'a, Option<(Owner, StoredAttachment)>> {
        soon(self.find_linked_attachment(attachment_id))
    }

    fn kept_attachments<'a>(&'a self, owner: &'a Owner) -> Answer<'a, Kept> {
        soon(self.count_kept(owner))
    }

    fn known_attachments<'a>(&'a self, ids: &'a [Id]) -> Answer<'a, Vec<Id>> {
        soon(self.pick_known_attachments(ids))
    }

    fn delete_attachment<'a>(
        &'a self,
        owner: &'a Owner,
        attachment_id: &'a str,
    ) -> Answer<'a, bool> {
        soon(self.erase_attachment(owner, attachment_id))
    }

    fn sweep_attachments(&self, before: Timestamp, limit: u32) -> Answer<'_, Vec<Id>> {
        soon(self.erase_stray_attachments(before, limit))
    }

    fn sweep_threads(&self, before: Timestamp, limit: u32) -> Answer<'_, (u64, Vec<Id>)> {
        soon(self.erase_old_threads(before, limit))
    }

    fn revoke<'a>(&'a self, user: &'a UserId, secret: Option<&'a str>) -> Answer<'a, ()> {
        soon(self.add_revocation(user, secret.unwrap_or_default()))
    }

    fn last_revocation<'a>(&'a self, user: &'a UserId) -> Answer<'a, Timestamp> {
        soon(self.find_last_revocation(user))
    }

    fn is_revoked<'a>(
        &'a self,
        user: &'a UserId,
        secret: &'a str,
        after: Timestamp,
    ) -> Answer<'a, bool> {
        soon(self.find_revocation(user, secret, after))
    }

    fn sweep_revocations(&self) -> Answer<'_, ()> {
        soon(self.erase_old_revocations())
    }

    fn ping(&self) -> Answer<'_, ()> {
        soon(self.try_to_write())
    }
}
