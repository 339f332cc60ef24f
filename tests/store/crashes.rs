//! Crashes: a process that is killed while it writes loses nothing that it was told is stored.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use chatkit_server::clock::SystemClock;
use chatkit_server::protocol::Id;
use chatkit_server::store::connect;

use crate::made::{everything, ids, owner, said, stored};
use crate::place::Place;

/// Where the child writes to, and which thread.
const CHILD: &str = "CHATKIT_STORE_TEST_CHILD";

#[tokio::test]
async fn a_kill_loses_nothing_that_sqlite_acknowledged() {
    if !is_child().await {
        nothing_is_lost("a_kill_loses_nothing_that_sqlite_acknowledged", &Place::sqlite()).await;
    }
}

#[tokio::test]
async fn a_kill_loses_nothing_that_postgres_acknowledged() {
    if !is_child().await {
        nothing_is_lost(
            "a_kill_loses_nothing_that_postgres_acknowledged",
            &Place::postgres().await,
        )
        .await;
    }
}

/// Runs this very test as a child that writes, kills it, and looks at what it leaves.
async fn nothing_is_lost(test: &str, place: &Place) {
    let ada = owner("ada");
    for round in 1..=3_usize {
        let thread = stored(&*place.open().await, &ada, 1).await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&format!("crashes::{test}"), "--exact", "--nocapture"])
            .env(CHILD, format!("{} {}", thread.id, place.url))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told: Vec<Id> = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            told.extend(line.strip_prefix("saved ").map(Into::into));
            if told.len() == 40 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(told.len() >= 40 * round, "the child wrote until it was killed");
        let store = place.open().await;
        let found = ids(&everything(&*store, &ada, &thread.id).await);
        let lost: Vec<&Id> = told.iter().filter(|id| !found.contains(id)).collect();
        assert!(lost.is_empty(), "{lost:?} of {}", told.len());
        assert!(store.save_item(&ada, &said(&thread.id, "and on it goes")).await.unwrap());
    }
}

/// Whether this is the child. Then four tasks save items and say so, until it is killed.
async fn is_child() -> bool {
    let Some(target) = std::env::var_os(CHILD) else { return false };
    let (thread_id, url) = target.to_str().unwrap().split_once(' ').unwrap();
    let store = connect(url, Arc::new(SystemClock)).await.unwrap();
    let write = async || {
        loop {
            let item = said(&thread_id.into(), &"long ".repeat(1000));
            assert!(store.save_item(&owner("ada"), &item).await.unwrap());
            // Past the capture of the test's output, in one write.
            std::io::stdout()
                .lock()
                .write_all(format!("\nsaved {}\n", item.id).as_bytes())
                .unwrap();
        }
    };
    tokio::join!(write(), write(), write(), write());
    true
}
