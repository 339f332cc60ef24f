//! Which sessions are there? The newest ones, in memory, within a bound.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::request::SessionRequest;

const CAPACITY: usize = 100_000;

/// How long a session is remembered past its end, in seconds, so that its status can be told.
const KEPT_PAST_END: u64 = 3600;

/// One minted session. It never changes; whether it was cancelled stands beside it.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) secret: [u8; 32],
    /// In seconds since the Unix epoch.
    pub(super) expires_at: u64,
    pub(super) request: SessionRequest,
}

/// The random part of an id.
pub(super) type SessionId = [u8; 16];

/// What OpenAI calls the state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Active,
    Expired,
    Cancelled,
}

/// The sessions that are remembered. At most [`CAPACITY`], oldest first out.
#[derive(Default)]
pub(super) struct Sessions {
    known: HashMap<SessionId, Known>,
    /// Every known session once, oldest first.
    by_age: VecDeque<Arc<Session>>,
}

struct Known {
    session: Arc<Session>,
    cancelled: bool,
}

impl Sessions {
    /// Remembers a new session. Each call drops two old ones at most, so that none takes long and
    /// the dead still go faster than the new ones come.
    pub(super) fn insert(&mut self, session: Arc<Session>, now: u64) {
        for _ in 0..2 {
            let full = self.by_age.len() >= CAPACITY;
            let due = |oldest: &mut Arc<Session>| full || oldest.expires_at + KEPT_PAST_END <= now;
            let Some(oldest) = self.by_age.pop_front_if(due) else { break };
            self.known.remove(&oldest.id);
        }
        self.by_age.push_back(Arc::clone(&session));
        self.known.insert(session.id, Known { session, cancelled: false });
    }

    /// Cancels a session that is still alive, and tells how it stands now.
    pub(super) fn cancel(&mut self, id: &SessionId, now: u64) -> Option<(Arc<Session>, Status)> {
        let known = self
            .known
            .get_mut(id)
            .filter(|known| now < known.session.expires_at + KEPT_PAST_END)?;
        known.cancelled |= now < known.session.expires_at;
        let status = if known.cancelled { Status::Cancelled } else { Status::Expired };
        Some((Arc::clone(&known.session), status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::request;

    const LIFETIME: u64 = 600;

    fn session(number: u64, now: u64) -> Arc<Session> {
        let request = request::parse(br#"{"user":"ada","workflow":{"id":"wf_1"}}"#).unwrap();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        Arc::new(Session { id, secret: [7; 32], expires_at: now + LIFETIME, request })
    }

    fn status(sessions: &mut Sessions, id: &SessionId, now: u64) -> Option<Status> {
        sessions.cancel(id, now).map(|(_, status)| status)
    }

    #[test]
    fn a_session_is_cancelled_until_its_end_and_expired_after_it() {
        let mut sessions = Sessions::default();
        let (first, second) = (session(1, 0), session(2, 0));
        sessions.insert(Arc::clone(&first), 0);
        sessions.insert(Arc::clone(&second), 0);
        assert_eq!(status(&mut sessions, &first.id, LIFETIME - 1), Some(Status::Cancelled));
        assert_eq!(status(&mut sessions, &second.id, LIFETIME), Some(Status::Expired));
        assert_eq!(
            status(&mut sessions, &first.id, LIFETIME),
            Some(Status::Cancelled),
            "it stays cancelled"
        );
        assert_eq!(
            status(&mut sessions, &first.id, LIFETIME + KEPT_PAST_END),
            None,
            "it is forgotten in the end"
        );
        assert_eq!(status(&mut sessions, &[9; 16], 0), None);
    }

    #[test]
    fn the_newest_are_kept_within_the_bound() {
        let mut sessions = Sessions::default();
        let ids: Vec<_> = (0..CAPACITY as u64 + 2)
            .map(|number| {
                let session = session(number, 0);
                let id = session.id;
                sessions.insert(session, 0);
                id
            })
            .collect();
        assert!(sessions.known.len() <= CAPACITY);
        assert_eq!(sessions.known.len(), sessions.by_age.len());
        assert_eq!(status(&mut sessions, &ids[0], 0), None, "the oldest made room");
        assert_eq!(status(&mut sessions, &ids[CAPACITY + 1], 0), Some(Status::Cancelled));
    }

    #[test]
    fn the_long_expired_leave_as_new_ones_come() {
        let mut sessions = Sessions::default();
        for number in 0..10 {
            sessions.insert(session(number, 0), 0);
        }
        let later = LIFETIME + KEPT_PAST_END;
        for number in 10..20 {
            sessions.insert(session(number, later), later);
        }
        assert_eq!((sessions.known.len(), sessions.by_age.len()), (10, 10));
    }
}
