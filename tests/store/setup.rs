//! The start: addresses, files, and several instances at once.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use chatkit_server::clock::{SystemClock, TestClock};
use chatkit_server::protocol::Order;
use chatkit_server::store::connect;

use crate::made::{owner, page, said, stored};
use crate::place::Place;
use crate::postgres::{PASSWORD, PostgresServer};

pub(crate) async fn eight_instances_may_start_at_once(place: &Place) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (url, clock) = (place.url.clone(), Arc::<TestClock>::clone(&place.clock));
        tasks.spawn(async move { connect(&url, clock).await.unwrap() });
    }
    let stores = tasks.join_all().await;
    for (number, store) in stores.iter().enumerate() {
        store.ping().await.unwrap();
        stored(&**store, &owner("ada"), number as u64).await;
    }
    for store in stores {
        let all = store.threads(&owner("ada"), &page(20, Order::Asc, None)).await.unwrap().unwrap();
        assert_eq!(all.data.len(), 8, "all of them have the same threads");
    }
}

#[tokio::test]
async fn the_file_and_its_folder_are_for_their_owner_alone() {
    let place = Place::sqlite();
    let folder = place.folder.clone().unwrap();
    let store = place.open().await;
    stored(&*store, &owner("ada"), 1).await;
    let mode =
        |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("new")), (0o700, 0o700));
    for name in ["new/chat.db", "new/chat.db-wal", "new/chat.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_database_in_memory_lives_as_long_as_its_store() {
    let (one, other) =
        (Place::at("sqlite::memory:".to_owned()), Place::at("sqlite://:memory:".to_owned()));
    let (store, another) = (one.open().await, other.open().await);
    let thread = stored(&*store, &owner("ada"), 1).await;
    assert_eq!(another.thread(&owner("ada"), &thread.id).await.unwrap(), None);
    assert_eq!(store.thread(&owner("ada"), &thread.id).await.unwrap(), Some(thread));
    assert!(!std::path::Path::new(":memory:").exists(), "no file has that name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_memory_outlives_calls_that_are_given_up() {
    let store = connect("sqlite::memory:", Arc::new(SystemClock)).await.unwrap();
    let ada = owner("ada");
    let first = stored(&*store, &ada, 1).await;
    for micros in (0..500).cycle().take(2000) {
        let item = said(&first.id, "given up");
        // Timers are too coarse for this.
        let began = std::time::Instant::now();
        let given_up = async {
            while began.elapsed() < std::time::Duration::from_micros(micros) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = store.save_item(&ada, &item) => {}
            () = given_up => {}
        }
    }
    assert_eq!(store.thread(&ada, &first.id).await.unwrap(), Some(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_shows_the_password() {
    let server = tokio::task::spawn_blocking(PostgresServer::shared).await.unwrap();
    let url = format!("{}?application_name=test", server.url("postgres"));
    let good = async |url: &str| connect(url, Arc::new(SystemClock)).await.map(drop);
    for (old, new) in [
        ("/postgres?", "/none?"),
        ("correct", "wrong"),
        ("postgres:correct", "nobody:correct"),
        ("/postgres?", "/postgres?sslmode=nonsense&"),
        ("/postgres?", "/postgres?sslmode=require&"),
        ("postgres:correct", "?sslmode=correct"),
        ("127.0.0.1:", "127.0.0.1:x"),
        ("127.0.0.1", "nowhere.invalid"),
        ("postgres://", "postgresq://"),
        ("postgres://", ""),
    ] {
        let error = good(&url.replacen(old, new, 1)).await.expect_err(new).to_string();
        let (_, secret) = PASSWORD.split_once('-').unwrap();
        assert!(!error.contains(secret), "{error}");
    }
    let refused = good("mysql://root@localhost/chat").await.expect_err("it is neither").to_string();
    assert_eq!(
        refused,
        "the store failed: a database's address begins with sqlite:// or postgres://"
    );
}
