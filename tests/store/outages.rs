//! Outages: a database that is away, or that waits for somebody else, is an error in time; and then
//! it is forgotten.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chatkit_server::store::StoreError;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};

use crate::made::{owner, said, stored};
use crate::place::Place;
use crate::postgres::PostgresServer;

/// What a call may take, and some time for a busy machine.
const IN_TIME: Duration = Duration::from_secs(13);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_comes_back_is_used_again() {
    let mut server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let (place, ada) = (Place::at(server.new_database().await), owner("ada"));
    let store = place.open().await;
    let thread = stored(&*store, &ada, 1).await;
    // Several connections rest when the server goes.
    let save = async |text| store.save_item(&ada, &said(&thread.id, text)).await;
    let (a, b, c) = tokio::join!(save("a"), save("b"), store.ping());
    assert!(a.unwrap() && b.unwrap());
    c.unwrap();

    tokio::task::block_in_place(|| server.stop());
    let began = Instant::now();
    let (ping, read, write) =
        tokio::join!(store.ping(), store.thread(&ada, &thread.id), save("lost"));
    let is_away = |failed: Option<StoreError>| matches!(failed, Some(StoreError::Away(_)));
    assert!(is_away(ping.err()) && is_away(read.err()) && is_away(write.err()));
    assert!(began.elapsed() < IN_TIME, "that took {:?}", began.elapsed());

    tokio::task::block_in_place(|| server.launch());
    assert_eq!(store.thread(&ada, &thread.id).await.unwrap().as_ref(), Some(&thread), "it is back");
    for _ in 0..5 {
        assert!(save("again").await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_waits_too_long_is_an_error() {
    let (sqlite, postgres, ada) = (Place::sqlite(), Place::postgres().await, owner("ada"));
    let (file, server) = (sqlite.open().await, postgres.open().await);
    let (one, other) = (stored(&*file, &ada, 1).await, stored(&*server, &ada, 1).await);
    let mut writer = SqliteConnection::connect(&sqlite.url).await.unwrap();
    let mut locker = PgConnection::connect(&postgres.url).await.unwrap();
    let blocking = writer.begin_with("begin immediate").await.unwrap();
    let mut locking = locker.begin().await.unwrap();
    sqlx::query("lock table threads").execute(&mut *locking).await.unwrap();

    let began = Instant::now();
    let (late, later) = (said(&one.id, "late"), said(&other.id, "later"));
    let (a, b) = tokio::join!(file.save_item(&ada, &late), server.save_item(&ada, &later));
    for failed in [a, b] {
        assert!(
            matches!(failed, Err(StoreError::Away(_))),
            "somebody else is in the way: {failed:?}"
        );
    }
    assert!(began.elapsed() < IN_TIME, "that took {:?}", began.elapsed());
    assert!(file.thread(&ada, &one.id).await.unwrap().is_some(), "readers of a file don't wait");

    blocking.rollback().await.unwrap();
    locking.rollback().await.unwrap();
    assert!(file.save_item(&ada, &late).await.unwrap(), "it is free again");
    assert!(server.save_item(&ada, &later).await.unwrap(), "it is free again");
}

/// Ends the connections of others to this database, so that new ones take its place, and its
/// settings.
async fn reconnect(url: &str, set: &str) {
    let mut admin = PgConnection::connect(url).await.unwrap();
    let name = url.rsplit('/').next().unwrap();
    // The setting itself must be changed in a transaction that may write.
    sqlx::query("set default_transaction_read_only = off").execute(&mut admin).await.unwrap();
    let sql = format!("alter database {name} set default_transaction_read_only = {set}");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
               where datname = current_database() and pid <> pg_backend_pid()";
    sqlx::query(sql).execute(&mut admin).await.unwrap();
}

/// Waits until what was written before says nothing any more.
async fn until_it_is_tried_again() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_no_writes_is_not_ready() {
    let (sqlite, postgres, ada) = (Place::sqlite(), Place::postgres().await, owner("ada"));
    let (file, server) = (sqlite.open().await, postgres.open().await);
    let there = stored(&*server, &ada, 1).await;
    file.ping().await.unwrap();
    server.ping().await.unwrap();

    let mut other = SqliteConnection::connect(&sqlite.url).await.unwrap();
    let blocking = other.begin_with("begin immediate").await.unwrap();
    reconnect(&postgres.url, "on").await;
    until_it_is_tried_again().await;
    let began = Instant::now();
    let (locked, only_read) = tokio::join!(file.ping(), server.ping());
    assert!(began.elapsed() < Duration::from_secs(4), "that took {:?}", began.elapsed());
    assert!(locked.is_err() && only_read.is_err(), "{locked:?} {only_read:?}");
    assert!(server.thread(&ada, &there.id).await.unwrap().is_some(), "it can be read");

    blocking.rollback().await.unwrap();
    reconnect(&postgres.url, "off").await;
    until_it_is_tried_again().await;
    file.ping().await.unwrap();
    server.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_be_asked_often_costs_one_write_a_second() {
    let place = Place::sqlite();
    let store = place.open().await;
    store.ping().await.unwrap();
    let mut other = SqliteConnection::connect(&place.url).await.unwrap();
    let began = Instant::now();
    let mut seen = HashSet::new();
    for _ in 0..100 {
        let pings = (0..10).map(|_| store.ping());
        futures_util::future::try_join_all(pings).await.unwrap();
        let at: i64 = sqlx::query("select at from pulse")
            .fetch_one(&mut other)
            .await
            .unwrap()
            .try_get(0)
            .unwrap();
        seen.insert(at);
    }
    assert!(
        seen.len() as u64 <= 1 + began.elapsed().as_secs(),
        "{seen:?} in {:?}",
        began.elapsed()
    );
}
