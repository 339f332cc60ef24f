//! A rolling restart behind the proxies of README, word for word but for addresses and TLS: two
//! replicas are restarted one after the other under load, and nothing is lost.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::client::{Client, create};
use super::setting::{Model, postgres, server, until};
use crate::process::{TempFolder, free_port};
use crate::support::redis::RedisServer;
use crate::support::server::{PATIENCE, TestServer};
use crate::support::tokens;

/// Users who make threads, each one after another, and users who list theirs.
const TALKERS: usize = 6;
const READERS: usize = 3;

/// A proxy in front of two replicas. It is stopped when it is dropped.
struct Proxy {
    child: Child,
    port: u16,
    _folder: TempFolder,
}

impl Proxy {
    /// nginx with the block of README.
    fn nginx(replicas: [u16; 2]) -> Self {
        let (port, folder) = (free_port(), TempFolder::new("nginx"));
        let block = readme_block("nginx", replicas);
        let block = block.replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port};"));
        let block: Vec<&str> =
            block.lines().filter(|line| !line.trim().starts_with("ssl_")).collect();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", folder.path(kind)))
            .concat();
        let config = format!(
            "user root;\ndaemon off;\npid {};\nevents {{}}\nhttp {{\naccess_log \
             off;\n{temporary}{}\n}}\n",
            folder.path("pid"),
            block.join("\n")
        );
        let config = folder.write("nginx.conf", &config);
        let mut command = Command::new("/usr/sbin/nginx");
        command.args(["-e", "stderr", "-c", &config]);
        Self::start(command, port, folder)
    }

    /// Caddy with the block of README.
    fn caddy(replicas: [u16; 2]) -> Self {
        let (port, folder) = (free_port(), TempFolder::new("caddy"));
        let block = readme_block("caddyfile", replicas);
        let block = block.replace("chat.example.com {", &format!("http://127.0.0.1:{port} {{"));
        let config = folder.write("Caddyfile", &format!("{{\n  admin off\n}}\n{block}"));
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config", &config]);
        for variable in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "HOME"] {
            command.env(variable, folder.path("home"));
        }
        Self::start(command, port, folder)
    }

    fn start(mut command: Command, port: u16, folder: TempFolder) -> Self {
        let log = fs::File::create(folder.path("log")).expect("a log");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Self { child: child.expect("tests/run.sh installs nginx and caddy"), port, _folder: folder }
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn user(&self, name: &str) -> Client {
        Client::new(&self.base(), name)
    }

    async fn is_up(&self) {
        until("the proxy answers", async || {
            let answer = reqwest::get(format!("{}/healthz", self.base())).await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its workers end with it, which they don't when it is killed.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// The first block of this kind that README has, with these ports in place of its own.
fn readme_block(kind: &str, replicas: [u16; 2]) -> String {
    let readme = include_str!("../../../README.md");
    let (_, block) = readme.split_once(&format!("```{kind}\n")).expect("README has the block");
    let (block, _) = block.split_once("```").expect("the block ends");
    for (own, port) in ["127.0.0.1:8080", "127.0.0.1:8081"].iter().zip(replicas) {
        assert_eq!(block.matches(own).count(), 1, "README names two replicas");
        assert_ne!(port, 0);
    }
    let [one, other] = replicas.map(|port| format!("127.0.0.1:{port}"));
    block.replace("127.0.0.1:8080", &one).replace("127.0.0.1:8081", &other)
}

/// What came of the load.
#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    /// The statuses of refusals.
    refused: Vec<u16>,
    /// Streams that ended with an invitation to try again.
    interrupted: usize,
    /// Threads that were made, over all users.
    answered: usize,
    threads: usize,
}

impl Tally {
    fn plus(mut self, other: Self) -> Self {
        self.refused.extend(other.refused);
        self.asked += other.asked;
        self.interrupted += other.interrupted;
        self.answered += other.answered;
        self.threads += other.threads;
        self
    }
}

/// Asks for what can't be refused for long: who is refused asks again after a moment.
async fn insist(client: &Client, body: &Value, tally: &mut Tally) -> reqwest::Response {
    loop {
        let response = client.post(body, &[]).await;
        tally.asked += 1;
        if response.status() == 200 {
            return response;
        }
        assert!(tally.refused.len() < 1000, "it is refused without end: {tally:?}");
        tally.refused.push(response.status().as_u16());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes one thread after another. What is interrupted is asked again with the same body.
async fn talk(client: Client, cues: &str, end: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while !end.load(Ordering::Relaxed) {
        let body = create(&format!("{cues} number {}", tally.answered));
        loop {
            let events = insist(&client, &body, &mut tally).await.text().await.unwrap_or_default();
            let is_whole = events.contains("\"type\":\"assistant_message\"")
                && !events.contains("\"type\":\"error\"");
            if is_whole {
                break;
            }
            assert!(events.is_empty() || events.contains("\"allow_retry\":true"), "{events}");
            tally.interrupted += 1;
        }
        tally.answered += 1;
    }
    tally.threads = threads(&client, &mut tally).await;
    tally
}

async fn threads(client: &Client, tally: &mut Tally) -> usize {
    let list = json!({"type": "threads.list", "params": {"limit": 100}});
    let page: Value = insist(client, &list, tally).await.json().await.expect("a page");
    page["data"].as_array().expect("a page has data").len()
}

/// Starts sessions, refreshes them, and uploads a file by each, for one user after another.
async fn prepare(proxy: &Proxy, end: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    while !end.load(Ordering::Relaxed) {
        let jwt = tokens::hs256(&format!("newcomer-{}", tally.answered));
        let post = |path: &str, token: &str| {
            http.post(format!("{}{path}", proxy.base())).bearer_auth(token)
        };
        let started = answered(|| post("/api/chatkit/session", &jwt), &mut tally).await;
        let body = json!({"currentClientSecret": started["client_secret"]});
        let refreshed =
            answered(|| post("/api/chatkit/refresh", &jwt).json(&body), &mut tally).await;
        let secret = refreshed["client_secret"].as_str().expect("a client secret").to_owned();
        let upload = || {
            let file = Part::bytes(vec![b'x'; 256 * 1024]).file_name("a.txt");
            let file = file.mime_str("text/plain").expect("a type");
            post("/api/chatkit/upload", &secret).multipart(Form::new().part("file", file))
        };
        let uploaded = answered(upload, &mut tally).await;
        assert!(uploaded["id"].as_str().is_some_and(|id| id.starts_with("atc_")), "{uploaded}");
        tally.answered += 1;
    }
    tally
}

/// Sends a request until it is not refused for the moment.
async fn answered(request: impl Fn() -> reqwest::RequestBuilder, tally: &mut Tally) -> Value {
    loop {
        let response = request().send().await.expect("the proxy answers");
        tally.asked += 1;
        let status = response.status().as_u16();
        if status == 200 {
            return response.json().await.expect("JSON");
        }
        assert!(tally.refused.len() < 1000, "it is refused without end: {tally:?}");
        tally.refused.push(status);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn list(client: Client, end: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while !end.load(Ordering::Relaxed) {
        threads(&client, &mut tally).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tally
}

/// Restarts two replicas one after the other behind a proxy under load. Returns what came of
/// streams, and of everything else.
async fn roll(proxied: impl Fn([u16; 2]) -> Proxy) -> (Tally, Tally) {
    let (model, url) = (Model::start(), postgres().await);
    let (redis, folder) = (RedisServer::start(), TempFolder::new("rolling"));
    let uploads = folder.path("uploads");
    let (redis_url, base) = (redis.url(), model.base());
    let ports = [free_port(), free_port()];
    let start = move |port: u16| {
        let port = port.to_string();
        let vars = [
            ("DATABASE_URL", url.as_str()),
            ("REDIS_URL", redis_url.as_str()),
            ("PORT", port.as_str()),
            ("TRUSTED_PROXIES", "127.0.0.1/32"),
            ("CHATKIT_FILE_UPLOAD", "on"),
            ("CHATKIT_UPLOADS_DIR", uploads.as_str()),
            ("SHUTDOWN_GRACE_SECONDS", "5"),
        ];
        server(&base, &vars)
    };
    let mut replicas: Vec<TestServer> = ports.iter().map(|port| start(*port)).collect();
    let proxy = proxied(ports);
    proxy.is_up().await;
    let end = AtomicBool::new(false);
    let talkers = (0..TALKERS).map(|number| {
        // Half of the answers outlast the grace.
        let cues = if number % 2 == 0 { "delay 25 deltas 400" } else { "delay 10 deltas 40" };
        talk(proxy.user(&format!("talker-{number}")), cues, &end)
    });
    let readers = (0..READERS).map(|number| list(proxy.user(&format!("reader-{number}")), &end));
    let restarts = async {
        let restarted = tokio::task::spawn_blocking(move || {
            for (replica, port) in replicas.iter_mut().zip(ports) {
                std::thread::sleep(Duration::from_secs(1));
                replica.signal("TERM");
                assert_eq!(replica.ended().code(), Some(0));
                *replica = start(port);
            }
            std::thread::sleep(Duration::from_secs(1));
            replicas
        });
        let replicas = restarted.await.expect("both are restarted");
        end.store(true, Ordering::Relaxed);
        replicas
    };
    let load = async {
        tokio::join!(restarts, join_all(talkers), join_all(readers), prepare(&proxy, &end))
    };
    let (replicas, talked, listed, prepared) =
        tokio::time::timeout(PATIENCE * 4, load).await.expect("the load comes to its end");
    drop((replicas, redis));
    let sum = |tallies: Vec<Tally>| tallies.into_iter().fold(Tally::default(), Tally::plus);
    (sum(talked), sum(listed).plus(prepared))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_behind_nginx_loses_nothing() {
    let (streams, others) = roll(Proxy::nginx).await;
    assert!(
        streams.interrupted > 0 && others.asked > 100,
        "there was a load: {streams:?}, {others:?}"
    );
    assert_eq!(others.refused, [0; 0], "no list, session or upload is lost");
    assert_eq!(streams.refused, [0; 0], "no stream is refused");
    assert_eq!(streams.threads, streams.answered, "no thread is made twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_behind_caddy_refuses_for_a_moment_and_loses_nothing_that_asks_again() {
    let (streams, others) = roll(Proxy::caddy).await;
    assert!(
        streams.interrupted > 0 && others.asked > 100,
        "there was a load: {streams:?}, {others:?}"
    );
    let refused = [&others.refused[..], &streams.refused[..]].concat();
    assert!(
        refused.iter().all(|status| *status == 503),
        "only a replica that stops refuses: {refused:?}"
    );
    assert!(
        refused.len() < (others.asked + streams.asked) / 4,
        "for a moment: {} times",
        refused.len()
    );
    assert_eq!(streams.threads, streams.answered, "no thread is made twice");
}
