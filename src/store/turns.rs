//! Who answers in a thread? One holder at a time has its turn, and the request that it answers is known by a key.

use super::database::{Row, values};
use super::items;
use super::sql_store::SqlStore;
use super::{Claimed, Owner, StoreError, TurnClaim};
use crate::protocol::{Id, Item, Thread, Timestamp};

/// How long a request is known after its holder was lost, in microseconds: as long as browsers and people try again.
const LOST_MICROS: u64 = 120_000_000;
/// How often a thread is tried to be made: each time the one in the way may have gone before it could be looked at.
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
        let data = serde_json::to_string(thread)?;
        let mut tx = self.database.begin().await?;
        for _ in 0..ATTEMPTS {
            let sql = "update threads set create_key = null \
                       where workflow = $1 and usr = $2 and create_key = $3 and create_until <= $4";
            tx.run(sql, values![workflow, user, &*claim.key, claim.now]).await?;
            let sql = "insert into threads (id, workflow, usr, created_at, touched_at, last_seq, data, \
                       turn_key, turn_holder, turn_until, create_key, create_until) \
                       values ($1, $2, $3, $4, $5, 1, $6, $7, $8, $9, $7, $10) \
                       on conflict (workflow, usr, create_key) where create_key is not null do nothing returning id";
            let made = values![
                &*thread.id,
                workflow,
                user,
                thread.created_at,
                self.now(),
                &*data,
                &*claim.key,
                &*claim.holder,
                claim.until,
                after_loss(claim.until),
            ];
            if !tx.run(sql, made).await?.is_empty() {
                if !items::take_files(&mut tx, owner, first).await? {
                    return Ok(Claimed::FileGone);
                }
                items::write(&mut tx, owner, &thread.id, 1, first).await?;
                tx.commit().await?;
                return Ok(Claimed::Yes);
            }
            let sql = "select turn_key, turn_holder, turn_until, id from threads \
                       where workflow = $1 and usr = $2 and create_key = $3";
            let rows = tx.run(sql, values![workflow, user, &*claim.key]).await?;
            if let Some(row) = rows.first() {
                let is_running = LastTurn::read(row)?.is_running_for(claim);
                return Ok(Claimed::Repeat { thread_id: row.text(3)?.into(), is_running });
            }
        }
        Err(StoreError("the same thread was made and went away again and again".to_owned()))
    }

    pub(super) async fn claim_turn(
        &self,
        owner: &Owner,
        thread_id: &str,
        claim: &TurnClaim,
    ) -> Result<Claimed, StoreError> {
        let (workflow, user) = (&*owner.workflow, &owner.user);
        let mut tx = self.database.begin().await?;
        // Changes nothing, and keeps others from the row: what is read here holds until the claim is written.
        let sql = "update threads set turn_until = turn_until where id = $1 and workflow = $2 and usr = $3 \
                   returning turn_key, turn_holder, turn_until";
        let rows = tx.run(sql, values![thread_id, workflow, user]).await?;
        let Some(row) = rows.first() else { return Ok(Claimed::NotFound) };
        let claimed = LastTurn::read(row)?.answer(claim, || thread_id.into());
        if matches!(claimed, Claimed::Yes | Claimed::Abandoned) {
            let sql = "update threads set turn_key = $4, turn_holder = $5, turn_until = $6 \
                       where id = $1 and workflow = $2 and usr = $3";
            let claim = values![thread_id, workflow, user, &*claim.key, &*claim.holder, claim.until];
            tx.run(sql, claim).await?;
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
        let sql = "update threads set turn_until = $5, \
                   create_until = case when create_key = turn_key then $6 else create_until end \
                   where id = $1 and workflow = $2 and usr = $3 and turn_holder = $4 returning id";
        let (until, known_until) = (claim.until, after_loss(claim.until));
        let values = values![thread_id, &*owner.workflow, &owner.user, &*claim.holder, until, known_until];
        Ok(!self.database.write(sql, values).await?.is_empty())
    }

    pub(super) async fn return_turn(
        &self,
        owner: &Owner,
        thread_id: &str,
        claim: &TurnClaim,
        got_through: bool,
    ) -> Result<(), StoreError> {
        let sql = if got_through {
            "update threads set turn_holder = null, turn_key = null, turn_until = $5, \
             create_key = case when create_key = turn_key then null else create_key end \
             where id = $1 and workflow = $2 and usr = $3 and turn_holder = $4"
        } else {
            "update threads set turn_holder = null, turn_until = $5, \
             create_until = case when create_key = turn_key then $5 else create_until end \
             where id = $1 and workflow = $2 and usr = $3 and turn_holder = $4"
        };
        let values = values![thread_id, &*owner.workflow, &owner.user, &*claim.holder, claim.until];
        self.database.write(sql, values).await.map(drop)
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
}

impl LastTurn {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { key: row.maybe_text(0)?, holder: row.maybe_text(1)?, until: Timestamp(row.unsigned(2)?) })
    }

    fn is_running(&self, now: Timestamp) -> bool {
        self.holder.is_some() && now < self.until
    }

    fn is_running_for(&self, claim: &TurnClaim) -> bool {
        self.is_running(claim.now) && self.key.as_ref() == Some(&claim.key)
    }

    /// What becomes of a further claim.
    fn answer(&self, claim: &TurnClaim, thread_id: impl FnOnce() -> Id) -> Claimed {
        let (is_running, is_held) = (self.is_running(claim.now), self.holder.is_some());
        let known_until = if is_held { after_loss(self.until) } else { self.until };
        if claim.now < known_until && self.key.as_ref() == Some(&claim.key) {
            Claimed::Repeat { thread_id: thread_id(), is_running }
        } else if is_running {
            Claimed::Busy
        } else if is_held {
            Claimed::Abandoned
        } else {
            Claimed::Yes
        }
    }
}

/// Until when a request is known whose holder had its turn until then, and neither renewed nor ended it.
fn after_loss(until: Timestamp) -> Timestamp {
    Timestamp(until.0.saturating_add(LOST_MICROS))
}
