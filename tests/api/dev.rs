//! Does `dev` work with nothing configured, in both modes?

use std::process::Command;

use serde_json::{Value, json};

use crate::process::{TempFolder, free_port};
use crate::support::server::{JWT_SECRET, TestServer, command};
use crate::support::tokens::hs256;
use crate::support::upstream::ScriptedUpstream;

#[test]
fn dev_needs_nothing_and_its_curl_lines_work_as_pasted() {
    for (arguments, wanted) in [
        (&["dev"][..], &["\"client_secret\":\"eyJ", "\"type\":\"thread.created\""][..]),
        (&["dev", "--mode", "hosted"], &["\"client_secret\":\"ek_"]),
    ] {
        let port = free_port().to_string();
        let mut child = command(arguments, &[("PORT", &port), ("PATH", "/usr/bin:/bin")])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        let out = std::io::BufReader::new(child.stdout.take().expect("stdout is piped"));
        let lines = std::io::BufRead::lines(out).map(|line| line.expect("readable"));
        let curls = lines.filter(|line| line.trim_start().starts_with("curl "));
        let curls =
            curls.inspect(|curl| assert!(curl.len() < 260 && !curl.contains("eyJ"), "{curl}"));
        for (curl, wanted) in curls.take(wanted.len()).zip(wanted) {
            let retry = format!("{} --retry 20 --retry-connrefused --retry-delay 0", curl.trim());
            let answer = Command::new("sh").args(["-c", &retry]).output().expect("curl runs");
            let answer = String::from_utf8_lossy(&answer.stdout);
            assert!(answer.contains(wanted), "{arguments:?}: {answer}");
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What `dev` says with these arguments and variables, but for its last line.
fn welcome(arguments: &[&str], vars: &[(&str, &str)]) -> String {
    let mut child = command(arguments, &[vars, &[("PORT", "0")]].concat())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let out = std::io::BufReader::new(child.stdout.take().expect("stdout is piped"));
    let lines = std::io::BufRead::lines(out).map(|line| line.expect("readable"));
    let text: Vec<_> = lines.take_while(|line| !line.ends_with("Ctrl-C ends it.")).collect();
    let _ = child.kill();
    let _ = child.wait();
    text.join("\n")
}

#[test]
fn the_address_stands_at_the_top_of_a_short_welcome_and_is_its_only_link() {
    for mode in ["hosted", "self-hosted"] {
        let text = welcome(&["dev", "--mode", mode], &[]);
        let first = text.lines().next().expect("a line");
        let port =
            first.strip_prefix("Open http://localhost:").and_then(|rest| rest.strip_suffix('/'));
        assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{text}");
        assert_eq!(
            (text.matches("http://").count(), text.matches("https://").count()),
            (1, 0),
            "{text}"
        );
        assert!(text.lines().count() < 16, "{text}");
    }
}

#[test]
fn dev_says_what_a_real_chat_needs_and_what_becomes_of_a_key_that_is_set() {
    for (mode, base, needs) in [
        (
            "hosted",
            "CHATKIT_API_BASE",
            "set CHATKIT_API_BASE, OPENAI_API_KEY and CHATKIT_WORKFLOW_ID.",
        ),
        (
            "self-hosted",
            "OPENAI_BASE_URL",
            "set OPENAI_API_KEY and CHATKIT_MODEL (and OPENAI_BASE_URL, ",
        ),
    ] {
        let welcome = |vars: &[(&str, &str)]| welcome(&["dev", "--mode", mode], vars);
        let none = welcome(&[]);
        let good = welcome(&[("OPENAI_API_KEY", "sk-canary")]);
        let bad = welcome(&[("OPENAI_API_KEY", "canary")]);
        for text in [&none, &good, &bad] {
            assert!(text.contains(needs) && !text.contains("canary"), "{text}");
        }
        assert!(!none.contains("OPENAI_API_KEY is set"), "{none}");
        assert!(
            good.contains("OPENAI_API_KEY is set; the sandbox gets it, OpenAI does not."),
            "{good}"
        );
        assert!(bad.contains("the sandbox refuses it"), "{bad}");
        let vars = [(base, "http://127.0.0.1:9"), ("OPENAI_API_KEY", "canary")];
        let model = [("CHATKIT_MODEL", "gpt-5.1")];
        let elsewhere = welcome(&[&vars[..], if mode == "hosted" { &[] } else { &model }].concat());
        assert!(
            !elsewhere.contains("sandbox") && elsewhere.contains(" at 127.0.0.1."),
            "{elsewhere}"
        );
    }
}

#[test]
fn with_a_model_and_a_key_dev_asks_openai() {
    let text = welcome(&["dev"], &[("OPENAI_API_KEY", "sk-canary"), ("CHATKIT_MODEL", "gpt-5.1")]);
    assert!(text.contains("\nAnswers come from gpt-5.1 at api.openai.com.\n"), "{text}");
    let text = welcome(&["dev"], &[("CHATKIT_MODEL", "gpt-5.1")]);
    assert!(
        text.contains("\nCHATKIT_MODEL is set, OPENAI_API_KEY and OPENAI_BASE_URL are not: "),
        "{text}"
    );
}

/// Says hello as `ada`, and returns what comes.
async fn hello(server: &TestServer) -> String {
    let chat = server.post("/api/chatkit").bearer_auth(token(server, "ada").await);
    let input = json!({"content": [{"type": "input_text", "text": "Hello"}]});
    let answer = chat.json(&json!({"type": "threads.create", "params": {"input": input}})).send();
    answer.await.expect("an answer").text().await.expect("text")
}

async fn token(server: &TestServer, user: &str) -> String {
    let answer =
        server.post("/dev/token").json(&json!({"user": user})).send().await.expect("an answer");
    answer.json::<Value>().await.expect("JSON")["token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_model_or_agents_dev_asks_those_in_place_of_the_sandboxs() {
    let model = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let base = model.url("/v1");
    let folder = TempFolder::new("dev-agents");
    let toml = format!("[agents.a]\nmodel = \"m\"\nbase_url = \"{base}\"\ntitles = false\n");
    let agents = folder.write("agents.toml", &toml);
    let asked = async || {
        let stats: Value = model
            .get("/sandbox/stats")
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        stats["responses"].as_u64()
    };
    let of_model = [
        ("CHATKIT_MODEL", "m"),
        ("OPENAI_BASE_URL", &*base),
        ("OPENAI_API_KEY", "sk-1"),
        ("CHATKIT_THREAD_TITLES", "off"),
    ];
    for (index, vars) in [&of_model[..], &[("CHATKIT_AGENTS", &agents)]].into_iter().enumerate() {
        let server = TestServer::start(&["dev"], vars);
        let said = hello(&server).await;
        assert!(said.contains("thread.item.done") && !said.contains("stream.error"), "{said}");
        assert_eq!(asked().await, Some(index as u64 + 1), "{vars:?}");
    }
}

#[tokio::test]
async fn every_page_of_this_machine_may_use_dev_with_its_cookies_too() {
    let server = TestServer::start(&["dev"], &[("AUTH_ANONYMOUS", "on")]);
    let preflight = async |origin: &str| {
        let asked = server.request("OPTIONS", "/api/chatkit").header("origin", origin);
        let answer =
            asked.header("access-control-request-method", "POST").send().await.expect("an answer");
        answer
            .headers()
            .get("access-control-allow-origin")
            .map(|origin| origin.to_str().expect("text").to_owned())
    };
    let local = [
        "http://localhost:5173",
        "http://127.0.0.1:3000",
        "http://[::1]:8081",
        "https://localhost",
    ];
    for origin in local {
        assert_eq!(preflight(origin).await.as_deref(), Some(origin));
    }
    for origin in ["http://evil.example", "http://localhost.evil.example:5173", "null"] {
        assert_eq!(preflight(origin).await, None, "{origin}");
    }
    let first = server.post("/api/chatkit/session").send().await.expect("an answer");
    let cookie = first.headers()["set-cookie"]
        .to_str()
        .expect("text")
        .split(';')
        .next()
        .expect("a cookie")
        .to_owned();
    for (origin, status) in [("http://localhost:5173", 200), ("http://evil.example", 403)] {
        let asked =
            server.post("/api/chatkit/session").header("cookie", &cookie).header("origin", origin);
        assert_eq!(asked.send().await.expect("an answer").status(), status, "{origin}");
    }
}

#[tokio::test]
async fn dev_limits_nobody_unless_a_limit_is_set() {
    let statuses = async |vars: &[(&str, &str)]| {
        let server = TestServer::start(&["dev"], vars);
        let token = token(&server, "ada").await;
        let mut statuses = Vec::new();
        for _ in 0..60 {
            let asked = server.post("/api/chatkit/session").bearer_auth(&token).send();
            statuses.push(asked.await.expect("an answer").status().as_u16());
        }
        statuses
    };
    assert_eq!(statuses(&[]).await, [200; 60]);
    for limit in ["RATE_LIMIT_USER_BURST", "RATE_LIMIT_IP_BURST", "RATE_LIMIT_USER_PER_MINUTE"] {
        assert!(statuses(&[(limit, "3")]).await.contains(&429), "{limit}");
    }
}

#[tokio::test]
async fn on_loopback_dev_answers_only_under_names_of_this_machine() {
    let server = TestServer::start(&["dev"], &[]);
    let asked = async |server: &TestServer, host: &str| {
        let paths = ["/", "/api/chatkit/config", "/healthz"].map(|path| server.get(path));
        let token = server.post("/dev/token").json(&json!({"user": "ada"}));
        let mut answers = Vec::new();
        for request in paths.into_iter().chain([token]) {
            let answer =
                request.header("host", host).header("origin", format!("http://{host}")).send();
            let answer = answer.await.expect("an answer");
            let status = answer.status().as_u16();
            let body: Value =
                if status == 421 { answer.json().await.expect("JSON") } else { Value::Null };
            answers.push((status, body["error"]["code"].as_str().unwrap_or_default().to_owned()));
        }
        answers
    };
    let port = server.addr().port();
    for host in ["localhost", "LOCALHOST:1", "[::1]:99"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("127.0.0.1:{port}")])
    {
        assert_eq!(asked(&server, &host).await, vec![(200, String::new()); 4], "{host}");
    }
    for host in
        ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "192.168.1.2"]
    {
        assert_eq!(
            asked(&server, host).await,
            vec![(421, "misdirected_request".to_owned()); 4],
            "{host}"
        );
    }
    let open = TestServer::start(&["dev"], &[("HOST", "0.0.0.0")]);
    assert_eq!(
        asked(&open, "dev.example").await,
        vec![(200, String::new()); 4],
        "who listens for others has names"
    );
    let serve = TestServer::self_hosted(&[]);
    let answer =
        serve.get("/healthz").header("host", "chat.example").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn devs_tokens_are_signed_with_a_key_of_the_run_beside_the_configured_ones() {
    let issuer = ScriptedUpstream::start([]).await;
    let issuer = issuer.base();
    let only_issuer = [("JWT_ISSUER", issuer.as_str()), ("JWT_AUDIENCE", "chat")];
    let with_secret =
        [("JWT_SECRET", JWT_SECRET), ("JWT_ALGORITHMS", "HS512,HS256"), ("JWT_USER_CLAIM", "uid")];
    let status = async |server: &TestServer, token: &str| {
        let asked = server.post("/api/chatkit/session").bearer_auth(token).send();
        asked.await.expect("an answer").status().as_u16()
    };
    for vars in [
        &only_issuer[..],
        &with_secret,
        &[&only_issuer[..], &with_secret].concat(),
        &[("JWT_ISSUER", "the-site")],
    ] {
        let dev = TestServer::start(&["dev"], vars);
        assert_eq!(status(&dev, &token(&dev, "ada").await).await, 200, "{vars:?}");
        assert_eq!(dev.get("/readyz").send().await.expect("an answer").status(), 200, "{vars:?}");
    }
    let (dev, serve) =
        (TestServer::start(&["dev"], &[("JWT_SECRET", JWT_SECRET)]), TestServer::self_hosted(&[]));
    assert_eq!(status(&dev, &hs256("ada")).await, 200, "the configured key is good too");
    assert_eq!(status(&serve, &hs256("ada")).await, 200);
    assert_eq!(
        status(&serve, &token(&dev, "ada").await).await,
        401,
        "no other server takes a token of dev's"
    );
    assert_eq!(
        status(&TestServer::start(&["dev"], &[]), &token(&dev, "ada").await).await,
        401,
        "nor another run"
    );
}

#[tokio::test]
async fn who_gives_no_name_is_ada_and_a_name_that_is_none_is_refused() {
    let server = TestServer::start(&["dev"], &[]);
    let answer = server.post("/dev/token").send().await.expect("an answer");
    let token =
        answer.json::<Value>().await.expect("JSON")["token"].as_str().expect("a token").to_owned();
    let claims =
        data_encoding::BASE64URL_NOPAD.decode(token.split('.').nth(1).expect("claims").as_bytes());
    let claims: Value = serde_json::from_slice(&claims.expect("base64")).expect("JSON");
    assert_eq!(claims["sub"], "ada");
    let bad = server.post("/dev/token").json(&json!({"user": ""})).send().await.expect("an answer");
    assert_eq!(bad.status(), 400);
}
