//! `check`: a line for each thing that the configuration names, exit code 1 if any can't be
//! reached, and no secret.

use std::process::Stdio;

use serde_json::json;

use crate::support::redis::RedisServer;
use crate::support::server::{API_KEY, HOSTED, JWT_SECRET, TestServer, command};
use crate::support::upstream::{Reply, ScriptedUpstream};

const NOWHERE: &str = "http://127.0.0.1:9";
const REDIS_PASSWORD: &str = "canary-redis-password";

/// What `check` says with [`HOSTED`] and these variables: the exit code, and the lines after the
/// configuration's.
async fn check(vars: &[(&'static str, String)]) -> (i32, Vec<String>) {
    let vars = vars.to_vec();
    let run = move || {
        let mut command = command(&["check"], HOSTED);
        command.envs(vars).env("UPSTREAM_RETRIES", "0").stdin(Stdio::null());
        command.output().expect("the binary runs")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    let (out, err) = (text(output.stdout), text(output.stderr));
    for secret in [API_KEY, JWT_SECRET, REDIS_PASSWORD, "ek_", "canary"] {
        assert!(!out.contains(secret) && !err.contains(secret), "{secret} in:\n{out}\n{err}");
    }
    let code = output.status.code().expect("it exits");
    let is_unreached =
        ["upstream_unavailable", "upstream_timeout", "could not be reached", "nothing listens"];
    let is_unreached = is_unreached.iter().any(|cause| out.contains(cause));
    let closing = if is_unreached {
        "chatkit-server: not everything can be reached\n"
    } else {
        "chatkit-server: not everything that is configured can be used\n"
    };
    assert_eq!(err, if code == 0 { "" } else { closing }, "{out}");
    let mut lines = out.lines().map(str::to_owned);
    assert_eq!(lines.next().as_deref(), Some("ok      configuration: every variable can be used"));
    (code, lines.collect())
}

fn base(url: impl Into<String>) -> (&'static str, String) {
    ("CHATKIT_API_BASE", url.into())
}

fn sandbox() -> (TestServer, String) {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let url = format!("http://{}", sandbox.addr());
    (sandbox, url)
}

#[tokio::test]
async fn what_is_all_there_gets_a_line_each_and_exit_code_0() {
    let upstream =
        ScriptedUpstream::start([Reply::session("cksess_1", "ek_1"), Reply::json(200, &json!({}))])
            .await;
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    let issuer = ScriptedUpstream::start([Reply::json(200, &keys)]).await;
    let redis = RedisServer::start_with(Some(REDIS_PASSWORD));
    let vars = [
        base(upstream.base()),
        ("JWKS_URL", format!("{}/jwks.json", issuer.base())),
        ("REDIS_URL", redis.url().replace("redis://", &format!("redis://:{REDIS_PASSWORD}@"))),
    ];
    let (code, lines) = check(&vars).await;
    assert_eq!(
        (code, lines),
        (
            0,
            vec![
                "ok      OpenAI: a session of wf_default was minted and cancelled".to_owned(),
                format!(
                    "ok      keys: tokens of users are checked with JWT_SECRET, 1 key from {}",
                    issuer.base()
                ),
                "ok      Redis: it answers".to_owned(),
            ]
        )
    );
    let requests = upstream.requests();
    assert_eq!(
        upstream.lines(),
        ["POST /v1/chatkit/sessions", "POST /v1/chatkit/sessions/cksess_1/cancel"]
    );
    assert_eq!(requests[0].json()["user"], "chatkit-server-check");
}

#[tokio::test]
async fn the_sandbox_passes() {
    let (_sandbox, url) = sandbox();
    let (code, lines) = check(&[base(url)]).await;
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!(lines.len(), 2, "nothing is said of a Redis that is not named: {lines:?}");
}

#[tokio::test]
async fn a_refused_key_a_missing_workflow_and_a_dead_upstream_fail_with_what_to_do() {
    let (_sandbox, url) = sandbox();
    let failed = async |vars: &[(&'static str, String)], code: &str, hint: &str| {
        let (exit, lines) = check(vars).await;
        assert_eq!(exit, 1, "{lines:?}");
        assert!(
            lines[0].starts_with("FAILED  OpenAI: ") && lines[0].contains(code),
            "{}",
            lines[0]
        );
        assert!(lines[0].contains(hint), "it says what to do: {}", lines[0]);
        assert!(
            lines[1].starts_with("ok      keys: "),
            "the rest is looked at all the same: {lines:?}"
        );
    };
    let revoked = [base(url.clone()), ("OPENAI_API_KEY", "sk-revoked".to_owned())];
    failed(&revoked, "upstream_auth_failed", "what to do: set OPENAI_API_KEY to ").await;
    let missing = [base(url.clone()), ("CHATKIT_WORKFLOW_ID", "wf_missing".to_owned())];
    failed(&missing, "upstream_rejected", "what to do: set CHATKIT_WORKFLOW_ID to ").await;
    failed(
        &[base(NOWHERE)],
        "upstream_unavailable",
        "what to do: see that this machine reaches CHATKIT_API_BASE",
    )
    .await;
    let slow = [
        base(url),
        ("CHATKIT_WORKFLOW_ID", "wf_slow".to_owned()),
        ("UPSTREAM_TIMEOUT_SECONDS", "1".to_owned()),
    ];
    failed(&slow, "upstream_timeout", "or raise UPSTREAM_TIMEOUT_SECONDS").await;

    let echo = format!("Incorrect API key provided: {API_KEY}");
    let upstream = ScriptedUpstream::start([Reply::error(
        401,
        "invalid_request_error",
        "invalid_api_key",
        &echo,
    )])
    .await;
    failed(&[base(upstream.base())], "upstream_auth_failed", "OPENAI_API_KEY").await;

    let quota = Reply::error(429, "insufficient_quota", "insufficient_quota", "no credit");
    for (reply, code, hint) in [
        (quota, "upstream_quota_exhausted", "OPENAI_API_KEY belongs to"),
        (
            Reply::error(429, "requests", "rate_limit_exceeded", "slow"),
            "upstream_rate_limited",
            "OPENAI_API_KEY",
        ),
        (
            Reply::error(400, "invalid_request_error", "x", "bad"),
            "upstream_rejected",
            "CHATKIT_WORKFLOW_VERSION",
        ),
        (
            Reply::error(405, "x", "x", "no"),
            "upstream_rejected",
            "what to do: set CHATKIT_API_BASE",
        ),
        (
            Reply::json(200, &json!([])),
            "upstream_invalid_response",
            "what to do: set CHATKIT_API_BASE",
        ),
    ] {
        let upstream = ScriptedUpstream::start([reply]).await;
        failed(&[base(upstream.base())], code, hint).await;
    }
}

#[tokio::test]
async fn a_session_that_is_not_cancelled_fails() {
    let refusal = Reply::error(403, "invalid_request_error", "forbidden", "no");
    let upstream = ScriptedUpstream::start([Reply::session("cksess_1", "ek_1"), refusal]).await;
    let (code, lines) = check(&[base(upstream.base())]).await;
    assert_eq!((code, lines[0].starts_with("FAILED  OpenAI: ")), (1, true), "{lines:?}");
}

#[tokio::test]
async fn keys_that_can_not_be_fetched_and_a_redis_that_is_away_fail_and_are_named() {
    let (_sandbox, url) = sandbox();
    let jwks = [base(url.clone()), ("JWKS_URL", format!("{NOWHERE}/jwks.json?key=canary"))];
    let (code, lines) = check(&jwks).await;
    assert_eq!(code, 1, "{lines:?}");
    assert!(lines[0].starts_with("ok      OpenAI: "), "{lines:?}");
    assert!(lines[1].starts_with(&format!("FAILED  keys: {NOWHERE}: ")), "{lines:?}");
    assert!(lines[1].contains("; what to do: set JWKS_URL to "), "{lines:?}");

    // Keys that can't be used are fetched again and again until the deadline.
    let oct = Reply::json(200, &json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}));
    let useless = ScriptedUpstream::start(vec![oct; 32]).await;
    let (code, lines) = check(&[base(url.clone()), ("JWKS_URL", useless.base().to_owned())]).await;
    let says = format!(
        "FAILED  keys: {}: none of the keys in its JWKS can be used; what to do: set JWKS_URL to ",
        useless.base()
    );
    assert!(code == 1 && lines[1].starts_with(&says), "{lines:?}");

    let issuer = [
        base(url.clone()),
        ("JWT_SECRET", String::new()),
        ("JWT_ISSUER", format!("{NOWHERE}/realm")),
    ];
    let (code, lines) = check(&issuer).await;
    assert!(code == 1 && lines[1].contains("; what to do: set JWT_ISSUER to "), "{lines:?}");

    let mut redis = RedisServer::start_with(Some("another password"));
    let away = redis.url().replace("redis://", &format!("redis://:{REDIS_PASSWORD}@"));
    let vars = [base(url), ("REDIS_URL", away)];
    let (code, lines) = check(&vars).await;
    let starts = |cause: &str| format!("FAILED  Redis: {cause}; what to do: set REDIS_URL to ");
    assert!(
        code == 1 && lines[2].starts_with(&starts("it refused the user name or password")),
        "{lines:?}"
    );
    redis.kill();
    let (code, lines) = check(&vars).await;
    assert!(
        code == 1 && lines[2].starts_with(&starts("nothing listens at its address")),
        "{lines:?}"
    );
}
