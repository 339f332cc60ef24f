//! Can the service serve? What `/readyz` answers, found out no more than once a second however
//! often it is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::door::Door;
use crate::error::{Error, Kind};
use crate::lifecycle::Lifecycle;
use crate::store::Store;

/// How long a good answer of the database is believed.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// How long a bad one is: less, so that a service that has recovered is used again at once.
const BAD_FOR: Duration = Duration::from_millis(200);

/// What must be there to serve.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct Readiness {
    lifecycle: Lifecycle,
    door: Arc<Door>,
    store: Option<Arc<dyn Store>>,
    recent: Recent,
}

impl Readiness {
    /// Readiness of a service with these parts; hosted mode has no store.
    #[must_use]
    pub fn new(lifecycle: Lifecycle, door: Arc<Door>, store: Option<Arc<dyn Store>>) -> Self {
        Self { lifecycle, door, store, recent: Recent::default() }
    }

    /// Whether the service can serve.
    ///
    /// # Errors
    /// 503 with what is missing.
    pub async fn check(&self) -> Result<(), Error> {
        if self.lifecycle.is_draining() {
            return Err(Error::new(Kind::ShuttingDown, "The service is shutting down."));
        }
        if let Some(missing) = self.door.authenticator.not_ready() {
            return Err(Error::new(Kind::NotReady, missing));
        }
        let Some(store) = &self.store else { return Ok(()) };
        let ping = async {
            let answer = store.ping().await;
            let missing = "The database does not answer, can't be written to, or its file is gone.";
            answer.map_err(|error| Error::new(Kind::NotReady, missing).because(error))
        };
        self.recent.or(ping).await
    }
}

/// What the database said a moment ago.
#[derive(Default)]
struct Recent(Mutex<Option<(Instant, Result<(), Error>)>>);

impl Recent {
    /// What it said just now, or what it says when it is asked. Whoever comes meanwhile waits for
    /// the same answer.
    async fn or(&self, ask: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let mut last = self.0.lock().await;
        if let Some((at, said)) = &*last
            && at.elapsed() < if said.is_ok() { GOOD_FOR } else { BAD_FOR }
        {
            return said.clone();
        }
        let said = ask.await;
        *last = Some((Instant::now(), said.clone()));
        said
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_database_is_asked_once_however_many_want_to_know_and_again_when_that_is_old() {
        for said in [Ok(()), Err(Error::new(Kind::NotReady, "The database does not answer."))] {
            let (recent, asked) = (Recent::default(), AtomicUsize::new(0));
            let ask = async || {
                let ask = async {
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    said.clone()
                };
                recent.or(ask).await.is_ok()
            };
            let answers = futures_util::future::join_all((0..50).map(|_| ask())).await;
            assert!(answers.iter().all(|answer| *answer == said.is_ok()));
            assert_eq!(asked.load(Ordering::Relaxed), 1, "{said:?}");
            let began = Instant::now();
            while asked.load(Ordering::Relaxed) == 1 {
                assert!(began.elapsed() < Duration::from_secs(20), "it is asked again");
                tokio::time::sleep(Duration::from_millis(10)).await;
                ask().await;
            }
        }
    }
}
