//! How are the descriptions of files kept? Which thread a file belongs to is known by the items
//! that were stored, not by what a description says.

use super::database::{Row, Sql, Tx, Value, number, values};
use super::sql_store::{SqlStore, read_json};
use super::{Owner, StoreError};
use crate::protocol::{Attachment, Id, Timestamp};
use crate::user::UserId;

/// A file, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAttachment {
    /// What the wire says of it; links are left empty.
    pub attachment: Attachment,
    /// Its bytes: what was announced, and once it is uploaded what there is.
    pub size: u64,
    /// Whether its bytes are there.
    pub is_uploaded: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a user keeps, with every agent: what is announced counts as if it were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// How many files no item carries.
    pub unsent: u64,
    /// How many bytes all files have together, those of messages and made images too.
    pub bytes: u64,
}

impl SqlStore {
    pub(super) async fn put_attachment(
        &self,
        owner: &Owner,
        stored: &StoredAttachment,
    ) -> Result<(), StoreError> {
        let data = written(stored)?;
        let sql = "insert into attachments (id, workflow, usr, data, size, is_uploaded, \
                   created_at) values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do update set \
                   data = excluded.data, size = excluded.size, is_uploaded = excluded.is_uploaded, \
                   created_at = excluded.created_at where attachments.workflow = excluded.workflow \
                   and attachments.usr = excluded.usr returning id";
        let values = values![
            &*stored.attachment.id,
            &*owner.workflow,
            &owner.user,
            &*data,
            number(stored.size),
            stored.is_uploaded,
            stored.created_at,
        ];
        let rows = self.database.write(sql, values).await?;
        rows.first()
            .map(drop)
            .ok_or_else(|| StoreError::Failed("this id is another file's".to_owned()))
    }

    pub(super) async fn insert_attachment(
        &self,
        owner: &Owner,
        stored: &StoredAttachment,
        most: u64,
    ) -> Result<bool, StoreError> {
        let data = written(stored)?;
        let mut tx = self.database.begin().await?;
        if let Tx::Postgres(_) = tx {
            // Of two that come at once, one sees the other. SQLite has one writer anyway.
            let sql = "select pg_advisory_xact_lock(hashtextextended($1, 0))";
            tx.run(sql, values![&owner.user]).await?;
        }
        let sql = "select cast(coalesce(sum(size), 0) as bigint) from attachments where usr = $1";
        let rows = tx.run(sql, values![&owner.user]).await?;
        let kept = rows.first().ok_or_else(no_count)?.unsigned(0)?;
        if kept.saturating_add(stored.size) > most {
            return Ok(false);
        }
        let sql = "insert into attachments (id, workflow, usr, data, size, is_uploaded, \
                   created_at) values ($1, $2, $3, $4, $5, $6, $7)";
        let values = values![
            &*stored.attachment.id,
            &*owner.workflow,
            &owner.user,
            &*data,
            number(stored.size),
            stored.is_uploaded,
            stored.created_at,
        ];
        tx.run(sql, values).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn fill_attachment(
        &self,
        owner: &Owner,
        stored: &StoredAttachment,
    ) -> Result<bool, StoreError> {
        let data = written(stored)?;
        let sql = "update attachments set data = $4, size = $5, is_uploaded = true \
                   where id = $1 and workflow = $2 and usr = $3 and not is_uploaded returning id";
        let (id, size) = (&*stored.attachment.id, number(stored.size));
        let rows = self
            .database
            .write(sql, values![id, &*owner.workflow, &owner.user, &*data, size])
            .await?;
        Ok(!rows.is_empty())
    }

    pub(super) async fn find_attachment(
        &self,
        owner: &Owner,
        attachment_id: &str,
    ) -> Result<Option<StoredAttachment>, StoreError> {
        let sql = "select data, thread_id, size, is_uploaded, created_at from attachments \
                   where id = $1 and workflow = $2 and usr = $3";
        let rows =
            self.database.read(sql, values![attachment_id, &*owner.workflow, &owner.user]).await?;
        rows.first().map(read).transpose()
    }

    pub(super) async fn find_linked_attachment(
        &self,
        attachment_id: &str,
    ) -> Result<Option<(Owner, StoredAttachment)>, StoreError> {
        let sql = "select data, thread_id, size, is_uploaded, created_at, workflow, usr from \
                   attachments where id = $1";
        let rows = self.database.read(sql, values![attachment_id]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let user = UserId::parse(&row.text(6)?)
            .ok_or_else(|| StoreError::Failed("a file's user is none".to_owned()))?;
        Ok(Some((Owner { workflow: row.text(5)?.into(), user }, read(row)?)))
    }

    pub(super) async fn erase_attachment(
        &self,
        owner: &Owner,
        attachment_id: &str,
    ) -> Result<bool, StoreError> {
        let sql = "delete from attachments \
                   where id = $1 and workflow = $2 and usr = $3 and thread_id is null returning id";
        let rows =
            self.database.write(sql, values![attachment_id, &*owner.workflow, &owner.user]).await?;
        Ok(!rows.is_empty())
    }

    pub(super) async fn count_kept(&self, owner: &Owner) -> Result<Kept, StoreError> {
        let sql = "select count(*) filter (where thread_id is null), cast(coalesce(sum(size), 0) \
                   as bigint) from attachments where usr = $1";
        let rows = self.database.read(sql, values![&owner.user]).await?;
        let row = rows.first().ok_or_else(no_count)?;
        Ok(Kept { unsent: row.unsigned(0)?, bytes: row.unsigned(1)? })
    }

    pub(super) async fn pick_known_attachments(&self, ids: &[Id]) -> Result<Vec<Id>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = Sql::about("select id from attachments where id in ({among})", ids.len());
        let values: Vec<Value<'_>> = ids.iter().map(|id| Value::from(&**id)).collect();
        let rows = self.database.read(sql, &values).await?;
        rows.iter().map(|row| Ok(row.text(0)?.into())).collect()
    }

    pub(super) async fn erase_stray_attachments(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Id>, StoreError> {
        // The outer condition is looked at again when a message has taken up the file meanwhile.
        let sql = "delete from attachments where thread_id is null and id in (select id from \
                   attachments where thread_id is null and created_at < $1 order by created_at, id \
                   limit $2) returning id";
        let rows = self.database.write(sql, values![before, i64::from(limit)]).await?;
        rows.iter().map(|row| Ok(row.text(0)?.into())).collect()
    }
}

/// A description as its column has it.
fn written(stored: &StoredAttachment) -> Result<String, StoreError> {
    let attachment = Attachment { thread_id: None, ..stored.attachment.clone() };
    Ok(serde_json::to_string(&attachment)?)
}

fn no_count() -> StoreError {
    StoreError::Failed("a count has a row".to_owned())
}

fn read(row: &Row) -> Result<StoredAttachment, StoreError> {
    let thread_id = row.maybe_text(1)?.map(Into::into);
    Ok(StoredAttachment {
        attachment: Attachment { thread_id, ..read_json(row, 0)? },
        size: row.unsigned(2)?,
        is_uploaded: row.flag(3)?,
        created_at: Timestamp(row.unsigned(4)?),
    })
}
