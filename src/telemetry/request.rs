//! What is known of the request that is under way? The layer that writes the log line puts a
//! [`RequestContext`] into the request; those who learn something on the way write it down there.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::HeaderValue;

use crate::user::{Fingerprint, UserId};

/// What the log line and the answer's headers will say of this request.
#[derive(Debug, Default)]
pub struct RequestContext {
    id: String,
    user: OnceLock<UserId>,
    upstream_request_id: OnceLock<String>,
    asked: OnceLock<Asked>,
    thread: OnceLock<Fingerprint>,
    model: OnceLock<Arc<str>>,
    tokens: Mutex<Option<Tokens>>,
    rate_limit: Mutex<Option<RateLimit>>,
    cookie: OnceLock<HeaderValue>,
    ending: Mutex<Ending>,
}

/// What is asked of the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The request's type.
    pub kind: &'static str,
    /// The name of the agent that it is asked of.
    pub agent: Arc<str>,
}

/// What an answer took of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// What was sent.
    pub input: u64,
    /// What came back.
    pub output: u64,
}

/// An answer that carries this is a stream: its request is over when the stream is.
#[derive(Debug, Clone, Copy)]
pub struct Streams;

/// What is known of how a stream ended.
#[derive(Debug, Default)]
enum Ending {
    /// It goes on.
    #[default]
    Open,
    Failed(Failure),
    /// Its log line is written.
    Logged,
}

/// Why a stream ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words for the log.
    pub cause: String,
    /// Whether somebody should look into it.
    pub is_fault: bool,
}

/// Where a caller stands with a limit, as the `RateLimit-*` headers say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The burst: how many requests may come at once.
    pub limit: u32,
    /// How many more may come now.
    pub remaining: u32,
    /// Seconds until the whole burst is there again, rounded up.
    pub reset: u64,
}

impl RequestContext {
    /// A context for one request, shared with all who handle it.
    #[must_use]
    pub fn shared(id: &str) -> Arc<Self> {
        Arc::new(Self { id: id.to_owned(), ..Self::default() })
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Notes who asks; the first to say so is right.
    pub fn note_user(&self, user: &UserId) {
        self.user.get_or_init(|| user.clone());
    }

    /// Notes the upstream's own id of the request that we made there; the first stays.
    pub fn note_upstream_request_id(&self, id: &str) {
        self.upstream_request_id.get_or_init(|| id.to_owned());
    }

    /// Notes what is asked of the chat.
    pub fn note_asked(&self, kind: &'static str, agent: &Arc<str>) {
        self.asked.get_or_init(|| Asked { kind, agent: Arc::clone(agent) });
    }

    /// Notes the thread that this is about. Its id leads to it for whoever has the user's
    /// credential: the log gets a hash.
    pub fn note_thread(&self, id: &str) {
        self.thread.get_or_init(|| Fingerprint::of(id.as_bytes()));
    }

    /// Notes which model is asked.
    pub fn note_model(&self, model: &str) {
        self.model.get_or_init(|| model.into());
    }

    /// Adds to what the answer took. Returns whether the request's line is still to be written.
    #[must_use]
    pub fn note_tokens(&self, took: Tokens) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = tokens.get_or_insert_default();
        sum.input = sum.input.saturating_add(took.input);
        sum.output = sum.output.saturating_add(took.output);
        !matches!(*self.ending.lock().unwrap_or_else(PoisonError::into_inner), Ending::Logged)
    }

    /// Notes the `Set-Cookie` that the answer must carry.
    pub fn note_cookie(&self, cookie: HeaderValue) {
        self.cookie.get_or_init(|| cookie);
    }

    /// Notes where the caller stands with one limit; of several the one with the least left is
    /// kept, and of two with the same the one that takes longer to come back.
    pub fn note_rate_limit(&self, seen: RateLimit) {
        let mut kept = self.rate_limit.lock().unwrap_or_else(PoisonError::into_inner);
        let tightness = |limit: RateLimit| (Reverse(limit.remaining), limit.reset);
        if kept.is_none_or(|kept| tightness(seen) > tightness(kept)) {
            *kept = Some(seen);
        }
    }

    /// Notes why the stream of this request ends. It comes back when the request's line is written
    /// already, because its client left before.
    ///
    /// # Errors
    /// The failure.
    pub fn note_failure(&self, failure: Failure) -> Result<(), Failure> {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        match &*ending {
            Ending::Logged => Err(failure),
            Ending::Open | Ending::Failed(_) => {
                *ending = Ending::Failed(failure);
                Ok(())
            }
        }
    }

    /// Why the stream ended, if it failed. From now on it is too late to note that.
    #[must_use]
    pub fn end(&self) -> Option<Failure> {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *ending, Ending::Logged) {
            Ending::Failed(failure) => Some(failure),
            Ending::Open | Ending::Logged => None,
        }
    }

    /// Who asks, once known.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.user.get()
    }

    /// What is asked of the chat, once known.
    #[must_use]
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.get()
    }

    /// The thread, once known.
    #[must_use]
    pub fn thread(&self) -> Option<Fingerprint> {
        self.thread.get().copied()
    }

    /// The model that is asked, once known.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.get().map(|model| &**model)
    }

    /// What the answer took, if a model has said so.
    #[must_use]
    pub fn tokens(&self) -> Option<Tokens> {
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upstream's id of our request there, once known.
    #[must_use]
    pub fn upstream_request_id(&self) -> Option<&str> {
        self.upstream_request_id.get().map(String::as_str)
    }

    /// The `Set-Cookie` of the answer, if it has one.
    #[must_use]
    pub fn cookie(&self) -> Option<&HeaderValue> {
        self.cookie.get()
    }

    /// The tightest limit met.
    #[must_use]
    pub fn rate_limit(&self) -> Option<RateLimit> {
        *self.rate_limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_limits_the_tighter_is_reported_and_of_two_that_are_used_up_the_slower() {
        let seen = |limit, remaining, reset| RateLimit { limit, remaining, reset };
        let report = |limits: &[RateLimit]| {
            let context = RequestContext::default();
            limits.iter().for_each(|limit| context.note_rate_limit(*limit));
            context.rate_limit()
        };
        let (address, user) = (seen(30, 29, 1), seen(10, 9, 3));
        assert_eq!(report(&[address, user]), Some(user));
        assert_eq!(report(&[user, address]), Some(user));
        let (address, refused) = (seen(3, 0, 3), seen(2, 0, 120));
        assert_eq!(report(&[address, refused]), Some(refused), "the one that refuses takes longer");
        assert_eq!(report(&[]), None);
    }
}
