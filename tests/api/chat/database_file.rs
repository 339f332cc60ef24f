//! The database's file: one server has it at a time, others may read and copy it, and it is missed
//! when it is gone. And what a start says of a database, or does not say.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::client::{create, types};
use super::setting::{
    Model, answer_of, goes_on, postgres, read_deltas, server, sqlite, until, user, with_model,
};
use crate::process::TempFolder;
use crate::support::server::{SELF_HOSTED, TestServer, over};

/// Runs a command of the binary to its end, which comes within 20 seconds.
async fn run(name: &'static str, vars: &[(&str, &str)]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_chatkit-server"), name]);
    command.env_clear().envs(over(SELF_HOSTED, vars)).envs([("PORT", "0"), ("HOST", "127.0.0.1")]);
    command.stdin(Stdio::null()).current_dir(std::env::temp_dir());
    tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

/// A start that comes to nothing: what it says.
async fn is_refused(vars: &[(&str, &str)]) -> String {
    let output = run("serve", vars).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    text(&output.stderr).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_one_file_refuses_to_start_and_the_first_goes_on() {
    let (model, folder) = (Model::start(), TempFolder::new("one-server"));
    let (base, url) = (model.base(), sqlite(&folder));
    let vars = with_model(&base, &[("DATABASE_URL", &url)]);
    let mut first = server(&base, &vars);
    let ada = user(&first, "ada");
    let mut stream = ada.stream(&create("delay 20 deltas 200")).await;
    let mut events = read_deltas(&mut stream, 10).await;

    let said = is_refused(&vars).await;
    assert!(
        said.contains("another server has the database's file") && said.contains("PostgreSQL"),
        "{said}"
    );
    let checked = run("check", &vars).await;
    let lines = text(&checked.stdout);
    assert!(lines.contains("ok      database: SQLite answers"), "{lines}");
    let backup = folder.path("backup.db");
    let copied = Command::new("sqlite3")
        .arg(folder.path("chat.db"))
        .arg(format!(".backup '{backup}'"))
        .status();
    assert!(copied.expect("sqlite3 runs").success());

    events.extend(stream.rest().await);
    assert_eq!(answer_of(&events).split_whitespace().count(), 200, "nobody took the answer over");
    let mut copy =
        SqliteConnection::connect(&format!("sqlite://{backup}")).await.expect("the copy opens");
    let whole: String =
        sqlx::query_scalar("pragma integrity_check").fetch_one(&mut copy).await.expect("a row");
    let threads: i64 = sqlx::query_scalar("select count(*) from threads")
        .fetch_one(&mut copy)
        .await
        .expect("a row");
    assert_eq!((whole.as_str(), threads), ("ok", 1));

    first.signal("KILL");
    first.ended();
    goes_on(&user(&server(&base, &vars), "ada"), &super::client::thread_of(&events)).await;
}

async fn readiness(server: &TestServer) -> (u16, String) {
    let answer = server.get("/readyz").send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, body["message"].as_str().unwrap_or_default().to_owned())
}

/// How often the log complains of the file.
fn complaints(server: &TestServer) -> usize {
    let logs = server.logs();
    let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_one = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["level"] == "ERROR"
            && message.starts_with("the database's file was removed or replaced")
    };
    lines.filter(is_one).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_removed_or_replaced_is_missed() {
    let (model, folder) = (Model::start(), TempFolder::new("removed"));
    let url = sqlite(&folder);
    let running = server(&model.base(), &[("DATABASE_URL", &url)]);
    let ada = user(&running, "ada");
    ada.events(&create("hello")).await;
    let (file, away) = (folder.path("chat.db"), folder.path("away.db"));
    let is_ready = async |status: u16| {
        until("readiness follows", async || readiness(&running).await.0 == status).await;
    };

    std::fs::rename(&file, &away).expect("it is there");
    is_ready(503).await;
    assert!(readiness(&running).await.1.contains("its file is gone"));
    let lost = ada.events(&create("lost")).await;
    assert_eq!(types(&lost), ["error"], "nothing is acknowledged that would be lost");
    assert_eq!(ada.ask("threads.list", json!({})).await.0, 200);
    assert_eq!(complaints(&running), 1, "{}", running.logs());
    std::fs::rename(&away, &file).expect("it is there");
    is_ready(200).await;
    ada.events(&create("hello again")).await;

    std::fs::copy(&file, &away).expect("a copy");
    std::fs::rename(&away, &file).expect("it is there");
    is_ready(503).await;
    assert_eq!(complaints(&running), 2, "once each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_newer_is_explained() {
    let folder = TempFolder::new("newer");
    let sql = "insert into _sqlx_migrations (version, description, success, checksum, \
               execution_time) select 9999, 'later', true, checksum, 0 from _sqlx_migrations where \
               version = 1";
    for url in [sqlite(&folder), postgres().await] {
        let vars = [("DATABASE_URL", url.as_str())];
        let mut newer = TestServer::self_hosted(&vars);
        newer.signal("KILL");
        newer.ended();
        if url.starts_with("sqlite") {
            let mut file = SqliteConnection::connect(&url).await.expect("it opens");
            sqlx::query(sql).execute(&mut file).await.expect("a row");
        } else {
            let mut there = PgConnection::connect(&url).await.expect("it answers");
            sqlx::query(sql).execute(&mut there).await.expect("a row");
        }
        let said = is_refused(&vars).await;
        for words in ["newer than this version", "9999", "Run the newer version", "a backup"] {
            assert!(said.contains(words), "{words} in: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_waits_or_is_there_already_floods_no_log() {
    let (model, folder) = (Model::start(), TempFolder::new("quiet"));
    let (file, there) = (sqlite(&folder), postgres().await);
    for url in [&file, &there] {
        drop(TestServer::self_hosted(&[("DATABASE_URL", url)]));
    }
    let [on_file, on_server] =
        [&file, &there].map(|url| server(&model.base(), &[("DATABASE_URL", url)]));
    let mut writer = SqliteConnection::connect(&file).await.expect("it opens");
    let lock = writer.begin_with("begin immediate").await.expect("a lock");
    let waits = async {
        let ada = user(&on_file, "ada");
        let requests = (0..5).map(|number| create(&format!("hello {number}"))).collect::<Vec<_>>();
        let answers = requests.iter().map(|request| ada.events(request));
        for events in futures_util::future::join_all(answers).await {
            answer_of(&events);
        }
    };
    // As long as it takes for a wait to count as slow.
    let holds = async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        lock.rollback().await.expect("it ends");
    };
    tokio::join!(waits, holds);
    user(&on_server, "ada").events(&create("hello")).await;
    for logs in [on_file.logs(), on_server.logs()] {
        for noise in ["slow", "_sqlx_migrations", "skipping"] {
            assert!(!logs.contains(noise), "{noise} in:\n{logs}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_says_is_told_without_the_line_of_its_source() {
    let url = postgres().await;
    let (rest, _) = url.rsplit_once('/').expect("an address");
    let said = is_refused(&[("DATABASE_URL", &format!("{rest}/nodb"))]).await;
    assert!(
        said.contains("database \"nodb\" does not exist") && !said.contains("at line"),
        "{said}"
    );
}
