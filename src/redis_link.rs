//! Is Redis there? One connection for the whole process, kept by one task: while it is down, nobody
//! waits for it.
//!
//! The client library's own reconnecting manager is not used: a server that refuses its first
//! greeting (a wrong password, still loading its data) leaves it with that failure for good, and
//! while it reconnects every command waits for it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::env::Secret;
use crate::telemetry::metrics::Metrics;

/// How long one command may take before we go on without Redis.
const COMMAND_DEADLINE: Duration = Duration::from_millis(250);
/// How long it may take to connect, in the background.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// How long Redis is left alone after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How often an idle connection is used, so that neither end takes it for dead and an outage is
/// seen.
const PROVE_EVERY: Duration = Duration::from_secs(10);
/// Commands that may wait for the socket at once.
const QUEUE: usize = 1024;

/// Redis does not answer, or not in time: go on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis is away")]
pub struct Away;

/// The address of Redis can't be read. It may hold a password, so it is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address of Redis must look like redis://host:6379, rediss://host:6379 or unix:///path"
)]
pub struct BadUrl;

/// Why Redis can't be used, in words without a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Unusable {
    words: String,
    /// Whether nothing answered.
    pub is_away: bool,
}

/// The way to Redis.
pub struct RedisLink {
    client: Client,
    state: watch::Sender<State>,
    metrics: Metrics,
}

enum State {
    /// Nobody knows yet.
    Starting,
    /// The connection, and how many there were before it.
    Up(MultiplexedConnection, u64),
    Away,
}

impl RedisLink {
    /// A link that is not connected: [`RedisLink::keep`] connects it. Needs no runtime.
    ///
    /// # Errors
    /// When the URL can't be read.
    pub fn new(url: &Secret, metrics: &Metrics) -> Result<Self, BadUrl> {
        let client = Client::open(url.expose()).map_err(|_| BadUrl)?;
        Ok(Self { client, state: watch::Sender::new(State::Starting), metrics: metrics.clone() })
    }

    /// Connects, watches over the connection and connects again after a failure, until `shutdown`.
    /// Call it once.
    pub fn keep(self: &Arc<Self>, tasks: &TaskTracker, shutdown: CancellationToken) {
        let link = Arc::clone(self);
        tasks.spawn(async move { shutdown.run_until_cancelled(link.keep_connected()).await });
    }

    /// Runs commands on the shared connection. Any failure counts as Redis being away, and for a
    /// second or more nobody asks it again. Only the first callers of all wait, for 250 ms at most,
    /// until it is known whether Redis is there.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn run<T, F, R>(&self, command: F) -> Result<T, Away>
    where
        F: FnOnce(MultiplexedConnection) -> R,
        R: Future<Output = RedisResult<T>>,
    {
        let (connection, number) = self.connection().await?;
        match timeout(COMMAND_DEADLINE, command(connection)).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => self.lose(Some(number), &unusable(&error)),
            Err(_) => self.lose(Some(number), &too_slow(COMMAND_DEADLINE)),
        }
        Err(Away)
    }

    /// Connects anew and writes a key that ends by itself: can Redis be used?
    ///
    /// # Errors
    /// Why it can't.
    pub async fn ping(&self) -> Result<(), Unusable> {
        self.connect().await.map(drop)
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Away> {
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| !matches!(state, State::Starting));
        match timeout(COMMAND_DEADLINE, known).await {
            Ok(Ok(state)) => match &*state {
                State::Up(connection, number) => Ok((connection.clone(), *number)),
                State::Starting | State::Away => Err(Away),
            },
            Ok(Err(_)) | Err(_) => Err(Away),
        }
    }

    async fn keep_connected(&self) {
        for number in 0.. {
            match self.connect().await {
                Ok(connection) => {
                    self.find(connection.clone(), number);
                    self.until_lost(connection, number).await;
                }
                Err(why) => self.lose(None, &why),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Unusable> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(Some(COMMAND_DEADLINE))
            .set_pipeline_buffer_size(QUEUE);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = timeout(CONNECT_DEADLINE, connecting)
            .await
            .map_err(|_| too_slow(CONNECT_DEADLINE))?
            .map_err(|error| unusable(&error))?;
        prove(&mut connection).await?;
        Ok(connection)
    }

    /// Uses the connection now and then, and returns when it is lost, by us or by a command.
    async fn until_lost(&self, mut connection: MultiplexedConnection, number: u64) {
        let mut state = self.state.subscribe();
        while timeout(PROVE_EVERY, state.wait_for(|state| matches!(state, State::Away)))
            .await
            .is_err()
        {
            if let Err(why) = prove(&mut connection).await {
                self.lose(Some(number), &why);
            }
        }
    }

    fn find(&self, connection: MultiplexedConnection, number: u64) {
        let before = self.state.send_replace(State::Up(connection, number));
        self.metrics.set_redis_up(true);
        if matches!(before, State::Away) {
            tracing::info!("Redis is back: what replicas share is shared again");
        }
    }

    /// Counts a failure, and marks Redis as away unless the failure is of an older connection than
    /// today's.
    fn lose(&self, number: Option<u64>, why: &Unusable) {
        self.metrics.redis_failed();
        let lost = self.state.send_if_modified(|state| {
            let ours = match state {
                State::Starting => true,
                State::Up(_, current) => number.is_none_or(|number| number == *current),
                State::Away => false,
            };
            if ours {
                *state = State::Away;
            }
            ours
        });
        if lost {
            self.metrics.set_redis_up(false);
            tracing::warn!(error = %why, "Redis is away: what replicas share is this process's own until it is back");
        }
    }
}

impl std::fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &*self.state.borrow() {
            State::Starting => "starting",
            State::Up(..) => "up",
            State::Away => "away",
        };
        f.debug_struct("RedisLink").field("state", &state).finish_non_exhaustive()
    }
}

/// Writes a key that ends by itself. A replica that only reads, or a full server, answers PING but
/// is of no use.
async fn prove(connection: &mut MultiplexedConnection) -> Result<(), Unusable> {
    let mut command = redis::cmd("SET");
    command.arg("chatkit:probe").arg(1).arg("PX").arg(1000);
    timeout(COMMAND_DEADLINE, command.exec_async(connection))
        .await
        .map_err(|_| too_slow(COMMAND_DEADLINE))?
        .map_err(|error| unusable(&error))
}

fn too_slow(deadline: Duration) -> Unusable {
    Unusable { words: format!("no answer within {} ms", deadline.as_millis()), is_away: true }
}

/// Words of ours: the library's may quote what was sent.
fn unusable(error: &RedisError) -> Unusable {
    let code = error.code().unwrap_or_default();
    let is_refused =
        error.kind() == ErrorKind::AuthenticationFailed || ["WRONGPASS", "NOAUTH"].contains(&code);
    let words = if error.is_connection_refusal() {
        "nothing listens at its address".to_owned()
    } else if error.is_timeout() {
        "it took too long to answer".to_owned()
    } else if is_refused {
        "it refused the user name or password".to_owned()
    } else if !code.is_empty() {
        format!("it answered {code}")
    } else {
        error.category().to_owned()
    };
    Unusable { words, is_away: code.is_empty() && !is_refused }
}
