//! How is a database reached? Its address is read, its connections are set up, and its schema is
//! brought up to date.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlitePool};
use tokio::time::{Instant, sleep, timeout};

use super::database::{Database, SQLITE_NOW};
use super::sqlite_file::SqliteFile;
use super::{Store, StoreError, sql_store::SqlStore};
use crate::clock::Clock;

/// How long a start may wait for others that are migrating, and for its own migrations.
const MIGRATION_DEADLINE: Duration = Duration::from_secs(60);

/// How long a call waits for a connection to PostgreSQL, and a new connection for the server.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call waits for a connection to SQLite. Nobody is asked there: it waits for the
/// others, which may be thousands that begin at once, as long as its own deadline allows.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// A statement that takes longer is told at the level `debug`: under load there would be more of
/// these lines than of all others.
const SLOW: Duration = Duration::from_secs(1);

/// How long SQLite waits for another process that writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 20;

/// PostgreSQL says nothing of what it need not do, such as to make a table that is there.
const QUIET: (&str, &str) = ("client_min_messages", "warning");

/// What each of them is set to. The third frees the rows of a replica that has vanished in the
/// middle of a transaction. With the others, a page is read along its index, as each index here is
/// made for: left to itself, the planner may take a long list for a short one, fetch all of it, and
/// sort.
const POSTGRES_SETTINGS: [(&str, &str); 5] = [
    QUIET,
    ("statement_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("enable_sort", "off"),
    ("enable_bitmapscan", "off"),
];

/// Connections that read from a file.
const SQLITE_READERS: u32 = 4;

/// How many rows a connection reads ahead of whoever takes them: a page of the usual size. Each may
/// be a message of the largest size.
const SQLITE_ROWS_AHEAD: usize = 22;

/// A connection that has rested for longer is tried before it is used: no server restarts in less.
/// Under load none rests.
const FRESH: Duration = Duration::from_millis(50);

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// Connects to the database at an address, and migrates it: `sqlite://path` (the file and its
/// folder are made, for the owner of the process alone), `sqlite::memory:` or `postgres://…` with
/// libpq's parameters, `sslmode` among them. Several processes may do so at once.
///
/// # Errors
/// When the address is none of these, or the database can't be reached or migrated. No error shows
/// the password.
pub async fn connect(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
    open(url, clock, false).await
}

/// The same for a process that serves: a file is its own, as long as the store lives, and nobody
/// else has a turn there.
///
/// # Errors
/// As for [`connect`], and when another process has the file in this way.
pub async fn connect_alone(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
    open(url, clock, true).await
}

async fn open(url: &str, clock: Arc<dyn Clock>, alone: bool) -> Result<Arc<dyn Store>, StoreError> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let database = match scheme {
        "sqlite" => timeout(MIGRATION_DEADLINE, sqlite(url, alone)).await,
        "postgres" | "postgresql" => timeout(MIGRATION_DEADLINE, postgres(url)).await,
        _ => {
            return Err(StoreError::Failed(
                "a database's address begins with sqlite:// or postgres://".to_owned(),
            ));
        }
    };
    let late = |_| {
        StoreError::Away(format!(
            "the database was not ready within {} s",
            MIGRATION_DEADLINE.as_secs()
        ))
    };
    Ok(Arc::new(SqlStore::new(database.map_err(late)??, clock)))
}

async fn sqlite(url: &str, alone: bool) -> Result<Database, StoreError> {
    let options = SqliteConnectOptions::from_str(url)?
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Normal)
        .row_buffer_size(SQLITE_ROWS_AHEAD)
        .log_slow_statements(LevelFilter::Debug, SLOW);
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(QUEUE_TIMEOUT)
            .acquire_slow_level(LevelFilter::Debug)
    };
    let single = pool().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
    // Where the disk is full or fails, SQLite rolls back by itself, and sqlx still takes the
    // transaction for open: no further one would ever begin on that connection.
    let single = single.before_acquire(|connection, _| {
        Box::pin(async move { Ok(!connection.is_in_transaction()) })
    });
    if url.contains(":memory:") || url.contains("mode=memory") {
        let keeper = single.clone().connect_with(options.clone()).await?;
        let writer = single.connect_with(options).await?;
        migrate_sqlite(&writer).await?;
        return Ok(Database::Sqlite {
            readers: writer.clone(),
            writer,
            file: None,
            _keeper: Some(keeper),
        });
    }
    let path = options.get_filename().to_owned();
    let made = tokio::task::spawn_blocking(move || {
        let file = SqliteFile::make(&path)?;
        if alone { file.take() } else { Ok(file) }
    });
    let file = made.await.map_err(|error| StoreError::Failed(error.to_string())).flatten()?;
    let writer = open_wal(&single, &options).await?;
    migrate_sqlite(&writer).await?;
    if alone {
        end_claims(&writer).await?;
    }
    // One always stays: with the last connection the log's index would go, and on a full disk
    // nobody could make another.
    let readers = pool().max_connections(SQLITE_READERS).min_connections(1).max_lifetime(None);
    let readers = readers.connect_lazy_with(options.pragma("query_only", "on"));
    Ok(Database::Sqlite { writer, readers, file: Some(file), _keeper: None })
}

/// Opens the file with a write-ahead log. SQLite does not wait for its turn when it changes to one,
/// so that is tried again.
async fn open_wal(
    pool: &SqlitePoolOptions,
    options: &SqliteConnectOptions,
) -> Result<SqlitePool, StoreError> {
    let began = Instant::now();
    loop {
        match pool.clone().connect_with(options.clone().journal_mode(SqliteJournalMode::Wal)).await
        {
            Err(error) if is_busy(&error) && began.elapsed() < BUSY_TIMEOUT => {
                sleep(Duration::from_millis(10)).await;
            }
            answer => return Ok(answer?),
        }
    }
}

/// Whether another connection is in the way: `SQLITE_BUSY` or `SQLITE_LOCKED`, in the lowest byte
/// of the extended code.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// The part of [`Migrator::run`] that every future can await: what comes before it is not general
/// enough over lifetimes.
async fn run_migrations<C: Migrate>(connection: &mut C) -> Result<(), StoreError> {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    MIGRATIONS.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) if version > newest => StoreError::Failed(format!(
            "the database's schema is newer than this version of chatkit-server: it has migration \
             {version}, and this version knows them up to {newest}. Run the newer version, or \
             restore a backup from before it"
        )),
        error => sqlx::Error::from(error).into(),
    })
}

/// All in one transaction that keeps others out: sqlx itself takes no lock here.
async fn migrate_sqlite(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut tx = writer.begin_with("begin immediate").await?;
    run_migrations(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// The file is this process's alone, so whoever had a turn is gone. Nobody should wait for a dead
/// process.
async fn end_claims(writer: &SqlitePool) -> Result<(), StoreError> {
    let sql = "update threads set turn_until = {now} where turn_holder is not null and turn_until \
               > {now}";
    sqlx::query(AssertSqlSafe(sql.replace("{now}", SQLITE_NOW))).execute(writer).await?;
    Ok(())
}

async fn postgres(url: &str) -> Result<Database, StoreError> {
    // What is wrong with an address is not said: a part of it may be the password, where it was not
    // meant to be.
    let unread = |_| {
        StoreError::Failed(
            "the database's address can't be read: look at its port and parameters".to_owned(),
        )
    };
    let options = PgConnectOptions::from_str(url).map_err(unread)?;
    // A connection of its own, for migrations may take longer than statements. They go one by one,
    // by an advisory lock.
    let late = |_| StoreError::Away("PostgreSQL did not answer".to_owned());
    let options = options.log_slow_statements(LevelFilter::Debug, SLOW);
    let connecting = options.clone().options([QUIET]);
    let mut connection = timeout(ACQUIRE_TIMEOUT, connecting.connect()).await.map_err(late)??;
    run_migrations(&mut connection).await?;
    connection.close().await?;
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .acquire_slow_level(LevelFilter::Debug)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options.options(POSTGRES_SETTINGS));
    Ok(Database::Postgres(pool))
}
