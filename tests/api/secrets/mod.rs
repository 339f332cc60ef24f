//! Where do secrets go? Every path and every failure, at the most talkative log level; and then all
//! that came out is searched: logs, answers, metrics, Redis.

mod strangers;
mod watch;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use strangers::strangers;
use watch::Watch;

use crate::support::redis::RedisServer;
use crate::support::server::{API_KEY, PATIENCE, TestServer};
use crate::support::tokens;
use crate::support::upstream::{Reply, ScriptedUpstream};

const SESSION: &str = "/api/chatkit/session";
const REFRESH: &str = "/api/chatkit/refresh";
const NOWHERE: &str = "http://127.0.0.1:9";
const JSON: (&str, &str) = ("content-type", "application/json");

const REDIS_PASSWORD: &str = "canary+redis/password=1";
const COOKIE_KEY: &str = "canary-cookie-key-of-32-bytes-or-more";
const USER_ID_KEY: &str = "canary-user-id-key-of-32-bytes-or-more";
const SERVICE_TOKEN: &str = "cks_canary_service_token_71c0";
const PROXY_PASSWORD: &str = "canary-proxy-password";
/// Every user's id holds this.
const USER: &str = "canary.user@example.com";
/// Every client secret holds this.
const SECRET: &str = "ek_canary_secret";
/// What strangers send, in all the wrong places, holds this.
const STRAY: &str = "canary-stray";

/// What a careless upstream says: all it was sent and all it made.
fn echo(status: u16) -> Reply {
    let said = format!(
        "Incorrect API key provided: {API_KEY}. See {SECRET}_0 (Authorization: Bearer {API_KEY})."
    );
    let body = json!({"error": {"message": said, "type": API_KEY, "code": format!("{SECRET}_0"), "param": API_KEY},
                      "client_secret": format!("{SECRET}_0"), "headers": {"authorization": format!("Bearer {API_KEY}")}});
    Reply::json(status, &body).header("x-request-id", API_KEY).header("set-cookie", SECRET)
}

fn session(number: usize) -> Reply {
    Reply::session(&format!("cksess_{number}"), &format!("{SECRET}_{number}"))
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A server that says everything it can.
fn talkative(upstream: &str, format: &str, vars: &[(&str, &str)]) -> TestServer {
    let service =
        format!("shop:{}", HEXLOWER.encode(digest(&SHA256, SERVICE_TOKEN.as_bytes()).as_ref()));
    let mut all = vec![
        ("RUST_LOG", "trace"),
        ("LOG_FORMAT", format),
        ("CHATKIT_COOKIE_KEY", COOKIE_KEY),
        ("CHATKIT_USER_ID_KEY", USER_ID_KEY),
        ("SERVICE_TOKENS", &service),
        ("AUTH_ANONYMOUS", "on"),
        ("CORS_ALLOWED_ORIGINS", "https://x.example"),
        ("JWT_COOKIE", "site_session"),
        ("CHATKIT_STATE_CLAIMS", "email"),
        ("UPSTREAM_RETRIES", "1"),
        ("UPSTREAM_TIMEOUT_SECONDS", "2"),
        ("RATE_LIMIT_IP_BURST", "10000"),
        ("RATE_LIMIT_USER_PER_MINUTE", "1"),
    ];
    all.retain(|(name, _)| !vars.iter().any(|(other, _)| other == name));
    all.extend_from_slice(vars);
    TestServer::hosted(upstream, &all)
}

/// Users, visitors and services who get what they ask for, and sessions that are replaced and
/// ended.
async fn good_days(watch: &Watch, server: &TestServer, upstream: &ScriptedUpstream) {
    let ada = watch.token("ada");
    let mut number = 0;
    let mut replies = |count: usize| {
        for _ in 0..count {
            number += 1;
            upstream.then(session(number));
        }
    };
    replies(2);
    let first = watch.ask(server.post(SESSION).bearer_auth(&ada), 200).await;
    let query = format!("/api/chatkit/start?token={STRAY}&jwt={ada}");
    watch
        .ask(server.post(&query).bearer_auth(&ada).header("cookie", format!("x={STRAY}")), 200)
        .await;

    let current = json!({"currentClientSecret": first["client_secret"], "password": STRAY});
    replies(2);
    let seen = upstream.requests().len();
    watch.ask(server.post(REFRESH).bearer_auth(&ada).json(&current), 200).await;
    upstream.wait_for(seen + 2).await;
    // The cancel of an old session fails in the background, echo and all.
    replies(2);
    let second = watch.ask(server.post(SESSION).bearer_auth(&ada), 200).await;
    let current = json!({"currentClientSecret": second["client_secret"]});
    let mallory = watch.token("mallory");
    watch.ask(server.post(REFRESH).bearer_auth(&mallory).json(&current), 403).await;
    upstream.then(echo(400));
    let seen = upstream.requests().len();
    watch.ask(server.post(REFRESH).bearer_auth(&ada).json(&current), 200).await;
    upstream.wait_for(seen + 2).await;
    replies(1);
    let unknown = json!({"currentClientSecret": format!("{SECRET}_unknown")});
    watch.ask(server.post(REFRESH).bearer_auth(&ada).json(&unknown), 200).await;

    let cookie = format!("site_session={}", watch.token("cookie"));
    let by_cookie = || server.post(SESSION).header("cookie", &cookie);
    replies(1);
    watch.ask(by_cookie().header("sec-fetch-site", "same-origin"), 200).await;
    watch.ask(by_cookie().header("origin", "https://evil.example"), 403).await;
    replies(2);
    let visitor = watch.ask(server.post(SESSION), 200).await;
    let cookie = visitor["cookie"].as_str().expect("a visitor's cookie").to_owned();
    let again =
        server.post(SESSION).header("cookie", &cookie).header("sec-fetch-site", "same-origin");
    watch.ask(again, 200).await;
    watch.ask(server.post(SESSION).header("cookie", format!("{cookie}{STRAY}")), 401).await;

    replies(1);
    let service = || server.post(SESSION).bearer_auth(SERVICE_TOKEN);
    watch.ask(service().json(&json!({"user": {"id": format!("named-{USER}")}})), 200).await;
    watch.ask(service().json(&json!({"user": [STRAY]})), 400).await;

    // OpenAI does not confirm the end of one session, then of all.
    upstream.then(echo(403));
    (0..10).for_each(|_| upstream.then(session(0)));
    watch.ask(server.delete(SESSION).bearer_auth(&ada), 502).await;
    watch.ask(server.delete(SESSION).bearer_auth(&ada), 204).await;
}

/// Every way in which OpenAI can fail, with all it knows in its answers.
async fn bad_days(watch: &Watch, format: &str) {
    let upstream = ScriptedUpstream::start([]).await;
    let server = talkative(&upstream.base(), format, &[]);
    let redirect = || echo(307).header("location", &format!("https://x.example/?key={API_KEY}"));
    let retried = |status| vec![echo(status).header("retry-after-ms", "1"), echo(status)];
    let quota =
        Reply::error(429, "insufficient_quota", "insufficient_quota", &format!("key {API_KEY}"));
    let table = [
        (vec![echo(400)], 502),
        (vec![echo(401)], 502),
        (vec![echo(403)], 502),
        (vec![echo(404)], 502),
        (vec![quota], 502),
        (vec![redirect()], 502),
        (vec![Reply::text(200, API_KEY)], 502),
        (vec![Reply::json(200, &json!({"id": SECRET, "secret": format!("{SECRET}_x")}))], 502),
        (vec![Reply::text(200, &format!("{SECRET} ").repeat(200_000))], 502),
        (vec![echo(200).cut_after(40), echo(200).cut_after(40)], 503),
        (vec![Reply::hang_up(), Reply::hang_up()], 503),
        (retried(408), 503),
        (retried(409), 503),
        (retried(429), 503),
        (retried(500), 503),
        (retried(503), 503),
        (vec![echo(200).after(Duration::from_secs(3))], 504),
    ];
    for (number, (replies, status)) in table.into_iter().enumerate() {
        replies.into_iter().for_each(|reply| upstream.then(reply));
        let token = watch.token(&format!("bad{number}"));
        watch.ask(server.post(SESSION).bearer_auth(token), status).await;
    }
    let nowhere = talkative(NOWHERE, format, &[]);
    watch.ask(nowhere.post(SESSION).bearer_auth(watch.token("nowhere")), 503).await;

    let proxy = ScriptedUpstream::start([echo(407), echo(407)]).await;
    let proxy = proxy.base().replace("http://", &format!("http://canary:{PROXY_PASSWORD}@"));
    let vars = [("HTTPS_PROXY", proxy.as_str())];
    let proxied = talkative("https://openai.example", format, &vars);
    watch.ask(proxied.post(SESSION).bearer_auth(watch.token("proxied")), 503).await;
    for server in [server, nowhere, proxied] {
        keep(watch, &server);
    }
}

/// Too many at once, the end of the service, and a sign-in service that is away.
async fn last_days(watch: &Watch, format: &str) {
    let upstream = ScriptedUpstream::start([session(1).after(Duration::from_secs(1))]).await;
    let mut server = talkative(&upstream.base(), format, &[("MAX_CONCURRENT_REQUESTS", "1")]);
    let open = watch.ask(server.post(SESSION).bearer_auth(watch.token("open")), 200);
    let others = async {
        upstream.wait_for(1).await;
        watch.ask(server.post(SESSION).bearer_auth(watch.token("late")), 503).await;
        server.signal("TERM");
        while watch.ask(server.get("/healthz"), 200).await != Value::Null
            && server.get("/readyz").send().await.expect("an answer").status() != 503
        {}
        watch.ask(server.post(SESSION).bearer_auth(watch.token("later")), 503).await;
    };
    tokio::join!(open, others);
    server.ended();
    keep(watch, &server);

    let jwks = format!("{NOWHERE}/jwks.json?key={STRAY}");
    let vars = [("JWKS_URL", jwks.as_str()), ("JWT_SECRET", ""), ("AUTH_ANONYMOUS", "off")];
    let server = talkative(NOWHERE, format, &vars);
    watch.ask(server.post(SESSION), 401).await;
    watch.ask(server.post(SESSION).bearer_auth(watch.token("keyless")), 401).await;
    let signed =
        tokens::signed_with(&json!({"alg": "ES256"}), &json!({"sub": USER, "exp": 1}), STRAY);
    watch.never_part(signed.split('.').nth(2).expect("a signature"));
    watch.ask(server.post(SESSION).bearer_auth(signed), 503).await;
    watch.ask(server.get("/readyz"), 503).await;
    keep(watch, &server);
}

/// A head and a body that never end; both are given 30 seconds.
async fn endless_days(watch: &Watch, format: &str) {
    let server = talkative(NOWHERE, format, &[]);
    let token = watch.token("endless");
    let head = format!(
        "POST {SESSION} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncookie: {STRAY}\r\n"
    );
    let body = format!(
        "{head}content-type: application/json\r\ncontent-length: 99\r\n\r\n{{\"k\":\"{STRAY}"
    );
    let talks = [head, body].map(|sent| {
        let addr = server.addr();
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(addr).expect("it accepts");
            stream.set_read_timeout(Some(PATIENCE * 2)).expect("a deadline");
            stream.write_all(sent.as_bytes()).expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it ends");
            answer
        })
    });
    for talk in talks {
        let answer = talk.await.expect("no panic");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        watch.hear("the answer to what never ends", answer);
    }
    let logs = server.logs();
    assert!(logs.contains("a connection ended early"), "{logs}");
    watch.hear("the log of what never ends", logs);
}

fn keep(watch: &Watch, server: &TestServer) {
    let logs = server.logs();
    assert!(logs.contains("TRACE"), "it said all it could");
    assert!(!logs.contains("panicked"), "{logs}");
    assert!(!logs.contains('\u{1b}'), "colours are for terminals");
    watch.hear("the log", logs);
    watch.hear("standard output", server.stdout());
}

/// Every key of this Redis, with what it holds.
fn dump(port: &str) -> String {
    let redis_cli = |args: &[&str]| {
        let base = ["-p", port, "--no-auth-warning", "-a", REDIS_PASSWORD];
        let output = std::process::Command::new("redis-cli").args(base).args(args).output();
        String::from_utf8(output.expect("redis-cli runs").stdout).expect("text")
    };
    let mut all = redis_cli(&["KEYS", "*"]);
    for key in all.clone().lines() {
        for read in
            [["GET", key].as_slice(), &["ZRANGE", key, "0", "-1", "WITHSCORES"], &["HGETALL", key]]
        {
            all.push_str(&redis_cli(read));
        }
    }
    all
}

async fn live_through_everything(watch: &Watch, format: &str) {
    let redis = RedisServer::start_with(Some(REDIS_PASSWORD));
    let port = redis.url().rsplit(':').next().expect("a port").to_owned();
    let redis_url = format!("redis://:canary%2Bredis%2Fpassword%3D1@127.0.0.1:{port}");
    let metrics = format!("127.0.0.1:{}", free_port());
    let upstream = ScriptedUpstream::start([]).await;
    let vars = [("REDIS_URL", redis_url.as_str()), ("METRICS_ADDR", &metrics)];
    let mut server = talkative(&upstream.base(), format, &vars);
    good_days(watch, &server, &upstream).await;
    let kept = dump(&port);
    assert!(kept.contains("chatkit:session:") && kept.contains("chatkit:limit:"), "{kept}");
    watch.hear("Redis", kept);
    strangers(watch, &server).await;
    drop(redis);
    upstream.then(session(99));
    watch.ask(server.post(SESSION).bearer_auth(watch.token("redisless")), 200).await;
    let scraped = reqwest::get(format!("http://{metrics}/metrics")).await.expect("metrics");
    watch.hear("the metrics", scraped.text().await.expect("text"));
    server.signal("TERM");
    server.ended();
    keep(watch, &server);
    bad_days(watch, format).await;
    last_days(watch, format).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_anywhere_whatever_happens_at_the_most_talkative_level() {
    let watch = Watch::new();
    tokio::join!(live_through_everything(&watch, "json"), endless_days(&watch, "json"));
    let codes = watch.codes.lock().unwrap().clone();
    let all: BTreeSet<String> = [
        "invalid_json",
        "invalid_request",
        "missing_token",
        "invalid_token",
        "expired_token",
        "workflow_not_allowed",
        "session_mismatch",
        "origin_not_allowed",
        "not_found",
        "method_not_allowed",
        "body_too_large",
        "unsupported_media_type",
        "rate_limited",
        "upstream_auth_failed",
        "upstream_rejected",
        "upstream_quota_exhausted",
        "upstream_invalid_response",
        "upstream_unavailable",
        "upstream_rate_limited",
        "overloaded",
        "shutting_down",
        "not_ready",
        "upstream_timeout",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    let missed: Vec<_> = all.difference(&codes).collect();
    assert_eq!(missed, [""; 0], "every failure happened, but for these");
    watch.assert_nothing_leaked();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_in_text_for_people_either() {
    let watch = Watch::new();
    live_through_everything(&watch, "text").await;
    watch.assert_nothing_leaked();
}
