//! When does the service end? Open requests finish first, then background tasks, then connections;
//! all within a grace.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long before the end of the grace what is still under way is told to end; a quarter of a
/// short grace.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long what is under way may take to say goodbye after a second signal.
const LAST: Duration = Duration::from_secs(1);

/// What is under way, and the signals that end it. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    /// Cancelled when a shutdown begins: new requests are refused.
    draining: CancellationToken,
    /// Cancelled when the grace is nearly over: streams say goodbye while they can.
    closing: CancellationToken,
    /// Cancelled when the last request is done: listeners, timers and idle connections end.
    stopping: CancellationToken,
    requests: TaskTracker,
    tasks: TaskTracker,
    connections: TaskTracker,
}

impl Lifecycle {
    /// Background tasks go on this tracker; a shutdown waits for them.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Requests whose answer is not complete hold a token of this tracker.
    #[must_use]
    pub fn requests(&self) -> &TaskTracker {
        &self.requests
    }

    /// Open connections run on this tracker.
    #[must_use]
    pub fn connections(&self) -> &TaskTracker {
        &self.connections
    }

    /// Whether a shutdown has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancelled when what is under way should come to an end of its own, because the grace is
    /// nearly over.
    #[must_use]
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Cancelled when listeners, timers and idle connections should end.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Waits for `signal`, then shuts down: at once when idle, and at the end of `grace` or within
    /// a second of a second signal in any case. Returns whether everything finished by itself.
    pub async fn run_until<S: Future<Output = ()>>(
        &self,
        mut signal: impl FnMut() -> S,
        grace: Duration,
    ) -> bool {
        signal().await;
        self.draining.cancel();
        tracing::info!(
            open_requests = self.requests.len(),
            grace_seconds = grace.as_secs(),
            "shutting down"
        );
        let goodbye = async {
            tokio::time::sleep(grace - GOODBYE.min(grace / 4)).await;
            self.closing.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.finish() => true,
            () = goodbye => false,
            () = tokio::time::sleep(grace) => {
                tracing::warn!(open_requests = self.requests.len(), "the grace is over");
                false
            }
            () = signal() => {
                tracing::warn!(open_requests = self.requests.len(), "a second signal ends the service now");
                self.closing.cancel();
                let _ = tokio::time::timeout(LAST, self.finish()).await;
                false
            }
        }
    }

    async fn finish(&self) {
        self.requests.close();
        self.requests.wait().await;
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.connections.close();
        self.connections.wait().await;
    }
}

/// Resolves at the next SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers can't be installed.
pub fn signals() -> std::io::Result<impl FnMut() -> futures_util::future::BoxFuture<'static, ()>> {
    use std::sync::Arc;
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::sync::Mutex;

    let both = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let both = Arc::new(Mutex::new(both));
    Ok(move || {
        let both = Arc::clone(&both);
        Box::pin(async move {
            let (terminate, interrupt) = &mut *both.lock().await;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }) as futures_util::future::BoxFuture<'static, ()>
    })
}
