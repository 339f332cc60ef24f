//! Who holds which client secret, over all replicas? The registry in Redis: fingerprints of secrets
//! and users and OpenAI's session ids, every key with an end of life. No secret and no user id ever
//! gets there.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Script;

use super::registry::{LocalRegistry, Registry, Session};
use crate::clock::Clock;
use crate::redis_link::{Away, RedisLink};
use crate::user::Fingerprint;

/// Hex digits of a fingerprint.
const HEX: usize = 32;
/// The text of a session that was ended before the end of its life.
const ENDED: &str = "";

/// Files a session under its secret and in its user's index, which lives as long as the longest
/// session in it.
///
/// KEYS: the session's key, the user's key. ARGV: the session's text, its entry in the index,
/// milliseconds of life left, the end of its life and the time now, both in Unix seconds.
static REMEMBER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
        redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[5])
        redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
        if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[3]) then
            redis.call('PEXPIRE', KEYS[2], ARGV[3])
        end
        ",
    )
});

/// Marks a session as ended until its life would have ended, and gives back its text. Whoever
/// minted it remembers it too, and learns from the mark (an empty text) that it need not be ended
/// once more.
///
/// KEYS: the session's key.
static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local text = redis.call('GET', KEYS[1])
        local left = redis.call('PTTL', KEYS[1])
        if left > 0 then
            redis.call('SET', KEYS[1], '', 'PX', left)
        end
        return text
        ",
    )
});

/// The sessions of all replicas that share a Redis. Each replica also remembers in its own memory
/// what it minted itself, so that it can still tell whose such a secret is, and end such a session,
/// while Redis is away or has lost its data.
///
/// What a replica can't know while Redis is away: the sessions that other replicas minted. A
/// refresh that brings the secret of one is answered without a check and without ending it, and a
/// sign-out does not end it. It ends by itself at the end of its life, within ten minutes. What is
/// minted meanwhile stays unknown to the other replicas also after Redis is back.
#[derive(Debug)]
pub struct RedisRegistry {
    link: Arc<RedisLink>,
    local: LocalRegistry,
    clock: Arc<dyn Clock>,
}

impl RedisRegistry {
    /// A registry on this link, with `local` for what this replica mints itself.
    #[must_use]
    pub fn new(link: Arc<RedisLink>, local: LocalRegistry, clock: Arc<dyn Clock>) -> Self {
        Self { link, local, clock }
    }

    async fn remember_shared(&self, secret: Fingerprint, session: &Session) -> Result<(), Away> {
        let left =
            Duration::from_secs(session.ends_at).saturating_sub(self.clock.now()).as_millis();
        let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else { return Ok(()) };
        let mut call = REMEMBER.key(session_key(secret));
        call.key(user_key(session.user))
            .arg(session_text(session))
            .arg(index_entry(secret, &session.id))
            .arg(left)
            .arg(session.ends_at)
            .arg(self.clock.unix_seconds());
        self.link
            .run(|mut connection| async move { call.invoke_async(&mut connection).await })
            .await
    }

    /// What Redis says of these secrets, in their order.
    async fn shared_texts(&self, secrets: &[Fingerprint]) -> Result<Vec<Option<String>>, Away> {
        let command =
            redis::Cmd::mget(secrets.iter().map(|secret| session_key(*secret)).collect::<Vec<_>>());
        self.link
            .run(|mut connection| async move { command.query_async(&mut connection).await })
            .await
    }

    /// Forgets those of this replica's own sessions that another one has ended. What Redis does not
    /// know stays: it was minted while Redis was away.
    async fn without_ended(&self, own: &mut Vec<(Fingerprint, Box<str>)>) {
        let secrets: Vec<_> = own.iter().map(|(secret, _)| *secret).collect();
        let Ok(texts) = self.shared_texts(&secrets).await else { return };
        let ended = secrets.iter().zip(texts).filter(|(_, text)| text.as_deref() == Some(ENDED));
        let ended: HashSet<_> = ended.map(|(secret, _)| *secret).collect();
        own.retain(|(secret, _)| !ended.contains(secret));
        for secret in ended {
            self.local.forget(secret).await;
        }
    }

    async fn of_user_shared(&self, user: Fingerprint) -> Result<Vec<String>, Away> {
        let after_now = format!("({}", self.clock.unix_seconds());
        let command = redis::Cmd::zrangebyscore(user_key(user), after_now, "+inf");
        self.link
            .run(|mut connection| async move { command.query_async(&mut connection).await })
            .await
    }

    async fn forget_shared(&self, secret: Fingerprint) -> Result<(), Away> {
        let take = FORGET.key(session_key(secret));
        let text: Option<String> = self
            .link
            .run(|mut connection| async move { take.invoke_async(&mut connection).await })
            .await?;
        let Some(session) = text.and_then(|text| parse_session(&text)) else { return Ok(()) };
        let command = redis::Cmd::zrem(user_key(session.user), index_entry(secret, &session.id));
        self.link
            .run(|mut connection| async move { command.exec_async(&mut connection).await })
            .await
    }
}

impl Registry for RedisRegistry {
    fn remember(&self, secret: Fingerprint, session: Session) -> BoxFuture<'_, ()> {
        async move {
            self.local.remember(secret, session.clone()).await;
            // While Redis is away the other replicas don't learn of it.
            let _ = self.remember_shared(secret, &session).await;
        }
        .boxed()
    }

    fn find(&self, secret: Fingerprint) -> BoxFuture<'_, Option<Session>> {
        async move {
            let text = self.shared_texts(&[secret]).await.unwrap_or_default().pop().flatten();
            if text.as_deref() == Some(ENDED) {
                self.local.forget(secret).await;
                return None;
            }
            let now = self.clock.unix_seconds();
            let shared =
                text.and_then(|text| parse_session(&text)).filter(|session| session.ends_at > now);
            match shared {
                Some(session) => Some(session),
                None => self.local.find(secret).await,
            }
        }
        .boxed()
    }

    fn of_user(&self, user: Fingerprint) -> BoxFuture<'_, Vec<(Fingerprint, Box<str>)>> {
        async move {
            let entries = self.of_user_shared(user).await.unwrap_or_default();
            let mut found: Vec<_> = entries.iter().filter_map(|entry| parse_entry(entry)).collect();
            let mut own = self.local.of_user(user).await;
            if !own.is_empty() {
                let known: HashSet<_> = found.iter().map(|(secret, _)| *secret).collect();
                own.retain(|(secret, _)| !known.contains(secret));
            }
            if !own.is_empty() {
                self.without_ended(&mut own).await;
                found.append(&mut own);
            }
            found
        }
        .boxed()
    }

    fn forget(&self, secret: Fingerprint) -> BoxFuture<'_, ()> {
        async move {
            // While Redis is away the session stays there until the end of its life.
            let _ = self.forget_shared(secret).await;
            self.local.forget(secret).await;
        }
        .boxed()
    }

    fn live(&self) -> usize {
        self.local.live()
    }

    fn sweep(&self) {
        self.local.sweep();
    }
}

fn session_key(secret: Fingerprint) -> String {
    format!("chatkit:session:{}", secret.hex())
}

fn user_key(user: Fingerprint) -> String {
    format!("chatkit:sessions-of:{}", user.hex())
}

/// The user's fingerprint, the end, a space, the id.
fn session_text(session: &Session) -> String {
    format!("{}{} {}", session.user.hex(), session.ends_at, session.id)
}

fn parse_session(text: &str) -> Option<Session> {
    let (user, rest) = text.split_at_checked(HEX)?;
    let (ends_at, id) = rest.split_once(' ')?;
    Some(Session { user: parse_hex(user)?, id: id.into(), ends_at: ends_at.parse().ok()? })
}

/// The secret's fingerprint, then the id.
fn index_entry(secret: Fingerprint, id: &str) -> String {
    format!("{}{id}", secret.hex())
}

fn parse_entry(entry: &str) -> Option<(Fingerprint, Box<str>)> {
    let (secret, id) = entry.split_at_checked(HEX)?;
    Some((parse_hex(secret)?, id.into()))
}

fn parse_hex(text: &str) -> Option<Fingerprint> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Fingerprint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(user in any::<[u8; 16]>(), ends_at in any::<u64>(), id in "\\PC{0,60}") {
            let session = Session { user: Fingerprint(user), id: id.as_str().into(), ends_at };
            prop_assert_eq!(parse_session(&session_text(&session)), Some(session));
            let entry = index_entry(Fingerprint(user), &id);
            prop_assert_eq!(parse_entry(&entry), Some((Fingerprint(user), id.into())));
        }

        #[test]
        fn what_somebody_else_wrote_makes_nobody_panic(text in "(\\PC{0,40}|[0-9a-f]{30,34}[0-9 é]{0,9}\\PC{0,9})") {
            if let Some(session) = parse_session(&text) {
                prop_assert!(text.starts_with(&session.user.hex()));
            }
            let _ = parse_entry(&text);
        }
    }
}
