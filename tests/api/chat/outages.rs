//! A database that is away for eight seconds costs no running answer, and nothing that people saw.

use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

use super::client::{Stream, create, text, thread_of, types};
use super::setting::{Model, answer_of, goes_on, read_deltas, said, server, sqlite, user};
use crate::postgres::PostgresServer;
use crate::process::TempFolder;
use crate::support::server::TestServer;

const OUTAGE: Duration = Duration::from_secs(8);
/// Answers that end while the database is away, and after it is back; and how many words they have.
const ANSWERS: [(&str, usize); 3] =
    [("delay 30 deltas 120", 120), ("delay 40 deltas 400", 400), ("delay 50 deltas 400", 400)];

/// Streams that have begun, with what they have said.
async fn begun(server: &TestServer) -> Vec<(Stream, Vec<Value>)> {
    let mut streams = Vec::new();
    for (number, (cues, _)) in ANSWERS.iter().enumerate() {
        let mut stream = user(server, &format!("ada-{number}")).stream(&create(cues)).await;
        let events = read_deltas(&mut stream, 5).await;
        streams.push((stream, events));
    }
    streams
}

/// Each answer comes to its end, and is stored as it was said.
async fn all_are_whole(server: &TestServer, streams: Vec<(Stream, Vec<Value>)>) {
    for (number, ((stream, mut events), (_, words))) in streams.into_iter().zip(ANSWERS).enumerate()
    {
        events.extend(stream.rest().await);
        assert_eq!(answer_of(&events).split_whitespace().count(), words, "{:#?}", events.last());
        let (client, thread) = (user(server, &format!("ada-{number}")), thread_of(&events));
        let items = client.items(&thread).await;
        assert_eq!(types(&items), ["user_message", "assistant_message"]);
        assert_eq!((text(&items[1]), said(&events)), (&*answer_of(&events), answer_of(&events)));
        goes_on(&client, &thread).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_away_for_eight_seconds_costs_no_running_answer() {
    let model = Model::start();
    let mut postgres = tokio::task::spawn_blocking(PostgresServer::start).await.expect("it starts");
    let url = postgres.new_database().await;
    let server = server(&model.base(), &[("DATABASE_URL", url.as_str())]);
    let streams = begun(&server).await;
    let away = tokio::task::spawn_blocking(move || {
        postgres.stop();
        std::thread::sleep(OUTAGE);
        postgres.launch();
        postgres
    });
    all_are_whole(&server, streams).await;
    drop(away.await.expect("it is back"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_process_locks_for_eight_seconds_costs_no_running_answer() {
    let (model, folder) = (Model::start(), TempFolder::new("locked"));
    let url = sqlite(&folder);
    let server = server(&model.base(), &[("DATABASE_URL", url.as_str())]);
    let streams = begun(&server).await;
    let locked = async {
        let mut other = SqliteConnection::connect(&url).await.expect("the file can be opened");
        sqlx::query("begin immediate").execute(&mut other).await.expect("it is locked");
        tokio::time::sleep(OUTAGE).await;
        sqlx::query("rollback").execute(&mut other).await.expect("it is free");
    };
    tokio::join!(locked, all_are_whole(&server, streams));
}
