//! The real binary: usage, configuration, signals, and the commands that print something.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::server::{HOSTED, JWT_SECRET, TestServer, command};
use crate::support::tokens;

pub(crate) fn run(args: &[&str], vars: &[(&str, &str)]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(args, vars).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (status.code().expect("it exits"), text(stdout), text(stderr))
}

#[test]
fn help_and_version_work_on_each_command() {
    for name in ["", "serve", "dev", "sandbox", "token", "service-token", "check", "healthcheck"] {
        let of = |flag| if name.is_empty() { vec![flag] } else { vec![name, flag] };
        let (code, out, _) = run(&of("--help"), &[]);
        assert_eq!((code, out.contains("Usage:")), (0, true), "{name} --help");
        let (code, out, _) = run(&of("--version"), &[]);
        assert_eq!((code, out.contains(env!("CARGO_PKG_VERSION"))), (0, true), "{name} --version");
        let is_listening = ["", "serve", "dev", "sandbox"].contains(&name);
        let (_, help, _) = run(&of("--help"), &[]);
        assert_eq!(help.contains("--print-addr"), is_listening, "{name}: {help}");
    }
}

#[test]
fn bad_usage_exits_with_2() {
    for args in
        [&["nonsense"][..], &["token"], &["serve", "--nonsense"], &["sandbox", "--port", "x"]]
    {
        assert_eq!(run(args, &[]).0, 2, "{args:?}");
    }
}

/// Shells and systemd start a process with a soft limit of 1,024 open files, and a far higher hard
/// one.
#[test]
fn the_soft_limit_of_open_files_is_no_limit_of_connections() {
    let mut server = Command::new("sh");
    server.args([
        "-c",
        "ulimit -Sn 64 && exec \"$0\" serve --print-addr",
        env!("CARGO_BIN_EXE_chatkit-server"),
    ]);
    server.env_clear().envs(HOSTED.iter().copied()).env("HOST", "127.0.0.1").env("PORT", "0");
    server.current_dir(std::env::temp_dir()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.spawn().expect("sh is there");
    let mut address = String::new();
    BufReader::new(server.stdout.take().expect("it is piped"))
        .read_line(&mut address)
        .expect("an address");
    let connections: std::io::Result<Vec<_>> =
        (0..100).map(|_| asks_for_health(address.trim())).collect();
    server.kill().and_then(|()| server.wait()).expect("it ends");
    connections.expect("each connection is answered");
}

/// A connection that stays open after its first answer.
fn asks_for_health(address: &str) -> std::io::Result<TcpStream> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut start = [0; 12];
    connection.read_exact(&mut start)?;
    if start == *b"HTTP/1.1 200" { Ok(connection) } else { Err(std::io::Error::other("no 200")) }
}

#[test]
fn every_problem_of_the_configuration_is_named_at_once_and_no_value_is_printed() {
    let vars = [
        ("OPENAI_API_KEY", ""),
        ("CHATKIT_WORKFLOW_ID", "canary-1"),
        ("PORT", "canary-2"),
        ("JWT_SECRET", "canary-3"),
        ("CORS_ALLOWED_ORIGINS", "https://ok.example, canary-4"),
        ("TRUSTED_PROXIES", "canary-5"),
        ("MAX_CONCURRENT_REQUESTS", "0"),
        ("CHATKIT_SESSION_TTL_SECONDS", "601"),
        ("METRICS_ADDR", "canary-6"),
        ("STATIC_DIR", "/canary-7"),
        ("CHATKIT_MODE", "canary-8"),
    ];
    let (code, out, err) = run(&["serve"], &vars);
    assert_eq!((code, out.as_str()), (2, ""));
    for (name, _) in vars {
        assert!(
            err.lines().any(|line| line.contains(&format!("{name}:"))),
            "{name} is named in:\n{err}"
        );
    }
    assert!(!err.contains("canary"), "no value is printed:\n{err}");
}

#[test]
fn every_problem_of_self_hosted_mode_and_of_its_agents_is_named_at_once() {
    let folder = TempFolder::new("agents");
    let toml = "default = \"canary-1\"\n[agents.a]\nmodle = \"canary-2\"\ninstructions = \
                \"x\"\ninstructions_file = \"y\"\n\
                [[agents.a.tools]]\ntype = \"canary-3\"\n";
    let path = folder.write("agents.toml", toml);
    let vars = [
        ("OPENAI_API_KEY", ""),
        ("DATABASE_URL", "mysql://canary-4"),
        ("CHATKIT_SIGNING_KEY", "canary-5"),
        ("CHATKIT_SESSION_TTL_SECONDS", "59"),
        ("CHATKIT_MODEL_API", "canary-6"),
        ("CHATKIT_UPLOAD_MAX_BYTES", "canary-7"),
        ("CHATKIT_FILE_UPLOAD", "canary-8"),
        ("CHATKIT_HISTORY", "canary-9"),
        ("CHATKIT_THREAD_TITLES", "canary-10"),
        ("CHATKIT_RETENTION_DAYS", "canary-11"),
        ("CHATKIT_ON_DISCONNECT", "canary-12"),
        ("CHATKIT_DOMAIN_KEY", "canary 13"),
        ("CHATKIT_AGENTS", &path),
        ("JWT_SECRET", "canary-14"),
    ];
    let (code, out, err) =
        run(&["serve"], &[&vars[..], &[("CHATKIT_MODE", "self-hosted")]].concat());
    assert_eq!((code, out.as_str()), (2, ""));
    for (name, _) in vars {
        assert!(
            err.lines().any(|line| line.contains(&format!("{name}:"))),
            "{name} is named in:\n{err}"
        );
    }
    for place in [
        "default",
        "agents.a.model",
        "agents.a.modle",
        "agents.a.instructions_file",
        "agents.a.tools[1].type",
    ] {
        assert!(err.contains(&format!("CHATKIT_AGENTS: `{place}`")), "{place} is named in:\n{err}");
    }
    assert!(!err.contains("canary") && !err.contains("warning"), "no value is printed:\n{err}");
    assert_eq!(err.lines().count(), vars.len() + 4, "{err}");
}

#[test]
fn a_variable_that_two_subjects_read_is_one_problem() {
    let (code, _, err) =
        run(&["serve"], &[HOSTED, &[("HTTPS_PROXY", "ftp://proxy.example")]].concat());
    assert_eq!((code, err.lines().count()), (2, 1), "{err}");
    assert!(err.starts_with("chatkit-server: HTTPS_PROXY: must be "), "{err}");
}

#[test]
fn a_set_up_in_which_nobody_could_authenticate_is_an_error() {
    let (code, _, err) = run(&["serve"], &HOSTED[..2]);
    assert_eq!(code, 2);
    assert!(err.contains("JWT_SECRET"), "{err}");
}

#[test]
fn a_secret_comes_from_a_file_without_its_final_newline_but_not_from_both() {
    let folder = TempFolder::new("secret");
    let path = folder.write("jwt", &format!("{JWT_SECRET}\n"));
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let base = format!("http://{}", sandbox.addr());
    let mut vars = HOSTED[..2].to_vec();
    vars.extend([("JWT_SECRET_FILE", path.as_str()), ("CHATKIT_API_BASE", &base)]);
    let server = TestServer::start(&["serve"], &vars);
    let answer = answer_to(server.mint_as("ada"));
    assert_eq!(answer.status(), 200, "a token signed with the file's secret is good");

    vars.push(("JWT_SECRET", JWT_SECRET));
    let (code, _, err) = run(&["serve"], &vars);
    assert_eq!(code, 2);
    assert!(err.contains("JWT_SECRET_FILE"), "{err}");
}

#[test]
fn a_dotenv_file_completes_the_environment_and_never_overrides_it() {
    let folder = TempFolder::new("dotenv");
    folder.write(
        ".env",
        &format!(
            "OPENAI_API_KEY=sk-x\nCHATKIT_WORKFLOW_ID=wf_x\nJWT_SECRET={JWT_SECRET}\nPORT=1\n"
        ),
    );
    let output =
        command(&["token", "--user", "ada"], &[]).current_dir(&folder.0).output().expect("it runs");
    assert!(output.status.success(), "JWT_SECRET comes from the file");

    folder.write(".env", "PORT=not-a-number\nJWT_SECRET=short\n");
    let vars = [HOSTED, &[("PORT", "also-not")]].concat();
    let output = command(&["serve"], &vars).current_dir(&folder.0).output().expect("it runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("PORT:") && !err.contains("JWT_SECRET"), "the environment wins:\n{err}");
}

#[test]
fn a_value_that_is_no_text_is_a_problem_of_its_variable_if_that_is_read() {
    let not_text = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"wf_canary\xff");
    let run = |args: &[&str], names: &[&str]| {
        let vars: Vec<_> =
            HOSTED.iter().copied().filter(|(name, _)| !names.contains(name)).collect();
        let mut command = command(args, &vars);
        let output =
            command.envs(names.iter().map(|name| (name, not_text))).output().expect("it runs");
        let err = String::from_utf8(output.stderr).expect("output is UTF-8");
        (output.status.code().expect("it exits"), err)
    };
    for name in ["CHATKIT_WORKFLOW_ID", "OPENAI_API_KEY", "JWT_SECRET_FILE", "JWT_AUDIENCE", "PORT"]
    {
        let names = if name == "JWT_SECRET_FILE" { &[name, "JWT_SECRET"][..] } else { &[name] };
        let expected: String = names
            .iter()
            .rev()
            .map(|name| format!("chatkit-server: {name}: must be UTF-8 text\n"))
            .collect();
        assert_eq!(run(&["serve"], names), (2, expected));
    }
    assert_eq!(run(&["token", "--user", "ada"], &["PORT", "NOT_OURS"]).0, 0, "it reads neither");
}

#[test]
fn only_the_dotenv_file_of_the_working_folder_is_read_and_single_quotes_keep_a_dollar() {
    let folder = TempFolder::new("dotenv-folders");
    folder.write(".env", "JWT_SECRET='$0123456789abcdef0123456789abcdef'\n");
    let inner = folder.0.join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    let token = |folder| {
        command(&["token", "--user", "ada"], &[])
            .current_dir(folder)
            .output()
            .expect("it runs")
            .status
            .code()
    };
    assert_eq!(token(&folder.0), Some(0), "all of the value is there, or it would be too short");
    assert_eq!(token(&inner), Some(2), "the file of a parent folder is not read");
    std::fs::create_dir(inner.join(".env")).expect("a folder");
    assert_eq!(token(&inner), Some(2), "a folder of that name is none");
    let err = command(&["token", "--user", "ada"], &[])
        .current_dir(&inner)
        .output()
        .expect("it runs")
        .stderr;
    assert!(!String::from_utf8_lossy(&err).contains(".env"), "and no problem either");
}

#[test]
fn a_name_that_is_nearly_right_is_warned_of() {
    let server = TestServer::hosted(
        "http://127.0.0.1:9",
        &[("CHATKIT_WORKFLOW_VERSIONS", "1"), ("RUST_LOG", "info")],
    );
    let line = server
        .log_line(|line| line["message"].as_str().is_some_and(|text| text.contains("VERSIONS")));
    assert!(
        line["message"]
            .as_str()
            .expect("a text")
            .ends_with("did you mean CHATKIT_WORKFLOW_VERSION?"),
        "{line}"
    );
    server
        .log_line(|line| line["message"].as_str().is_some_and(|text| text.contains("2026-11-30")));
}

#[test]
fn a_name_that_is_nearly_right_is_warned_of_where_there_is_no_log_too() {
    let vars =
        [HOSTED[0], HOSTED[2], ("CHATKIT_MODE", "hosted"), ("CHATKIT_WORKFLW_ID", "wf_canary")];
    let (code, _, err) = run(&["serve"], &vars);
    let lines: Vec<_> = err.lines().collect();
    assert_eq!((code, lines.len()), (2, 2), "{err}");
    assert_eq!(
        lines[0],
        "chatkit-server: warning: CHATKIT_WORKFLW_ID is not a variable of this service; \
         did you mean CHATKIT_WORKFLOW_ID?"
    );
    assert!(lines[1].starts_with("chatkit-server: CHATKIT_WORKFLOW_ID: is required"), "{err}");

    let nowhere = [
        ("CHATKIT_API_BASE", "http://127.0.0.1:9"),
        ("UPSTREAM_RETRIES", "0"),
        ("JWT_ISSUERS", "x"),
    ];
    let (code, _, err) = run(&["check"], &[HOSTED, &nowhere].concat());
    let warning = "chatkit-server: warning: JWT_ISSUERS is not a variable of this service; did you \
                   mean JWT_ISSUER?";
    assert_eq!((code, err.lines().next()), (1, Some(warning)), "{err}");
}

#[test]
fn a_host_may_stand_in_brackets_wherever_it_is_read() {
    let ipv6 = ("HOST", "[::1]");
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[ipv6]);
    assert!(sandbox.addr().is_ipv6());
    let server = TestServer::hosted("http://127.0.0.1:9", &[ipv6]);
    let port = server.addr().port().to_string();
    assert_eq!(run(&["healthcheck"], &[ipv6, ("PORT", &port)]).0, 0);
}

#[test]
fn healthcheck_follows_readiness() {
    let server = TestServer::hosted("http://127.0.0.1:9", &[]);
    let port = server.addr().port().to_string();
    assert_eq!(run(&["healthcheck"], &[("PORT", &port)]).0, 0, "a server that is ready");
    drop(server);
    assert_eq!(run(&["healthcheck"], &[("PORT", &port)]).0, 1, "no server");
    let (code, _, err) = run(&["healthcheck"], &[("PORT", "abc"), ("HOST", "a b")]);
    assert_eq!((code, err.lines().count()), (2, 2), "bad configuration: {err}");
}

#[test]
fn an_address_that_is_taken_exits_with_1() {
    let server = TestServer::hosted("http://127.0.0.1:9", &[]);
    let port = server.addr().port().to_string();
    let (code, _, err) =
        run(&["serve"], &[HOSTED, &[("HOST", "127.0.0.1"), ("PORT", &port)]].concat());
    assert_eq!(code, 1);
    assert!(err.contains("can't be bound"), "{err}");
}

#[test]
fn an_idle_server_ends_at_once_with_0_on_either_signal_even_with_connections_open() {
    for signal in ["TERM", "INT"] {
        let mut server = TestServer::hosted("http://127.0.0.1:9", &[]);
        let fresh = std::net::TcpStream::connect(server.addr()).expect("it accepts");
        assert_eq!(answer_to(server.get("/healthz")).status(), 200, "and a kept-alive one");
        let began = Instant::now();
        server.signal(signal);
        assert_eq!(server.ended().code(), Some(0), "{signal}");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{signal}: at once, not at the end of the grace"
        );
        drop(fresh);
    }
}

/// Sends a request and waits for the head of its answer.
pub(crate) fn answer_to(request: reqwest::RequestBuilder) -> reqwest::Response {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { request.send().await }).expect("an answer")
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A folder for one test, by a name that no other test has.
pub(crate) struct TempFolder(pub(crate) std::path::PathBuf);

impl TempFolder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!(
            "chatkit-test-{name}-{}-{}",
            std::process::id(),
            tokens::now()
        ));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a UTF-8 path").to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
