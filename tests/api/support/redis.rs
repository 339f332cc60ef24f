//! A real Redis for one test, on a free port; it is stopped when the test ends.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running `redis-server`, or one that was killed and may be started again.
#[derive(Debug)]
pub(crate) struct RedisServer {
    port: u16,
    password: Option<&'static str>,
    running: Option<(Child, BufReader<ChildStdout>)>,
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk, and returns when it accepts connections.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// The same, asking for a password.
    pub(crate) fn start_with(password: Option<&'static str>) -> Self {
        for _ in 0..5 {
            let port =
                TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap().port();
            let mut server = Self { port, password, running: None };
            if server.launch() {
                return server;
            }
        }
        panic!("no free port for redis-server in five tries");
    }

    /// The address to connect to, without a password.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server as a crash would: at once, and with all its data.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "redis-server must come back on port {}", self.port);
    }

    /// Stops it from answering, with its connections open, until [`RedisServer::thaw`].
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it answer again.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let (child, _) = self.running.as_ref().unwrap();
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn launch(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        if let Some(password) = self.password {
            command.args(["--requirepass", password]);
        }
        let mut child = command
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server must be installed");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if line.contains("Ready to accept connections") {
                self.running = Some((child, output));
                return true;
            }
            line.clear();
        }
        child.wait().unwrap();
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
