//! Two replicas with one Redis: one limit, one registry of sessions, also when Redis goes away and
//! comes back.

use std::time::Instant;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::redis::RedisServer;
use crate::support::server::{PATIENCE, TestServer};
use crate::support::tokens;
use crate::support::upstream::{Reply, ScriptedUpstream};

const REFRESH: &str = "/api/chatkit/refresh";
const SESSION: &str = "/api/chatkit/session";
const AWAY: &str = "Redis is away";
const BACK: &str = "Redis is back";

/// A server process and where it tells its metrics.
struct Replica {
    server: TestServer,
    metrics: String,
}

impl Replica {
    /// Starts it, and waits until it has found Redis.
    async fn start(upstream: &str, redis: &RedisServer) -> Self {
        let metrics = format!("127.0.0.1:{}", free_port());
        let url = redis.url();
        let vars = [
            ("REDIS_URL", url.as_str()),
            ("METRICS_ADDR", &metrics),
            ("RATE_LIMIT_USER_BURST", "10"),
            ("RATE_LIMIT_USER_PER_MINUTE", "1"),
            ("RATE_LIMIT_IP_PER_MINUTE", "0"),
        ];
        let replica = Self { server: TestServer::hosted(upstream, &vars), metrics };
        replica.until_redis_is(1).await;
        replica
    }

    async fn until_redis_is(&self, up: u8) {
        let deadline = Instant::now() + PATIENCE;
        let wanted = format!("chatkit_redis_up {up}");
        loop {
            let text =
                reqwest::get(format!("http://{}/metrics", self.metrics)).await.expect("metrics");
            let text = text.text().await.expect("text");
            if text.lines().any(|line| line == wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{wanted} in:\n{text}");
        }
    }

    /// What it says of Redis, as level and beginning, once it has said so much.
    fn says_of_redis(&self, last: &str) -> Vec<(String, String)> {
        let text = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
        self.server.log_line(|line| text(line).starts_with(last));
        let logs = self.server.logs();
        let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_redis = lines.filter(|line| text(line).starts_with("Redis is "));
        let first = |line: &Value| text(line).split(':').next().unwrap_or_default().to_owned();
        of_redis
            .map(|line| (line["level"].as_str().unwrap_or_default().to_owned(), first(&line)))
            .collect()
    }

    async fn failures_of_redis(&self) -> u64 {
        let text = reqwest::get(format!("http://{}/metrics", self.metrics)).await.expect("metrics");
        let text = text.text().await.expect("text");
        let count =
            text.lines().find_map(|line| line.strip_prefix("chatkit_redis_failures_total "));
        count.expect("it is counted").parse().expect("a number")
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

async fn minted(server: &TestServer, user: &str) -> String {
    let answer = server.mint_as(user).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.expect("JSON");
    answer["client_secret"].as_str().expect("a secret").to_owned()
}

/// Forty requests of one user at once, by turns to each replica: how many were let in. The others
/// were refused by the limit.
async fn let_in_of_forty(user: &str, replicas: &[&Replica]) -> usize {
    let requests =
        (0..40).map(|number| replicas[number % replicas.len()].server.mint_as(user).send());
    let answers = futures_util::future::join_all(requests).await;
    let statuses: Vec<_> =
        answers.into_iter().map(|answer| answer.expect("an answer").status()).collect();
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    let let_in = count(StatusCode::OK);
    assert_eq!(let_in + count(StatusCode::TOO_MANY_REQUESTS), 40, "{statuses:?}");
    let_in
}

fn refresh(server: &TestServer, user: &str, secret: &str) -> reqwest::RequestBuilder {
    let request = server.post(REFRESH).bearer_auth(tokens::hs256(user));
    request.json(&json!({"currentClientSecret": secret}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_one_limit_over_all_replicas_to_the_request() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let base = format!("http://{}", sandbox.addr());
    let redis = RedisServer::start();
    let replicas = [Replica::start(&base, &redis).await, Replica::start(&base, &redis).await];
    let both = [&replicas[0], &replicas[1]];
    assert_eq!(let_in_of_forty("ada", &both).await, 10);
    assert_eq!(let_in_of_forty("ada", &both).await, 0, "and nothing is left");
    assert_eq!(let_in_of_forty("bob", &both).await, 10, "another user has a limit of their own");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_minted_the_other_replaces_refuses_and_ends() {
    let upstream = ScriptedUpstream::start([
        Reply::session("cksess_1", "ek_1"),
        Reply::session("cksess_2", "ek_2"),
        Reply::json(200, &json!({})),
        Reply::session("cksess_3", "ek_3"),
        Reply::json(200, &json!({})),
        Reply::json(200, &json!({})),
        Reply::json(200, &json!({})),
    ])
    .await;
    let redis = RedisServer::start();
    let a = Replica::start(&upstream.base(), &redis).await;
    let b = Replica::start(&upstream.base(), &redis).await;

    let first = minted(&a.server, "ada").await;
    let stolen = refresh(&b.server, "bob", &first).send().await.expect("an answer");
    assert_eq!(stolen.status(), 403);
    let stolen: Value = stolen.json().await.expect("JSON");
    assert_eq!(stolen["error"]["code"], "session_mismatch");
    assert_eq!(upstream.requests().len(), 1, "nothing was minted for the thief");

    let fresh = refresh(&b.server, "ada", &first).send().await.expect("an answer");
    assert_eq!(fresh.json::<Value>().await.expect("JSON"), json!({"client_secret": "ek_2"}));
    upstream.wait_for(3).await;
    assert_eq!(upstream.lines()[2], "POST /v1/chatkit/sessions/cksess_1/cancel");

    assert_eq!(minted(&a.server, "ada").await, "ek_3");
    let ended =
        b.server.delete(SESSION).bearer_auth(tokens::hs256("ada")).send().await.expect("an answer");
    assert_eq!(ended.status(), 204);
    let mut lines = upstream.lines()[4..].to_vec();
    lines.sort();
    // The first session's end may still be on its way out of the registry; ended twice does no
    // harm.
    lines.retain(|line| !line.contains("cksess_1"));
    assert_eq!(
        lines,
        ["POST /v1/chatkit/sessions/cksess_2/cancel", "POST /v1/chatkit/sessions/cksess_3/cancel"],
        "what either replica minted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_it_goes_on_with_its_own_limits_and_shares_them_again_afterwards() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let base = format!("http://{}", sandbox.addr());
    let mut redis = RedisServer::start();
    let a = Replica::start(&base, &redis).await;
    let b = Replica::start(&base, &redis).await;
    assert_eq!(let_in_of_forty("ada", &[&a, &b]).await, 10);

    let [away, back] =
        [("WARN", AWAY), ("INFO", BACK)].map(|(level, text)| (level.to_owned(), text.to_owned()));
    redis.kill();
    assert_eq!(
        let_in_of_forty("bob", &[&a]).await,
        10,
        "requests go on, within a limit of its own"
    );
    assert_eq!(let_in_of_forty("bob", &[&b]).await, 10, "each replica's");
    let secret = minted(&a.server, "eve").await;
    assert_eq!(refresh(&a.server, "bo", &secret).send().await.expect("an answer").status(), 403);
    for replica in [&a, &b] {
        replica.until_redis_is(0).await;
        assert_eq!(
            replica.says_of_redis(AWAY),
            std::slice::from_ref(&away),
            "and a good start was no news"
        );
        assert_ne!(replica.failures_of_redis().await, 0);
    }

    redis.restart();
    for replica in [&a, &b] {
        replica.until_redis_is(1).await;
        let said = replica.says_of_redis(BACK);
        assert_eq!(
            said,
            [away.clone(), back.clone()],
            "one warning for the whole outage, one line after it"
        );
    }
    assert_eq!(let_in_of_forty("carol", &[&a, &b]).await, 10, "shared again");
    let secret = minted(&a.server, "dave").await;
    assert_eq!(
        refresh(&b.server, "mallory", &secret).send().await.expect("an answer").status(),
        403
    );
    let readiness = a.server.get("/readyz").send().await.expect("an answer");
    assert_eq!(readiness.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_redis_goes_away_a_replica_still_knows_what_it_minted_itself() {
    let upstream = ScriptedUpstream::start([
        Reply::session("cksess_1", "ek_1"),
        Reply::session("cksess_2", "ek_2"),
        Reply::json(200, &json!({})),
        Reply::json(200, &json!({})),
    ])
    .await;
    let mut redis = RedisServer::start();
    let a = Replica::start(&upstream.base(), &redis).await;
    let b = Replica::start(&upstream.base(), &redis).await;
    let on_a = minted(&a.server, "ada").await;
    minted(&b.server, "ada").await;

    redis.kill();
    let stolen = refresh(&a.server, "bob", &on_a).send().await.expect("an answer");
    assert_eq!(stolen.status(), 403);
    let ended =
        a.server.delete(SESSION).bearer_auth(tokens::hs256("ada")).send().await.expect("an answer");
    assert_eq!(ended.status(), 204);
    assert_eq!(upstream.lines()[2..], ["POST /v1/chatkit/sessions/cksess_1/cancel"], "its own");
    a.until_redis_is(0).await;
    let ended =
        b.server.delete(SESSION).bearer_auth(tokens::hs256("ada")).send().await.expect("an answer");
    assert_eq!(ended.status(), 204);
    assert_eq!(
        upstream.lines()[3..],
        ["POST /v1/chatkit/sessions/cksess_2/cancel"],
        "the other's own"
    );
}
