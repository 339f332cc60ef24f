//! When are an issuer's keys fetched? Each source has one task, which alone fetches: at the start,
//! from time to time, and when a request meets a key that it doesn't know. Requests read the newest
//! set, nudge the task, and wait for its next answer with a deadline; no lock is held while
//! anything is fetched.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jsonwebtoken::Algorithm;
use reqwest::Client;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::claims::Unverified;
use super::error::{Error, Flaw};
use super::fetch::{FetchError, Fetched, Place};
use super::keys::{KeySet, Tried};

/// How long things take; tests shorten it.
#[derive(Debug, Clone)]
pub struct Timing {
    /// After a fetch for an unknown key, no other one for that reason for so long, also when it
    /// failed.
    pub cool_down: Duration,
    /// How long a request waits for the very first keys.
    pub first_answer: Duration,
    /// How long a request waits for a newer set that may have its key.
    pub next_answer: Duration,
    /// How old a set grows when its issuer doesn't say (`Cache-Control: max-age`).
    pub refresh: Duration,
    /// The bounds of what an issuer may say.
    pub refresh_bounds: (Duration, Duration),
    /// While a fetch fails it is tried again after the first of these, then after twice as long, up
    /// to the second.
    pub retry_bounds: (Duration, Duration),
    /// How long one HTTP request may take.
    pub request: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            cool_down: seconds(30),
            first_answer: seconds(1),
            next_answer: seconds(5),
            refresh: seconds(600),
            refresh_bounds: (seconds(300), seconds(3600)),
            retry_bounds: (seconds(1), seconds(30)),
            request: seconds(5),
        }
    }
}

/// Keys that are fetched, and the newest of them.
#[derive(Debug)]
pub(super) struct Source {
    origin: Arc<str>,
    host: String,
    issuer: Option<String>,
    allowed: Option<Vec<Algorithm>>,
    timing: Timing,
    state: watch::Sender<State>,
    nudge: Notify,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// How many fetches have ended, well or badly.
    generation: u64,
    is_fetching: bool,
    cool_until: Option<Instant>,
    keys: Option<Arc<KeySet>>,
    fetched_at: Option<Instant>,
    failure: Option<Arc<str>>,
}

impl State {
    fn is_cooling(&self) -> bool {
        self.cool_until.is_some_and(|until| Instant::now() < until)
    }
}

impl Source {
    /// A source that nothing has been fetched from. `issuer` is set when its keys count for that
    /// issuer alone.
    pub(super) fn new(
        url: &Url,
        issuer: Option<String>,
        allowed: Option<Vec<Algorithm>>,
        timing: Timing,
    ) -> Self {
        let origin = url.origin().ascii_serialization();
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host).to_owned();
        let (state, _) = watch::channel(State::default());
        Self { origin: origin.into(), host, issuer, allowed, timing, state, nudge: Notify::new() }
    }

    /// The issuer whose tokens these keys verify; none means any.
    pub(super) fn issuer(&self) -> Option<&String> {
        self.issuer.as_ref()
    }

    /// Scheme, host and port: the name under which people know the source.
    pub(super) fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// Host and port.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether there are keys.
    pub(super) fn is_ready(&self) -> bool {
        self.state.borrow().keys.is_some()
    }

    /// How long ago the keys were fetched.
    pub(super) fn age(&self) -> Option<Duration> {
        self.state.borrow().fetched_at.map(|at| at.elapsed())
    }

    /// Waits for the first keys: how many there are, or why there are none.
    pub(super) async fn first_keys(&self, within: Duration) -> Result<usize, String> {
        let mut state = self.state.subscribe();
        let _ = timeout(within, state.wait_for(|state| state.keys.is_some())).await;
        let state = self.state.borrow();
        match (&state.keys, &state.failure) {
            (Some(keys), _) => Ok(keys.len()),
            (None, Some(failure)) => Err(failure.to_string()),
            (None, None) => Err("it has not answered yet".to_owned()),
        }
    }

    /// Verifies a signature with the newest keys; for an unknown `kid` with those of a new fetch,
    /// if one is due.
    pub(super) async fn verify(&self, token: &Unverified<'_>) -> Result<(), Error> {
        let (generation, keys) = self.newest_keys().await?;
        match keys.verify(token) {
            Tried::Verified => return Ok(()),
            Tried::Wrong => return Err(Flaw::Signature.into()),
            Tried::UnknownKid => {}
        }
        match self.keys_after(generation).await?.map(|keys| keys.verify(token)) {
            Some(Tried::Verified) => Ok(()),
            Some(Tried::Wrong | Tried::UnknownKid) | None => Err(Flaw::Signature.into()),
        }
    }

    /// The newest keys. While the very first fetch is under way, waits for it a little.
    async fn newest_keys(&self) -> Result<(u64, Arc<KeySet>), Error> {
        let mut state = self.state.subscribe();
        if state.borrow().generation == 0 {
            let _ = timeout(self.timing.first_answer, state.wait_for(|state| state.generation > 0))
                .await;
        }
        let state = state.borrow();
        let keys = state.keys.clone().ok_or_else(|| Error::NoKeys(self.origin.clone()))?;
        Ok((state.generation, keys))
    }

    /// The keys that were fetched after those of this generation. Joins the fetch that is under
    /// way, or asks for one unless one was asked for just now.
    async fn keys_after(&self, generation: u64) -> Result<Option<Arc<KeySet>>, Error> {
        let mut state = self.state.subscribe();
        {
            let now = state.borrow();
            if now.generation == generation && !now.is_fetching {
                if now.is_cooling() {
                    return Ok(None);
                }
                self.nudge.notify_one();
            }
        }
        let newer = state.wait_for(|state| state.generation > generation);
        match timeout(self.timing.next_answer, newer).await {
            Ok(Ok(state)) => Ok(state.keys.clone()),
            Ok(Err(_)) | Err(_) => Err(Error::SlowIssuer(self.origin.clone())),
        }
    }

    /// Fetches until told to stop.
    pub(super) async fn run(
        self: Arc<Self>,
        client: Client,
        mut place: Place,
        stop: CancellationToken,
    ) {
        let mut failures = 0;
        let mut is_asked = false;
        loop {
            // A nudge that was left behind while we fetched has its answer.
            let _ = self.nudge.notified().now_or_never();
            self.begin(is_asked);
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = place.fetch(&client) => outcome.and_then(|fetched| self.read(fetched)),
            };
            failures = if outcome.is_ok() { 0 } else { failures + 1 };
            let pause = self.finish(outcome, failures);
            is_asked = tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(Instant::now() + pause) => false,
                () = self.asked() => true,
            };
        }
    }

    /// Waits until a request asks for newer keys and may have them.
    async fn asked(&self) {
        loop {
            self.nudge.notified().await;
            if !self.state.borrow().is_cooling() {
                return;
            }
        }
    }

    fn begin(&self, is_asked: bool) {
        self.state.send_modify(|state| {
            state.is_fetching = true;
            if is_asked {
                state.cool_until = Some(Instant::now() + self.timing.cool_down);
            }
        });
    }

    /// The usable keys of an answer, and how long they may be kept. None at all is a failure like
    /// any other: it would lock everybody out, and it is most often an issuer's slip.
    fn read(&self, fetched: Fetched) -> Result<(KeySet, Duration), FetchError> {
        let keys = fetched.document.usable(self.allowed.as_deref());
        if keys.is_empty() {
            return Err(FetchError::NoUsableKeys);
        }
        let (least, most) = self.timing.refresh_bounds;
        Ok((keys, fetched.max_age.map_or(self.timing.refresh, |age| age.clamp(least, most))))
    }

    /// Publishes what came of a fetch, and says how long to wait before the next. The old keys stay
    /// when it failed.
    fn finish(&self, outcome: Result<(KeySet, Duration), FetchError>, failures: u32) -> Duration {
        let (keys, failure, pause) = match outcome {
            Ok((keys, pause)) => (Some(Arc::new(keys)), None, pause),
            Err(error) => {
                tracing::warn!(source = %self.origin, error = %error, "the issuer's keys could not be fetched");
                let (first, most) = self.timing.retry_bounds;
                let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
                (None, Some(Arc::from(error.to_string())), doubled.min(most))
            }
        };
        self.state.send_modify(|state| {
            state.generation += 1;
            state.is_fetching = false;
            state.failure = failure;
            if keys.is_some() {
                state.keys = keys;
                state.fetched_at = Some(Instant::now());
            }
        });
        pause
    }
}
