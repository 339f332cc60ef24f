//! A disk that is full, or that fails: what was acknowledged stays, reading goes on, and writing
//! goes on as soon as it can.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Stream, add, create, thread_of};
use super::setting::{Model, goes_on, until, until_within, user, with_model};
use crate::process::TempFolder;
use crate::support::server::{SELF_HOSTED, TestServer, over};

/// How soon all is well again.
const SOON: Duration = Duration::from_secs(1);

/// A message that needs room.
const LARGE: usize = 200_000;

/// Where a database has no room.
enum Disk {
    /// A file system of 4 MiB, which another file fills.
    Small(TempFolder),
    /// A limit to the size of files takes its place: a write past it is an I/O error.
    Limited(TempFolder),
}

impl Disk {
    /// Mounts a small file system. `None` where nobody may: not as root, or in a container without
    /// that right.
    fn small() -> Option<Self> {
        let folder = TempFolder::new("small-disk");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "chatkit-test", &folder.path("")]);
        let is_mounted = mount.status().is_ok_and(|status| status.success());
        is_mounted.then_some(Self::Small(folder))
    }

    fn limited() -> Self {
        Self::Limited(TempFolder::new("limited-disk"))
    }

    fn path(&self, name: &str) -> String {
        let (Self::Small(folder) | Self::Limited(folder)) = self;
        folder.path(name)
    }

    fn fill(&self, server: &TestServer) {
        match self {
            Self::Small(folder) => {
                let mut filler = File::create(folder.path("filler")).expect("a file");
                for size in [65_536, 1024, 1] {
                    while filler.write_all(&vec![7; size]).is_ok() {}
                }
            }
            Self::Limited(_) => limit_files(server, "1"),
        }
    }

    fn free(&self, server: &TestServer) {
        match self {
            Self::Small(folder) => {
                std::fs::remove_file(folder.path("filler")).expect("it is there")
            }
            Self::Limited(_) => limit_files(server, "unlimited"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Small(folder) = self {
            let _ = Command::new("umount").args(["--lazy", &folder.path("")]).status();
        }
    }
}

fn limit_files(server: &TestServer, bytes: &str) {
    let mut limit = Command::new("prlimit");
    limit.args([&format!("--pid={}", server.pid()), &format!("--fsize={bytes}:")]);
    assert!(limit.status().expect("prlimit runs").success(), "the limit is set");
}

/// A server with its database on this disk. A file that grows past its limit is an error to it, and
/// not its end.
fn start(model: &Model, disk: &Disk) -> TestServer {
    let (base, url, uploads) =
        (model.base(), format!("sqlite://{}", disk.path("chat.db")), disk.path("up"));
    let more = [("DATABASE_URL", url.as_str()), ("CHATKIT_UPLOADS_DIR", &uploads)];
    let all = over(SELF_HOSTED, &with_model(&base, &more));
    let mut shell = Command::new("sh");
    let ignore = "trap '' XFSZ; exec \"$0\" serve \"$@\"";
    shell.args(["-c", ignore, env!("CARGO_BIN_EXE_chatkit-server")]);
    shell.env_clear().envs(all.iter().copied()).current_dir(std::env::temp_dir());
    TestServer::spawn(shell, &all)
}

/// Sends a message. The events of an answer that is whole.
async fn says(client: &Client, request: &Value) -> Option<Vec<Value>> {
    let response = client.post(request, &[]).await;
    if response.status() != 200 {
        assert_eq!(response.status(), 503, "{}", response.text().await.expect("text"));
        return None;
    }
    let events = Stream::of(response).rest().await;
    (events.last().expect("a stream has a last event")["type"] != "error").then_some(events)
}

async fn readiness(server: &TestServer) -> (u16, Value) {
    let answer = server.get("/readyz").send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn renames(client: &Client, thread: &str, title: &str) -> u16 {
    client.ask("threads.update", json!({"thread_id": thread, "title": title})).await.0
}

/// Everything that a client can read of its threads.
async fn all(client: &Client, threads: &[String]) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    for thread in threads {
        all.push(client.items(thread).await);
    }
    all
}

async fn survives(disk: &Disk) {
    let model = Model::start();
    let mut running = start(&model, disk);
    let ada = user(&running, "ada");
    let thread = thread_of(&ada.events(&create("hello")).await);
    assert_eq!(readiness(&running).await.0, 200);

    disk.fill(&running);
    let large = "x".repeat(LARGE);
    let mut made = vec![thread.clone()];
    // What is written has room for a while in the log that is there.
    for _ in 0..20 {
        made.extend(says(&ada, &create(&large)).await.map(|events| thread_of(&events)));
    }
    assert!(made.len() < 20, "there was no room for all of them");
    for _ in 0..3 {
        assert_eq!(says(&ada, &add(&thread, &large)).await, None, "there is no room");
    }
    assert_eq!(ada.ask("threads.list", json!({})).await.0, 200, "reading goes on");
    until("readiness tells", async || readiness(&running).await.0 == 503).await;
    let (_, told) = readiness(&running).await;
    assert_eq!(told["error"]["code"], "not_ready");
    assert!(told["message"].as_str().expect("words").contains("written"), "{told}");

    disk.free(&running);
    until_within(SOON, "a rename", async || renames(&ada, &thread, "room again").await == 200)
        .await;
    until_within(SOON, "a message", async || says(&ada, &add(&thread, &large)).await.is_some())
        .await;
    let events = says(&ada, &create("another")).await.expect("a thread is made");
    made.push(thread_of(&events));
    until_within(SOON * 2, "readiness", async || readiness(&running).await.0 == 200).await;
    for thread in &made {
        goes_on(&ada, thread).await;
    }

    let before = all(&ada, &made).await;
    assert!(before.iter().all(|items| items.len() >= 4), "{before:#?}");
    running.signal("KILL");
    running.ended();
    let restarted = start(&model, disk);
    assert_eq!(all(&user(&restarted, "ada"), &made).await, before, "nothing is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_nothing_that_was_acknowledged_and_no_restart() {
    // Where no file system can be mounted, the other kind of failure is all that can be tried.
    survives(&Disk::small().unwrap_or_else(Disk::limited)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_costs_nothing_that_was_acknowledged_and_no_restart() {
    survives(&Disk::limited()).await;
}
