//! Revoked secrets of self-hosted mode: the database knows them, over restarts and for every
//! replica.

use std::time::Duration;

use serde_json::{Value, json};

use super::chat_door::Replica;
use super::signed::{REFRESH, SESSION, answered, asked, let_in, refreshed, secret};
use crate::postgres::PostgresServer;
use crate::process::TempFolder;
use crate::support::redis::RedisServer;
use crate::support::server::TestServer;
use crate::support::tokens;

/// How soon every replica knows.
const SOON: Duration = Duration::from_secs(5);

/// Signs the user out, and tells the status.
async fn signs_out(server: &TestServer, user: &str) -> u16 {
    let answer = server.delete(SESSION).bearer_auth(tokens::hs256(user)).send().await;
    answer.expect("an answer").status().as_u16()
}

/// What the chat of a server says to the holder of a secret.
async fn status(server: &TestServer, secret: &str) -> u16 {
    let request = json!({"type": "threads.list", "params": {}});
    answered(server.post("/api/chatkit").bearer_auth(secret).json(&request)).await.0
}

async fn refresh(server: &TestServer, user: &str, current: &str) -> String {
    secret(asked(server, REFRESH, user, &json!({"currentClientSecret": current}))).await
}

/// Waits until a replica refuses a secret.
async fn is_refused_soon(replica: &Replica, secret: &str) {
    let refused = async {
        while replica.bearer(secret).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, refused).await.expect("every replica knows within five seconds");
    assert_eq!(replica.bearer(secret).await, Err("invalid_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_ends_the_old_secret_and_a_sign_out_ends_every_one_of_the_user_on_every_replica()
{
    let database = tokio::task::spawn_blocking(PostgresServer::shared).await.expect("it starts");
    let url = database.new_database().await;
    let vars = [("DATABASE_URL", url.as_str())];
    let (a, b) = (TestServer::self_hosted(&vars), TestServer::self_hosted(&vars));
    let chat = Replica::new(&vars).await;
    let (first, other) = (secret(a.mint_as("ada")).await, secret(a.mint_as("ada")).await);
    let of_bob = secret(a.mint_as("bob")).await;
    for secret in [&first, &other] {
        assert_eq!(chat.bearer(secret).await, let_in("ada"));
    }
    let second = refresh(&b, "ada", &first).await;
    is_refused_soon(&chat, &first).await;
    let (status, code, log, _) = chat.refusal(&first).await;
    assert_eq!((status, code), (401, "invalid_token"));
    assert!(log.contains("revoked"), "{log}");
    for secret in [&second, &other] {
        assert_eq!(chat.bearer(secret).await, let_in("ada"));
    }

    let third = secret(a.mint_as("ada")).await;
    assert_eq!(signs_out(&b, "ada").await, 204);
    let fourth = secret(a.mint_as("ada")).await;
    for secret in [&second, &other, &third] {
        is_refused_soon(&chat, secret).await;
    }
    assert_eq!(chat.bearer(&of_bob).await, let_in("bob"), "another user's");
    assert_eq!(
        chat.bearer(&fourth).await,
        let_in("ada"),
        "and the next one is good, wherever it was made"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_stays_so_over_a_restart() {
    let folder = TempFolder::new("revocations");
    let url = format!("sqlite://{}", folder.path("chat.db"));
    let vars = [("DATABASE_URL", url.as_str()), ("CHATKIT_SESSION_TTL_SECONDS", "3600")];
    let mut server = TestServer::self_hosted(&vars);
    let replaced = secret(server.mint_as("bob")).await;
    let fresh = refresh(&server, "bob", &replaced).await;
    let revoked = [secret(server.mint_as("ada")).await, secret(server.mint_as("ada")).await];
    assert_eq!(status(&server, &revoked[0]).await, 200);
    assert_eq!(signs_out(&server, "ada").await, 204);
    let good = secret(server.mint_as("ada")).await;
    for _ in 0..2 {
        for secret in [&revoked[0], &revoked[1], &replaced] {
            assert_eq!(status(&server, secret).await, 401);
        }
        for secret in [&good, &fresh] {
            assert_eq!(status(&server, secret).await, 200);
        }
        server.signal("KILL");
        server.ended();
        server = TestServer::self_hosted(&vars);
    }
    assert_eq!(signs_out(&server, "ada").await, 204, "what another process made ends too");
    assert_eq!(status(&server, &good).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn within_one_second_the_order_alone_counts() {
    let server = TestServer::self_hosted(&[
        ("RATE_LIMIT_USER_PER_MINUTE", "0"),
        ("RATE_LIMIT_IP_PER_MINUTE", "0"),
    ]);
    let mut before = secret(server.mint_as("ada")).await;
    for round in 0..30 {
        assert_eq!(status(&server, &before).await, 200, "round {round}");
        assert_eq!(signs_out(&server, "ada").await, 204);
        let after = secret(server.mint_as("ada")).await;
        assert_eq!(
            (status(&server, &before).await, status(&server, &after).await),
            (401, 200),
            "round {round}"
        );
        before = after;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_is_refused_leaves_the_old_secret_alone() {
    let server = TestServer::self_hosted(&[]);
    let held = secret(server.mint_as("ada")).await;
    assert_eq!(refreshed(&server, "eve", &held).await, (403, json!("session_mismatch")));
    let body = json!({"currentClientSecret": held, "workflow": "other"});
    assert_eq!(answered(asked(&server, REFRESH, "ada", &body)).await.0, 403);
    assert_eq!(status(&server, &held).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_learns_nothing_of_these_sessions() {
    let redis = RedisServer::start();
    let server = TestServer::self_hosted(&[("REDIS_URL", &redis.url())]);
    let held = secret(server.mint_as("ada")).await;
    refresh(&server, "ada", &held).await;
    assert_eq!(signs_out(&server, "ada").await, 204);
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    for pattern in ["chatkit:revoked*", "chatkit:session*"] {
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut connection).unwrap();
        assert_eq!(keys, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_nobody_can_tell_and_nothing_is_promised() {
    let mut database = tokio::task::spawn_blocking(PostgresServer::start).await.expect("it starts");
    let url = database.new_database().await;
    let server = TestServer::self_hosted(&[("DATABASE_URL", &url)]);
    let held = secret(server.mint_as("ada")).await;
    assert_eq!(status(&server, &held).await, 200);
    tokio::task::block_in_place(|| database.stop());
    let not_ready = |(status, body): (u16, Value)| {
        assert_eq!((status, &body["error"]["code"]), (503, &json!("not_ready")), "{body}");
    };
    tokio::join!(
        async { not_ready(answered(server.mint_as("ada")).await) },
        async {
            not_ready(answered(server.delete(SESSION).bearer_auth(tokens::hs256("ada"))).await)
        },
        async { assert_eq!(status(&server, &held).await, 503) },
    );
    tokio::task::block_in_place(|| database.launch());
    assert_eq!(status(&server, &held).await, 200, "what was not promised did not happen");
    assert_eq!(signs_out(&server, "ada").await, 204);
    assert_eq!(status(&server, &held).await, 401);
}
