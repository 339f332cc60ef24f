//! How are the descriptions of files kept? Which thread a file belongs to is known by the items that were stored, not by what a
//! description says.

use super::database::{Row, Sql, Value, number, values};
use super::sql_store::{SqlStore, read_json};
use super::{Owner, StoreError, StoredAttachment, Unsent};
use crate::protocol::{Attachment, Id, Timestamp};
use crate::user::UserId;

impl SqlStore {
    pub(super) async fn put_attachment(
        &self,
        owner: &Owner,
        stored: &StoredAttachment,
    ) -> Result<(), StoreError> {
        let attachment = Attachment { thread_id: None, ..stored.attachment.clone() };
        let data = serde_json::to_string(&attachment)?;
        let sql = "insert into attachments (id, workflow, usr, data, size, is_uploaded, created_at) \
                   values ($1, $2, $3, $4, $5, $6, $7) \
                   on conflict (id) do update set data = excluded.data, size = excluded.size, \
                   is_uploaded = excluded.is_uploaded, created_at = excluded.created_at \
                   where attachments.workflow = excluded.workflow and attachments.usr = excluded.usr returning id";
        let values = values![
            &*attachment.id,
            &*owner.workflow,
            &owner.user,
            &*data,
            number(stored.size),
            stored.is_uploaded,
            stored.created_at,
        ];
        let rows = self.database.write(sql, values).await?;
        rows.first().map(drop).ok_or_else(|| StoreError::Failed("this id is another file's".to_owned()))
    }

    pub(super) async fn find_attachment(
        &self,
        owner: &Owner,
        attachment_id: &str,
    ) -> Result<Option<StoredAttachment>, StoreError> {
        let sql = "select data, thread_id, size, is_uploaded, created_at from attachments \
                   where id = $1 and workflow = $2 and usr = $3";
        let rows = self.database.read(sql, values![attachment_id, &*owner.workflow, &owner.user]).await?;
        rows.first().map(read).transpose()
    }

    pub(super) async fn find_linked_attachment(
        &self,
        attachment_id: &str,
    ) -> Result<Option<(Owner, StoredAttachment)>, StoreError> {
        let sql = "select data, thread_id, size, is_uploaded, created_at, workflow, usr from attachments where id = $1";
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
        let rows = self.database.write(sql, values![attachment_id, &*owner.workflow, &owner.user]).await?;
        Ok(!rows.is_empty())
    }

    pub(super) async fn count_unsent(&self, owner: &Owner) -> Result<Unsent, StoreError> {
        let sql = "select count(*), cast(coalesce(sum(size), 0) as bigint) from attachments \
                   where workflow = $1 and usr = $2 and thread_id is null";
        let rows = self.database.read(sql, values![&*owner.workflow, &owner.user]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Failed("a count has a row".to_owned()))?;
        Ok(Unsent { files: row.unsigned(0)?, bytes: row.unsigned(1)? })
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
        let sql = "delete from attachments where thread_id is null and id in (select id from attachments \
                   where thread_id is null and created_at < $1 order by created_at, id limit $2) returning id";
        let rows = self.database.write(sql, values![before, i64::from(limit)]).await?;
        rows.iter().map(|row| Ok(row.text(0)?.into())).collect()
    }
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
