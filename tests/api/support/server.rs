//! The real binary, started on a free port with exactly the variables a test gives, and stopped
//! when the test ends.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::Value;

/// How long a test waits for something that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The key with which test servers check HS256 tokens.
pub(crate) const JWT_SECRET: &str =
    "a-test-secret-that-is-long-enough-for-hs512-as-well-as-it-has-64b";

/// A key as OpenAI's look; tests look for it where it must not be.
pub(crate) const API_KEY: &str = "sk-canary-key-3f9c2a";

/// What a hosted server needs, besides an upstream.
pub(crate) const HOSTED: &[(&str, &str)] = &[
    ("OPENAI_API_KEY", API_KEY),
    ("CHATKIT_WORKFLOW_ID", "wf_default"),
    ("JWT_SECRET", JWT_SECRET),
];

/// The key that signs client secrets.
pub(crate) const SIGNING_KEY: &str = "a-key-of-ours-that-signs-client-secrets-and-nothing-else";

/// What a self-hosted server needs. Its model is nowhere.
pub(crate) const SELF_HOSTED: &[(&str, &str)] = &[
    ("CHATKIT_MODE", "self-hosted"),
    ("OPENAI_API_KEY", API_KEY),
    ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
    ("CHATKIT_MODEL", "gpt-5.1"),
    ("CHATKIT_SIGNING_KEY", SIGNING_KEY),
    ("DATABASE_URL", "sqlite::memory:"),
    ("JWT_SECRET", JWT_SECRET),
];

/// The least variables and further ones, which count where both have one.
pub(crate) fn over<'a>(
    least: &[(&'a str, &'a str)],
    vars: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut all = least.to_vec();
    all.retain(|(name, _)| !vars.iter().any(|(other, _)| other == name));
    all.extend_from_slice(vars);
    all
}

/// A command of the binary with no variables but these, in an empty folder.
pub(crate) fn command(args: &[&str], vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatkit-server"));
    command.args(args).env_clear().envs(vars.iter().copied()).current_dir(std::env::temp_dir());
    command
}

/// Sends a request while the test goes on.
#[expect(clippy::disallowed_methods, reason = "the test itself waits for the answer")]
pub(crate) fn send_meanwhile(
    request: RequestBuilder,
) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
    tokio::spawn(request.send())
}

/// A running server.
pub(crate) struct TestServer {
    child: Child,
    addr: SocketAddr,
    stdout: Arc<Collected>,
    stderr: Arc<Collected>,
    client: reqwest::Client,
}

#[derive(Default)]
struct Collected {
    text: Mutex<String>,
    grown: Condvar,
}

impl TestServer {
    /// Starts `serve` with [`HOSTED`] and these variables, and waits until it listens.
    pub(crate) fn hosted(upstream: &str, vars: &[(&str, &str)]) -> Self {
        Self::serve(&[HOSTED, &[("CHATKIT_API_BASE", upstream)]].concat(), vars)
    }

    /// Starts `serve` with [`SELF_HOSTED`] and these variables, and waits until it listens.
    pub(crate) fn self_hosted(vars: &[(&str, &str)]) -> Self {
        Self::serve(SELF_HOSTED, vars)
    }

    fn serve(least: &[(&str, &str)], vars: &[(&str, &str)]) -> Self {
        Self::start(&["serve"], &over(least, vars))
    }

    /// Starts the binary with exactly these variables on a free port.
    pub(crate) fn start(args: &[&str], vars: &[(&str, &str)]) -> Self {
        Self::spawn(command(args, vars), vars)
    }

    /// Starts this command, which has these variables and leads to the binary, on a free port.
    pub(crate) fn spawn(mut command: Command, vars: &[(&str, &str)]) -> Self {
        command.arg("--print-addr");
        if !vars.iter().any(|(name, _)| *name == "HOST") {
            command.env("HOST", "127.0.0.1");
        }
        if !vars.iter().any(|(name, _)| *name == "PORT") {
            command.env("PORT", "0");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        stdout.read_line(&mut line).expect("stdout is readable");
        let Ok(addr) = line.trim().parse() else {
            let _ = child.wait();
            panic!("no address on stdout but {line:?}; stderr:\n{}", stderr.text());
        };
        let client =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { child, addr, stdout: collect(stdout), stderr, client }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(self.url(path))
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().expect("a method"), self.url(path))
    }

    /// `POST /api/chatkit/session` as this user, with an empty body.
    pub(crate) fn mint_as(&self, user: &str) -> RequestBuilder {
        self.post("/api/chatkit/session").bearer_auth(super::tokens::hs256(user))
    }

    /// Everything on standard output so far, after the address.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything on standard error so far.
    pub(crate) fn logs(&self) -> String {
        self.stderr.text()
    }

    /// The first JSON log line that fits, once it is there.
    pub(crate) fn log_line(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut text = self.stderr.text.lock().expect("no reader panicked");
        loop {
            let found = text.lines().filter_map(|line| serde_json::from_str(line).ok()).find(&fits);
            if let Some(line) = found {
                return line;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such log line in:\n{text}");
            text = self.stderr.grown.wait_timeout(text, left).expect("no reader panicked").0;
        }
    }

    /// Sends a signal by its name (`TERM`, `INT`, `KILL`).
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "the signal is sent");
    }

    /// Waits for the process to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("it did not end; stderr:\n{}", self.logs());
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Collected> {
    let collected = Arc::new(Collected::default());
    let into = Arc::clone(&collected);
    std::thread::spawn(move || {
        let mut chunk = [0; 64 * 1024];
        while let Ok(read @ 1..) = pipe.read(&mut chunk) {
            into.text
                .lock()
                .expect("no reader panicked")
                .push_str(&String::from_utf8_lossy(&chunk[..read]));
            into.grown.notify_all();
        }
    });
    collected
}

impl Collected {
    fn text(&self) -> String {
        self.text.lock().expect("no reader panicked").clone()
    }
}
