//! Who answers in a thread? One holder at a time has its turn, and the request that it answers is
//! known by a key. Whether a claim still holds is for the database's clock to say, which all
//! replicas share.

use std::time::Duration;

use super::database::{Row, number, values};
use super::items;
use super::sql_store::SqlStore;
use super::{Claimed, Owner, StoreError, TurnAbout, TurnClaim};
use crate::protocol::{Id, Item, Thread, Timestamp};

/// How long a request is known after its holder was lost: as long as browsers and people try again.
const LOST: Duration = Duration::from_secs(120);
/// How often a thread is tried to be made: each time the one in the way may have gone before it
/// could be looked at.
const ATTEMPTS: usize = 3;

impl SqlStore {
    pub(super) async fn insert_thread(
        &self,
        owner: &Owner,
        thread: &Thread,
        first: &Item,
        claim: &TurnClaim,
    ) -> Result<Claimed, StoreError> {
        let (workflow, user) = (&*owner.workflow, &owner.user);
        let (data, about) = (serde_json::to_string(thread)?, written(claim.about.as_ref())?);
        let mut tx = self.database.begin().await?;
        for _ in 0..ATTEMPTS {
            let sql = "update threads set create_key = null where workflow = $1 and usr = $2 and \
                       create_key = $3 and create_until <= {now}";
            tx.run(self.database.timed(sql), values![workflow, user, &*claim.key]).await?;
            let sql = "insert into threads (id, workflow, usr, created_at, touched_at, last_seq, \
                       data, turn_key, turn_holder, turn_until, turn_about, turn_body, create_key, \
                       create_until, create_body) values ($1, $2, $3, $4, $5, 1, $6, $7, $8, {now} \
                       + $9, $10, $12, $7, {now} + $11, $12) on conflict (workflow, usr, \
                       create_key) where create_key is not null do nothing returning id";
            let made = values![
                &*thread.id,
                workflow,
                user,
                thread.created_at,
                self.now(),
                &*data,
                &*claim.key,
                &*claim.holder,
                micros(claim.lasts),
                about.as_deref(),
                micros(claim.lasts + LOST),
                claim.body.as_deref(),
            ];
            if !tx.run(self.database.timed(sql), made).await?.is_empty() {
                if !items::take_files(&mut tx, owner, first).await? {
                    return Ok(Claimed::FileGone);
                }
                items::write(&mut tx, owner, &thread.id, 1, first).await?;
                tx.commit().await?;
                return Ok(Claimed::Yes);
            }
            let sql = "select turn_key, turn_holder, turn_until, turn_about, {now}, create_body, \
                       id from threads where workflow = $1 and usr = $2 and create_key = $3";
            let rows =
                tx.run(self.database.timed(sql), values![workflow, user, &*claim.key]).await?;
            if let Some(row) = rows.first() {
                let last = LastTurn::read(row)?;
                if last.is_of_another_body(claim) {
                    return Ok(Claimed::Reused);
                }
                let (thread_id, is_running) = (row.text(6)?.into(), last.is_running_for(claim));
                return Ok(Claimed::Repeat { thread_id, is_running, about: None });
            }
        }
        Err(StoreError::Failed("the same thread was made and went away again and again".to_owned()))
    }

    pub(super) async fn find_other_body(
        &self,
        owner: &Owner,
        thread_id: Option<&str>,
        key: &str,
        body: &str,
    ) -> Result<bool, StoreError> {
        let sql = "select 1 from threads where workflow = $1 and usr = $2 and create_key = $3 and \
                   create_body <> $4 and create_until > {now} union all select 1 from threads \
                   where id = $5 and workflow = $1 and usr = $2 and turn_key = $3 and turn_body <> \
                   $4 and turn_until + (case when turn_holder is null then 0 else $6 end) > {now}";
        let values = values![&*owner.workflow, &owner.user, key, body, thread_id, micros(LOST)];
        Ok(!self.database.read(self.database.timed(sql), values).await?.is_empty())
    }

    pub(super) async fn claim_turn(
        &self,
        owner: &Owner,
        thread_id: &str,
        claim: &TurnClaim,
    ) -> Result<Claimed, StoreError> {
        let (workflow, user) = (&*owner.workflow, &owner.user);
        let mut tx = self.database.begin().await?;
        // Changes nothing, and keeps others from the row: what is read here holds until the claim
        // is written.
        let sql = "update threads set turn_until = turn_until where id = $1 and workflow = $2 and \
                   usr = $3 returning turn_key, turn_holder, turn_until, turn_about, {now}, \
                   turn_body";
        let rows = tx.run(self.database.timed(sql), values![thread_id, workflow, user]).await?;
        let Some(row) = rows.first() else { return Ok(Claimed::NotFound) };
        let claimed = LastTurn::read(row)?.answer(claim, || thread_id.into());
        if matches!(claimed, Claimed::Yes | Claimed::Abandoned { .. }) {
            let sql = "update threads set turn_key = $4, turn_holder = $5, turn_until = {now} + \
                       $6, turn_about = $7, turn_body = $8 where id = $1 and workflow = $2 and usr \
                       = $3";
            let about = written(claim.about.as_ref())?;
            let (key, holder, about) = (&*claim.key, &*claim.holder, about.as_deref());
            let (lasts, body) = (micros(claim.lasts), claim.body.as_deref());
            let claim = values![thread_id, workflow, user, key, holder, lasts, about, body];
            tx.run(self.database.timed(sql), claim).await?;
            tx.commit().await?;
        }
        Ok(claimed)
    }

    pub(super) async fn renew_turn(
        &self,
        owner: &Owner,
        thread_id: &str,
        claim: &TurnClaim,
    ) -> Result<bool, StoreError> {
        let sql = "update threads set turn_key = $8, turn_until = {now} + $5, turn_about = $7, \
                   create_until = case when create_key = $8 then {now} + $6 else create_until end \
                   where id = $1 and workflow = $2 and usr = $3 and turn_holder = $4 returning id";
        let about = written(claim.about.as_ref())?;
        let values = values![
            thread_id,
            &*owner.workflow,
            &owner.user,
            &*claim.holder,
            micros(claim.lasts),
            micros(claim.lasts + LOST),
            about.as_deref(),
            &*claim.key
        ];
        Ok(!self.database.write(self.database.timed(sql), values).await?.is_empty())
    }

    pub(super) async fn return_turn(
        &self,
        owner: &Owner,
        thread_id: &str,
        claim: &TurnClaim,
        got_through: bool,
    ) -> Result<(), StoreError> {
        let sql = if got_through {
            "update threads set turn_holder = null, turn_key = null, turn_until = {now} + $5, \
             create_key = case when create_key = turn_key then null else create_key end \
             where id = $1 and workflow = $2 and usr = $3 and turn_holder = $4"
        } else {
            "update threads set turn_holder = null, turn_until = {now} + $5, \
             create_until = case when create_key = turn_key then {now} + $5 else create_until end \
             where id = $1 and workflow = $2 and usr = $3 and turn_holder = $4"
        };
        let values =
            values![thread_id, &*owner.workflow, &owner.user, &*claim.holder, micros(claim.lasts)];
        self.database.write(self.database.timed(sql), values).await.map(drop)
    }
}

/// The last claim of a thread.
struct LastTurn {
    /// What was asked; none once its answer got through.
    key: Option<String>,
    /// Who answers; nobody once the turn has ended.
    holder: Option<String>,
    /// Until when either counts.
    until: Timestamp,
    about: Option<TurnAbout>,
    /// What the time is.
    now: Timestamp,
    /// What came with the key.
    body: Option<String>,
}

impl LastTurn {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let about = row.maybe_text(3)?.map(|text| serde_json::from_str(&text)).transpose()?;
        let (until, now) = (Timestamp(row.unsigned(2)?), Timestamp(row.unsigned(4)?));
        Ok(Self {
            key: row.maybe_text(0)?,
            holder: row.maybe_text(1)?,
            until,
            about,
            now,
            body: row.maybe_text(5)?,
        })
    }

    fn is_running(&self) -> bool {
        self.holder.is_some() && self.now < self.until
    }

    fn is_running_for(&self, claim: &TurnClaim) -> bool {
        self.is_running() && self.key.as_ref() == Some(&claim.key)
    }

    fn is_of_another_body(&self, claim: &TurnClaim) -> bool {
        matches!((&self.body, &claim.body), (Some(one), Some(other)) if one != other)
    }

    /// What becomes of a further claim.
    fn answer(self, claim: &TurnClaim, thread_id: impl FnOnce() -> Id) -> Claimed {
        let (is_running, is_held) = (self.is_running(), self.holder.is_some());
        let known_until = if is_held { after_loss(self.until) } else { self.until };
        let is_known = self.now < known_until && self.key.as_ref() == Some(&claim.key);
        if is_known && self.is_of_another_body(claim) {
            Claimed::Reused
        } else if is_known {
            Claimed::Repeat { thread_id: thread_id(), is_running, about: self.about }
        } else if is_running {
            Claimed::Busy
        } else if is_held {
            Claimed::Abandoned { about: self.about }
        } else {
            Claimed::Yes
        }
    }
}

/// What a turn is about, as it is stored.
fn written(about: Option<&TurnAbout>) -> Result<Option<String>, StoreError> {
    Ok(about.map(serde_json::to_string).transpose()?)
}

/// Until when a request is known whose holder had its turn until then, and neither renewed nor
/// ended it.
fn after_loss(until: Timestamp) -> Timestamp {
    Timestamp(until.0.saturating_add(micros(LOST).unsigned_abs()))
}

fn micros(time: Duration) -> i64 {
    number(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
