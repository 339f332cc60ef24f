//! How are items and opinions of them kept? Each item has a number in its thread, which is its
//! place.

use super::database::{Row, Sql, Tx, values};
use super::page::{Batches, Each};
use super::sql_store::{SqlStore, read_json};
use super::{Added, Audience, Owner, PageQuery, StoreError};
use crate::protocol::{
    DEEPEST, Feedback, FeedbackKind, GeneratedImage, Id, Item, ItemKind, Order, Timestamp,
};

impl SqlStore {
    pub(super) async fn find_item(
        &self,
        owner: &Owner,
        thread_id: &str,
        item_id: &str,
    ) -> Result<Option<Item>, StoreError> {
        let sql = "select i.data from threads t join items i on i.thread_id = t.id \
                   where t.id = $1 and t.workflow = $2 and t.usr = $3 and i.id = $4";
        let values = values![thread_id, &*owner.workflow, &owner.user, item_id];
        self.database.read(sql, values).await?.first().map(|row| read_json(row, 0)).transpose()
    }

    pub(super) async fn list_items(
        &self,
        owner: &Owner,
        thread_id: &str,
        page: &PageQuery,
        audience: Audience,
        each: Each<'_, Item>,
    ) -> Result<Option<bool>, StoreError> {
        let (workflow, user) = (&*owner.workflow, &owner.user);
        let rows = if let Some(after) = &page.after {
            let sql = "select i.seq from threads t join items i on i.thread_id = t.id \
                       where t.id = $1 and t.workflow = $2 and t.usr = $3 and i.id = $4";
            self.database.read(sql, values![thread_id, workflow, user, &**after]).await?
        } else {
            let sql = "select last_seq from threads where id = $1 and workflow = $2 and usr = $3";
            self.database.read(sql, values![thread_id, workflow, user]).await?
        };
        let Some(row) = rows.first() else { return Ok(None) };
        let mut place = match (&page.after, page.order) {
            (Some(_), _) => row.number(0)?,
            (None, Order::Asc) => i64::MIN,
            (None, Order::Desc) => i64::MAX,
        };
        let sql = Sql::listing(
            "select i.data, i.seq from threads t join items i on i.thread_id || '' = $1 \
             where t.id = $1 and t.workflow = $2 and t.usr = $3 \
             and i.seq {behind} $4 and (not i.hidden or $5) \
             order by i.seq {order} limit $6",
            page.order,
        );
        let hidden_too = audience == Audience::Model;
        let mut batches = Batches::of(page.limit);
        loop {
            let mut batch = batches.next();
            let values =
                values![thread_id, workflow, user, place, hidden_too, batches.rows(&batch)];
            let mut hand_over = |row: Row| {
                place = row.number(1)?;
                batch.take(&row, &mut *each)
            };
            self.database.read_each(sql.clone(), values, &mut hand_over).await?;
            if let Some(follows) = batches.end(&batch) {
                return Ok(Some(follows));
            }
        }
    }

    pub(super) async fn put_item(&self, owner: &Owner, item: &Item) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(last) = self.touch_to_add(&mut tx, owner, &item.thread_id, 1).await? else {
            return Ok(false);
        };
        write(&mut tx, owner, &item.thread_id, last + 1, item).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn put_message(
        &self,
        owner: &Owner,
        message: &Item,
    ) -> Result<Added, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(last) = self.touch_to_add(&mut tx, owner, &message.thread_id, 1).await? else {
            return Ok(Added::ThreadGone);
        };
        if !take_files(&mut tx, owner, message).await? {
            return Ok(Added::FileGone);
        }
        write(&mut tx, owner, &message.thread_id, last + 1, message).await?;
        tx.commit().await?;
        Ok(Added::Yes)
    }

    pub(super) async fn erase_items(
        &self,
        owner: &Owner,
        thread_id: &str,
        item_ids: &[Id],
    ) -> Result<(), StoreError> {
        let mut tx = self.database.begin().await?;
        if self.touch(&mut tx, owner, thread_id).await?.is_none() {
            return Ok(());
        }
        for item_id in item_ids {
            tx.run(
                "delete from items where thread_id = $1 and id = $2",
                values![thread_id, &**item_id],
            )
            .await?;
        }
        tx.commit().await
    }

    pub(super) async fn replace_items(
        &self,
        owner: &Owner,
        thread_id: &str,
        item_id: &str,
        items: &[Item],
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(last) = self.touch_to_add(&mut tx, owner, thread_id, items.len()).await? else {
            return Ok(false);
        };
        let sql = "select seq from items where thread_id = $1 and id = $2";
        let anchor = tx.run(sql, values![thread_id, item_id]).await?;
        let Some(anchor) = anchor.first() else { return Ok(false) };
        let sql = "delete from items where thread_id || '' = $1 and seq > $2";
        tx.run(sql, values![thread_id, anchor.number(0)?]).await?;
        for (seq, item) in (last + 1..).zip(items) {
            write(&mut tx, owner, thread_id, seq, item).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn put_feedback(
        &self,
        owner: &Owner,
        feedback: &Feedback,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let thread_id = &*feedback.thread_id;
        let mut tx = self.database.begin().await?;
        if self.touch(&mut tx, owner, thread_id).await?.is_none() {
            return Ok(false);
        }
        for item_id in &feedback.item_ids {
            let sql = "insert into feedback (thread_id, item_id, kind, at) select thread_id, id, \
                       $3, $4 from items where thread_id = $1 and id = $2 on conflict (thread_id, \
                       item_id) do update set kind = excluded.kind, at = excluded.at returning \
                       item_id";
            let values = values![thread_id, &**item_id, feedback.kind.as_str(), at];
            if tx.run(sql, values).await?.is_empty() {
                return Ok(false);
            }
        }
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn list_feedback(
        &self,
        owner: &Owner,
        thread_id: &str,
    ) -> Result<Vec<(Id, FeedbackKind)>, StoreError> {
        let sql = "select f.item_id, f.kind from threads t join feedback f on f.thread_id = t.id \
                   join items i on i.thread_id = f.thread_id and i.id = f.item_id \
                   where t.id = $1 and t.workflow = $2 and t.usr = $3 order by i.seq";
        let rows =
            self.database.read(sql, values![thread_id, &*owner.workflow, &owner.user]).await?;
        let kind = |text: &str| match text {
            "positive" => Ok(FeedbackKind::Positive),
            "negative" => Ok(FeedbackKind::Negative),
            _ => Err(StoreError::Failed(format!("`{text}` is no kind of feedback"))),
        };
        rows.iter().map(|row| Ok((row.text(0)?.into(), kind(&row.text(1)?)?))).collect()
    }
}

/// Writes an item into a thread that this transaction has locked: a known one over itself, a new
/// one at this place.
pub(super) async fn write(
    tx: &mut Tx,
    owner: &Owner,
    thread_id: &str,
    seq: i64,
    item: &Item,
) -> Result<(), StoreError> {
    // One item that can't be read would hide its whole thread.
    if item.is_too_deep() {
        return Err(StoreError::Failed(format!(
            "JSON in an item nests deeper than {DEEPEST} levels"
        )));
    }
    let data = serde_json::to_string(item)?;
    let sql = "insert into items (thread_id, seq, id, hidden, data) values ($1, $2, $3, $4, $5) on \
               conflict (thread_id, id) do update set hidden = excluded.hidden, data = \
               excluded.data";
    tx.run(sql, values![thread_id, seq, &*item.id, item.is_hidden(), &*data]).await?;
    for file in files(&item.kind) {
        let sql = "update attachments set thread_id = $4 \
                   where id = $1 and workflow = $2 and usr = $3 and thread_id is null";
        tx.run(sql, values![file, &*owner.workflow, &owner.user, thread_id]).await?;
    }
    Ok(())
}

/// Makes the files of a new item its thread's, before the item is written. `false` when one of them
/// is gone, or another item has it: then the transaction must not be committed.
pub(super) async fn take_files(
    tx: &mut Tx,
    owner: &Owner,
    item: &Item,
) -> Result<bool, StoreError> {
    // Always in this order, so that two messages with the same files wait for each other one way
    // round.
    let mut files = files(&item.kind);
    files.sort_unstable();
    for file in files {
        let sql = "update attachments set thread_id = $4 \
                   where id = $1 and workflow = $2 and usr = $3 and thread_id is null returning id";
        let values = values![file, &*owner.workflow, &owner.user, &*item.thread_id];
        if tx.run(sql, values).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The files that an item carries: they are its thread's.
fn files(kind: &ItemKind) -> Vec<&str> {
    match kind {
        ItemKind::UserMessage(message) => {
            message.attachments.iter().map(|file| &*file.id).collect()
        }
        ItemKind::GeneratedImage { image } => {
            image.iter().filter_map(GeneratedImage::attachment_id).collect()
        }
        _ => Vec::new(),
    }
}
