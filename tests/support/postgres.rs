//! A real PostgreSQL for tests: Debian's, with its files in a temporary folder, on a free port. It
//! ends with the process that started it, however that ends.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The password of the one user, `postgres`.
pub(crate) const PASSWORD: &str = "correct-horse";

/// Runs the server until it is told to keep its data and stop, or until this script's input ends,
/// as it does when the test's process is gone: then nothing is left.
const WATCH: &str = r#"
"$1/postgres" -D "$2/data" -p "$3" -k "$2" -c listen_addresses=127.0.0.1 -c max_connections=300 -c fsync=off \
    -c log_min_messages=fatal >"$2/log" 2>&1 </dev/null &
server=$!
read -r order
kill -INT "$server"
wait "$server"
[ "$order" = keep ] || rm -rf "$2"
"#;

/// A running PostgreSQL, or one that was stopped and may be started again.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    folder: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl PostgresServer {
    /// The server of this test binary. Each test makes a database of its own on it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server of its own, and returns when it accepts connections.
    pub(crate) fn start() -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("chatkit-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let made = as_postgres("sh")
            .args(["-c", "mkdir -m 700 \"$1\" && cat >\"$1/password\"", "sh"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .spawn()
            .and_then(|mut child| {
                child.stdin.take().unwrap().write_all(PASSWORD.as_bytes())?;
                child.wait()
            });
        assert!(made.unwrap().success(), "{folder:?} must be made");
        let initdb = as_postgres(binaries().join("initdb"))
            .args([
                "--username=postgres",
                "--auth=password",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ])
            .arg(format!("--pwfile={}", folder.join("password").display()))
            .arg(folder.join("data"))
            .output()
            .unwrap();
        assert!(initdb.status.success(), "initdb: {}", String::from_utf8_lossy(&initdb.stderr));
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap().port();
        let mut server = Self { folder, port, running: None };
        server.launch();
        server
    }

    /// Makes a database and returns its address.
    pub(crate) async fn new_database(&self) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let sql = AssertSqlSafe(format!("create database {name}"));
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        self.url(&name)
    }

    /// The address of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops the server: connections are cut, data is kept.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.stdin.take().unwrap().write_all(b"keep\n").unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again where it was.
    pub(crate) fn launch(&mut self) {
        self.stop();
        let child = as_postgres("sh")
            .args(["-c", WATCH, "sh"])
            .arg(binaries())
            .arg(&self.folder)
            .arg(self.port.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        self.running = Some(child);
        let began = Instant::now();
        let is_ready = || {
            let mut command = as_postgres(binaries().join("pg_isready"));
            command.args(["--quiet", "--host=127.0.0.1", &format!("--port={}", self.port)]);
            command.status().unwrap().success()
        };
        while !is_ready() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "PostgreSQL must start; see {:?}",
                self.folder
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            drop(child.stdin.take());
            drop(child.wait());
        }
    }
}

/// A command of the user `postgres` when this is root, under whom PostgreSQL refuses to run.
fn as_postgres(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let is_root = fs::metadata("/proc/self")
        .is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
    let mut command = if is_root { Command::new("setpriv") } else { Command::new(program) };
    if is_root {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    }
    command.current_dir("/");
    command
}

/// Where Debian keeps the programs of the newest version.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL must be installed");
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.unwrap().path()).max_by_key(version);
    newest.expect("PostgreSQL must be installed").join("bin")
}
