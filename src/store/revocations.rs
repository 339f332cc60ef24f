//! How are revocations kept? A row for each secret that was revoked by its id, and one for each
//! user who revoked all.

use super::StoreError;
use super::database::values;
use super::sql_store::SqlStore;
use crate::protocol::Timestamp;
use crate::user::UserId;

impl SqlStore {
    /// The time only ever grows, also where the database's clock goes back.
    pub(super) async fn add_revocation(
        &self,
        user: &UserId,
        secret: &str,
    ) -> Result<(), StoreError> {
        let sql = "insert into revocations (usr, secret, at) values ($1, $2, {now}) on conflict \
                   (usr, secret) do update set at = case when excluded.at > revocations.at then \
                   excluded.at else revocations.at + 1 end";
        self.database.write(self.database.timed(sql), values![user, secret]).await.map(drop)
    }

    pub(super) async fn find_last_revocation(
        &self,
        user: &UserId,
    ) -> Result<Timestamp, StoreError> {
        let sql = "select at from revocations where usr = $1 and secret = ''";
        let rows = self.database.read(sql, values![user]).await?;
        rows.first().map_or(Ok(Timestamp(0)), |row| row.unsigned(0).map(Timestamp))
    }

    pub(super) async fn find_revocation(
        &self,
        user: &UserId,
        secret: &str,
        after: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "select 1 from revocations where usr = $1 and secret in ('', $2) \
                   and (secret <> '' or at > $3) limit 1";
        Ok(!self.database.read(sql, values![user, secret, after]).await?.is_empty())
    }

    /// A secret lives for an hour at most, by the clock of whoever checks it. That may differ from
    /// the database's by as much.
    pub(super) async fn erase_old_revocations(&self) -> Result<(), StoreError> {
        let sql = "delete from revocations where at < {now} - 7200000000";
        self.database.write(self.database.timed(sql), values![]).await.map(drop)
    }
}
