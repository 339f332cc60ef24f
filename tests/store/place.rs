//! Where does a test keep its threads? In a database of its own.

use std::path::PathBuf;
use std::sync::Arc;

use chatkit_server::clock::TestClock;
use chatkit_server::ids::new_id;
use chatkit_server::store::{Store, connect};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::postgres::PostgresServer;

/// A database of one test.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its address.
    pub(crate) url: String,
    /// What the stores go by: it stands at a million seconds.
    pub(crate) clock: Arc<TestClock>,
    /// The folder of a file.
    pub(crate) folder: Option<PathBuf>,
}

impl Place {
    /// A file that is not there yet, in a folder that is not there yet.
    pub(crate) fn sqlite() -> Self {
        let folder = std::env::temp_dir().join(&*new_id("chatkit-store-"));
        let mut place = Self::at(format!("sqlite://{}/new/chat.db", folder.display()));
        place.folder = Some(folder);
        place
    }

    /// An empty database of the shared server.
    pub(crate) async fn postgres() -> Self {
        // Starting the server takes its time.
        let server = tokio::task::spawn_blocking(PostgresServer::shared).await.unwrap();
        Self::at(server.new_database().await)
    }

    /// The database at an address.
    pub(crate) fn at(url: String) -> Self {
        Self { url, clock: Arc::new(TestClock::at(1_000_000)), folder: None }
    }

    /// Lets so many seconds pass for every claim.
    pub(crate) async fn pass(&self, seconds: i64) {
        let sql =
            "update threads set turn_until = turn_until - $1, create_until = create_until - $1";
        let micros = seconds * 1_000_000;
        if self.url.starts_with("sqlite") {
            let mut file = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).bind(micros).execute(&mut file).await.unwrap();
        } else {
            let mut server = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).bind(micros).execute(&mut server).await.unwrap();
        }
    }

    /// Opens a further instance, as another replica would.
    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        connect(&self.url, self.clock.clone()).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            drop(std::fs::remove_dir_all(folder));
        }
    }
}
