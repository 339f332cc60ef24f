//! `check` in self-hosted mode: the database and each model are reached, and nothing secret is
//! said.

use std::process::Stdio;

use serde_json::json;

use crate::postgres::{PASSWORD, PostgresServer};
use crate::process::TempFolder;
use crate::support::server::{API_KEY, JWT_SECRET, SELF_HOSTED, SIGNING_KEY, TestServer, command};
use crate::support::upstream::{Reply, ScriptedUpstream};

/// What `check` says with [`SELF_HOSTED`] and these variables: the exit code, and the lines about
/// the database and the models.
async fn check(vars: &[(&'static str, &str)]) -> (i32, Vec<String>) {
    let vars: Vec<(&str, String)> =
        vars.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let run = move || {
        let mut command = command(&["check"], SELF_HOSTED);
        command
            .env("CHATKIT_UPLOADS_DIR", uploads())
            .envs(vars)
            .env("UPSTREAM_RETRIES", "0")
            .stdin(Stdio::null());
        command.output().expect("the binary runs")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    let (out, err) = (text(output.stdout), text(output.stderr));
    for secret in [API_KEY, JWT_SECRET, SIGNING_KEY, PASSWORD, "canary"] {
        assert!(!out.contains(secret) && !err.contains(secret), "{secret} in:\n{out}\n{err}");
    }
    let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "ok      configuration: every variable can be used");
    assert!(lines.pop().is_some_and(|line| line.starts_with("ok      keys: ")), "{out}");
    (output.status.code().expect("it exits"), lines)
}

/// A folder of these tests' own.
fn uploads() -> String {
    let folder = std::env::temp_dir().join(format!("chatkit-check-uploads-{}", std::process::id()));
    folder.to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_uploads_that_can_not_be_written_to_fails() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let base = sandbox.url("/v1");
    let folder = TempFolder::new("check-uploads");
    let below_a_file = format!("{}/uploads", folder.write("file", ""));
    let fresh = folder.0.join("new/uploads").to_string_lossy().into_owned();
    for (dir, code, start) in [
        (&*fresh, 0, "ok      uploads: files can be written to "),
        (&*below_a_file, 1, "FAILED  uploads: no file can be written to "),
        ("/proc/uploads", 1, "FAILED  uploads: no file can be written to "),
    ] {
        let found = check(&[("OPENAI_BASE_URL", &base), ("CHATKIT_UPLOADS_DIR", dir)]).await;
        assert_eq!((found.0, found.1.len()), (code, 3), "{found:?}");
        assert!(found.1[2].starts_with(&format!("{start}{dir}")), "{found:?}");
        assert_eq!(
            found.1[2].contains("; what to do: set CHATKIT_UPLOADS_DIR to "),
            code == 1,
            "{found:?}"
        );
    }
    assert_eq!(std::fs::read_dir(&fresh).expect("it is made").count(), 0, "nothing is left there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_and_a_model_that_answer_get_a_line_each() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let postgres = tokio::task::spawn_blocking(PostgresServer::shared).await.expect("it starts");
    let folder = TempFolder::new("check-chat");
    let file = format!("sqlite://{}", folder.write("chat.db", ""));
    for (url, kind) in [(postgres.new_database().await, "PostgreSQL"), (file, "SQLite")] {
        for api in ["responses", "chat-completions"] {
            let base = sandbox.url("/v1");
            let vars = [
                ("DATABASE_URL", url.as_str()),
                ("OPENAI_BASE_URL", &base),
                ("CHATKIT_MODEL_API", api),
            ];
            let expected = vec![
                format!("ok      database: {kind} answers, and its schema is up to date"),
                "ok      model gpt-5.1: it answers at 127.0.0.1 (agent default)".to_owned(),
                format!("ok      uploads: files can be written to {}", uploads()),
            ];
            assert_eq!(check(&vars).await, (0, expected), "{api}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_model_is_asked_once_however_many_agents_it_has() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let folder = TempFolder::new("check-agents");
    let toml = "default = \"a\"\n[agents.a]\nmodel = \"m\"\n[agents.b]\nmodel = \
                \"m\"\ninstructions = \"Be kind.\"\n\
                [agents.c]\nmodel = \"gpt-missing\"\n";
    let path = folder.write("agents.toml", toml);
    let base = sandbox.url("/v1");
    let vars =
        [("CHATKIT_AGENTS", path.as_str()), ("CHATKIT_MODEL", ""), ("OPENAI_BASE_URL", &base)];
    let (code, lines) = check(&vars).await;
    assert_eq!((code, lines.len()), (1, 4), "{lines:?}");
    assert!(
        lines[1].starts_with("FAILED  model gpt-missing: ") && lines[1].contains("model_not_found"),
        "{lines:?}"
    );
    assert!(lines[1].contains("; what to do: set CHATKIT_MODEL"), "{lines:?}");
    assert!(lines[1].contains("(agent c); what to do: "), "{lines:?}");
    assert_eq!(lines[2], "ok      model m: it answers at 127.0.0.1 (agents a, b)");
    let stats: serde_json::Value =
        sandbox.get("/sandbox/stats").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!((&stats["responses"], &stats["open"]), (&json!(2), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_is_named_with_what_to_do() {
    let echo = format!("canary: {API_KEY} is refused");
    let fault = |status, code| {
        Reply::error(status, "invalid_request_error", code, &echo.replace("canary: ", ""))
    };
    for (reply, hint) in [
        (fault(401, "invalid_api_key"), "set OPENAI_API_KEY"),
        (fault(403, "forbidden"), "set OPENAI_API_KEY"),
        (fault(404, "model_not_found"), "set CHATKIT_MODEL"),
        (fault(429, "insufficient_quota"), "add credit"),
        (fault(429, "rate_limit_exceeded"), "wait a minute"),
        (fault(503, "server_is_overloaded"), "see that this machine reaches OPENAI_BASE_URL"),
        (
            Reply::text(200, "<html>").header("content-type", "text/html"),
            "OPENAI_BASE_URL or base_url",
        ),
    ] {
        let upstream = ScriptedUpstream::start([reply]).await;
        let (code, lines) = check(&[("OPENAI_BASE_URL", &format!("{}/v1", upstream.base()))]).await;
        assert_eq!((code, lines.len()), (1, 3), "{lines:?}");
        assert!(lines[0].starts_with("ok      database: SQLite"), "{lines:?}");
        assert!(lines[1].starts_with("FAILED  model gpt-5.1: "), "{lines:?}");
        let step = lines[1].split_once("; what to do: ").expect("it says what to do").1;
        assert!(step.contains(hint), "{hint}: {step}");
    }
    let (code, lines) = check(&[]).await;
    assert!(
        code == 1 && lines[1].contains("; what to do: see that this machine reaches"),
        "nothing listens: {lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_can_not_be_used_is_named_with_what_to_do() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let base = sandbox.url("/v1");
    let postgres = tokio::task::spawn_blocking(PostgresServer::shared).await.expect("it starts");
    let wrong = postgres.url("none").replace(PASSWORD, "canary-password");
    for (url, what, hint) in [
        (postgres.url("missing"), "the store failed", "PostgreSQL"),
        (wrong, "the store failed", "PostgreSQL"),
        ("postgres://canary:canary@127.0.0.1:9/chat".to_owned(), "the store is away", "PostgreSQL"),
        ("sqlite:///proc/nowhere/chat.db".to_owned(), "the store failed", "a file"),
    ] {
        let (code, lines) = check(&[("DATABASE_URL", &url), ("OPENAI_BASE_URL", &base)]).await;
        assert_eq!(code, 1, "{lines:?}");
        assert!(lines[0].starts_with(&format!("FAILED  database: {what}: ")), "{lines:?}");
        let step = lines[0]
            .split_once("; what to do: set DATABASE_URL to ")
            .expect("it says what to do")
            .1;
        assert!(step.contains(hint), "{hint}: {step}");
        assert!(
            lines[1].starts_with("ok      model "),
            "the rest is looked at all the same: {lines:?}"
        );
    }
}
