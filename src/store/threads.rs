//! How are threads read, changed and deleted?

use super::database::{Row, Sql, Tx, number, values};
use super::page::{Batches, Each};
use super::sql_store::{SqlStore, read_json};
use super::{Owner, PageQuery, StoreError, ThreadChange, TitleChange};
use crate::protocol::{Id, Order, Thread, Timestamp};

/// Where no thread stands, before the oldest.
const BEFORE_ALL: (i64, String) = (i64::MIN, String::new());

impl SqlStore {
    pub(super) async fn find_thread(
        &self,
        owner: &Owner,
        thread_id: &str,
    ) -> Result<Option<Thread>, StoreError> {
        let sql = "select data from threads where id = $1 and workflow = $2 and usr = $3";
        let rows =
            self.database.read(sql, values![thread_id, &*owner.workflow, &owner.user]).await?;
        rows.first().map(|row| read_json(row, 0)).transpose()
    }

    /// Hands over all threads, or of the newest `most` those alone.
    pub(super) async fn list_threads(
        &self,
        owner: &Owner,
        page: &PageQuery,
        most: Option<u32>,
        each: Each<'_, Thread>,
    ) -> Result<Option<bool>, StoreError> {
        let (workflow, user) = (&*owner.workflow, &owner.user);
        let mut place = match (&page.after, page.order) {
            (Some(after), _) => {
                let sql =
                    "select created_at from threads where id = $1 and workflow = $2 and usr = $3";
                let rows = self.database.read(sql, values![&**after, workflow, user]).await?;
                let Some(row) = rows.first() else { return Ok(None) };
                (row.number(0)?, after.to_string())
            }
            (None, Order::Asc) => BEFORE_ALL,
            (None, Order::Desc) => (i64::MAX, String::new()),
        };
        let floor = match most {
            Some(most) => self.newest_left_out(owner, most).await?.unwrap_or(BEFORE_ALL),
            None => BEFORE_ALL,
        };
        // A list that goes up begins at the later of the two, or it would go through all that is
        // left out.
        if page.order == Order::Asc && place.0 < floor.0 {
            place.clone_from(&floor);
        }
        let floor = if most.is_none() && page.order == Order::Asc { place.clone() } else { floor };
        let sql = Sql::listing(
            "select data, created_at, id from threads where workflow || '' = $1 and usr = $2 \
             and (created_at, id) {behind} ($3, $4) and (created_at, id) > ($5, $6) \
             order by created_at {order}, id {order} limit $7",
            page.order,
        );
        let mut batches = Batches::of(page.limit);
        loop {
            let (mut batch, behind) = (batches.next(), place.clone());
            let (floor, rows) = ((floor.0, &*floor.1), batches.rows(&batch));
            let values = values![workflow, user, behind.0, &*behind.1, floor.0, floor.1, rows];
            let mut hand_over = |row: Row| {
                place = (row.number(1)?, row.text(2)?);
                batch.take(&row, &mut *each)
            };
            self.database.read_each(sql.clone(), values, &mut hand_over).await?;
            if let Some(follows) = batches.end(&batch) {
                return Ok(Some(follows));
            }
        }
    }

    /// Where the newest thread stands that is not one of the newest `most`, by its time and its id.
    async fn newest_left_out(
        &self,
        owner: &Owner,
        most: u32,
    ) -> Result<Option<(i64, String)>, StoreError> {
        let sql = "select created_at, id from threads where workflow || '' = $1 and usr = $2 \
                   order by created_at desc, id desc limit 1 offset $3";
        let rows = self
            .database
            .read(sql, values![&*owner.workflow, &owner.user, i64::from(most)])
            .await?;
        rows.first().map(|row| Ok((row.number(0)?, row.text(1)?))).transpose()
    }

    pub(super) async fn update_thread(
        &self,
        owner: &Owner,
        thread_id: &str,
        change: &ThreadChange,
    ) -> Result<Option<Thread>, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(mut thread) = self.touch(&mut tx, owner, thread_id).await? else {
            return Ok(None);
        };
        apply(change, &mut thread);
        let data = serde_json::to_string(&thread)?;
        let sql = "update threads set data = $4 where id = $1 and workflow = $2 and usr = $3";
        tx.run(sql, values![thread_id, &*owner.workflow, &owner.user, &*data]).await?;
        tx.commit().await?;
        Ok(Some(thread))
    }

    pub(super) async fn erase_thread(
        &self,
        owner: &Owner,
        thread_id: &str,
    ) -> Result<Option<Vec<Id>>, StoreError> {
        let mut tx = self.database.begin().await?;
        if self.touch(&mut tx, owner, thread_id).await?.is_none() {
            return Ok(None);
        }
        let files = erase_locked(&mut tx, thread_id).await?;
        tx.commit().await?;
        Ok(Some(files))
    }

    pub(super) async fn erase_old_threads(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<(u64, Vec<Id>), StoreError> {
        let mut tx = self.database.begin().await?;
        // Always in this order, so that two replicas that sweep at once wait for each other one way
        // round.
        let sql = "select id from threads where touched_at < $1 order by touched_at, id limit $2";
        let old = tx.run(sql, values![before, i64::from(limit)]).await?;
        let (mut threads, mut files) = (0, Vec::new());
        for row in old {
            let id = row.text(0)?;
            // Somebody may have written to it meanwhile.
            let sql = "update threads set touched_at = touched_at where id = $1 and touched_at < \
                       $2 returning id";
            if !tx.run(sql, values![&*id, before]).await?.is_empty() {
                files.extend(erase_locked(&mut tx, &id).await?);
                threads += 1;
            }
        }
        tx.commit().await?;
        Ok((threads, files))
    }

    /// Finds a thread in order to write to it: notes when, and keeps others from writing to it
    /// until the transaction ends.
    pub(super) async fn touch(
        &self,
        tx: &mut Tx,
        owner: &Owner,
        thread_id: &str,
    ) -> Result<Option<Thread>, StoreError> {
        let sql = "update threads set touched_at = $4 where id = $1 and workflow = $2 and usr = $3 \
                   returning data";
        let rows =
            tx.run(sql, values![thread_id, &*owner.workflow, &owner.user, self.now()]).await?;
        rows.first().map(|row| read_json(row, 0)).transpose()
    }

    /// The same, to add this many items. Returns the place before the first of them.
    pub(super) async fn touch_to_add(
        &self,
        tx: &mut Tx,
        owner: &Owner,
        thread_id: &str,
        items: usize,
    ) -> Result<Option<i64>, StoreError> {
        let sql = "update threads set touched_at = $4, last_seq = last_seq + $5 \
                   where id = $1 and workflow = $2 and usr = $3 returning last_seq - $5";
        let items = number(items as u64);
        let rows = tx
            .run(sql, values![thread_id, &*owner.workflow, &owner.user, self.now(), items])
            .await?;
        rows.first().map(|row| row.number(0)).transpose()
    }
}

fn apply(change: &ThreadChange, thread: &mut Thread) {
    match &change.title {
        Some(TitleChange::Set(title)) => thread.title = Some(title.clone()),
        Some(TitleChange::Suggest(title)) => {
            thread.title.get_or_insert_with(|| title.clone());
        }
        None => {}
    }
    if let Some(status) = &change.status {
        thread.status = status.clone();
    }
    if let Some(domains) = &change.allowed_image_domains {
        thread.allowed_image_domains = Some(domains.clone());
    }
}

/// Deletes a thread that this transaction has locked. Its items and their feedback go with it.
async fn erase_locked(tx: &mut Tx, thread_id: &str) -> Result<Vec<Id>, StoreError> {
    let files = tx
        .run("delete from attachments where thread_id = $1 returning id", values![thread_id])
        .await?;
    tx.run("delete from threads where id = $1", values![thread_id]).await?;
    files.iter().map(|row| Ok(row.text(0)?.into())).collect()
}
