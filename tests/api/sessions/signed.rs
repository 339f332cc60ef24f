//! Sessions of self-hosted mode: the real binary signs them, and refreshes them.

use data_encoding::BASE64URL_NOPAD;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::chat_door::Replica;
use crate::process::TempFolder;
use crate::support::server::{SIGNING_KEY, TestServer};
use crate::support::tokens;

pub(super) const SESSION: &str = "/api/chatkit/session";
pub(super) const REFRESH: &str = "/api/chatkit/refresh";

/// A request of this user with this body.
pub(super) fn asked(server: &TestServer, path: &str, user: &str, body: &Value) -> RequestBuilder {
    server.post(path).bearer_auth(tokens::hs256(user)).json(body)
}

pub(super) async fn answered(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

/// The client secret that this request is answered with.
pub(super) async fn secret(request: RequestBuilder) -> String {
    let (status, body) = answered(request).await;
    assert_eq!(status, 200, "{body}");
    body["client_secret"].as_str().expect("a secret").to_owned()
}

/// Refreshes, and tells the status and the code of the error.
pub(super) async fn refreshed(server: &TestServer, user: &str, current: &str) -> (u16, Value) {
    let (status, body) =
        answered(asked(server, REFRESH, user, &json!({"currentClientSecret": current}))).await;
    (status, body["error"]["code"].clone())
}

fn part(secret: &str, number: usize) -> Value {
    let part = secret.split('.').nth(number).expect("three parts");
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url"))
        .expect("JSON")
}

pub(super) fn let_in(user: &str) -> Result<(String, String), &'static str> {
    Ok((user.to_owned(), "default".to_owned()))
}

#[tokio::test]
async fn a_session_is_a_signed_secret_and_the_end_of_its_life() {
    for (vars, ttl) in [
        (&[][..], 600),
        (&[("CHATKIT_SESSION_TTL_SECONDS", "60")], 60),
        (&[("CHATKIT_SESSION_TTL_SECONDS", "3600")], 3600),
    ] {
        let server = TestServer::self_hosted(vars);
        for path in [SESSION, "/api/chatkit/start", REFRESH] {
            let before = tokens::now();
            let (status, body) = answered(asked(&server, path, "Ada Löve", &json!({}))).await;
            let after = tokens::now();
            assert_eq!(
                (status, body.as_object().map(serde_json::Map::len)),
                (200, Some(2)),
                "{path}: {body}"
            );
            let secret = body["client_secret"].as_str().expect("a secret");
            assert_eq!(part(secret, 0), json!({"alg": "HS256", "typ": "chatkit-session+jwt"}));
            let claims = part(secret, 1);
            let (iat, jti) =
                (claims["iat"].as_i64().expect("iat"), claims["jti"].as_str().expect("jti"));
            assert!((before..=after).contains(&iat), "{claims}");
            assert!(jti.len() == 32 && jti.bytes().all(|b| b.is_ascii_hexdigit()), "{claims}");
            let expected = json!({
                "iss": "chatkit-server", "aud": "chatkit", "sub": "Ada Löve", "iat": iat, "exp": iat + ttl,
                "jti": jti, "workflow": "default",
            });
            assert_eq!(claims, expected);
            let date = std::process::Command::new("date")
                .args(["-u", "-d", &format!("@{}", iat + ttl), "+%FT%TZ"])
                .output()
                .expect("date runs");
            assert_eq!(body["expires_at"], String::from_utf8_lossy(&date.stdout).trim());
            let message = secret.rsplit_once('.').expect("three parts").0;
            let signed = tokens::signed_message(message, SIGNING_KEY);
            assert_eq!(secret, signed, "by HS256 with the key");
        }
    }
}

#[tokio::test]
async fn a_page_asks_for_an_agent_by_its_name_in_any_of_the_fields() {
    let folder = TempFolder::new("signed");
    let toml =
        "default = \"support\"\n[agents.support]\nmodel = \"m\"\n[agents.sales]\nmodel = \"m\"\n";
    let path = folder.write("agents.toml", toml);
    let server = TestServer::self_hosted(&[("CHATKIT_AGENTS", &path), ("CHATKIT_MODEL", "")]);
    for (body, expected) in [
        (json!({}), "support"),
        (json!({"workflow": null}), "support"),
        (json!({"workflow": "sales"}), "sales"),
        (json!({"workflow": "support"}), "support"),
        (json!({"workflow": {"id": "sales"}}), "sales"),
        (json!({"workflowId": "sales"}), "sales"),
    ] {
        let secret = secret(asked(&server, SESSION, "ada", &body)).await;
        assert_eq!(part(&secret, 1)["workflow"], expected, "{body}");
    }
    for body in [
        json!({"workflow": "other"}),
        json!({"workflow": {"id": "wf_1"}}),
        json!({"workflowId": "default"}),
    ] {
        let (status, answer) = answered(asked(&server, REFRESH, "ada", &body)).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (403, &json!("workflow_not_allowed")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_service_gets_a_secret_for_the_user_it_names() {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"cks_shop");
    let entry = format!("shop:{}", data_encoding::HEXLOWER.encode(digest.as_ref()));
    let server = TestServer::self_hosted(&[("SERVICE_TOKENS", &entry)]);
    let request = server.post(SESSION).bearer_auth("cks_shop").json(&json!({"user": "ada"}));
    assert_eq!(part(&secret(request).await, 1)["sub"], "ada");
}

#[tokio::test]
async fn a_client_secret_is_no_credential_for_sessions() {
    let server = TestServer::self_hosted(&[]);
    let held = secret(server.mint_as("ada")).await;
    for request in [server.post(SESSION), server.post(REFRESH), server.delete(SESSION)] {
        let (status, body) = answered(request.bearer_auth(&held)).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_token")));
    }
}

#[tokio::test]
async fn a_secret_says_itself_whose_it_is_so_another_replica_knows_without_a_registry() {
    let (here, there) = (TestServer::self_hosted(&[]), TestServer::self_hosted(&[]));
    let of_ada = secret(here.mint_as("ada")).await;
    assert_eq!(refreshed(&there, "eve", &of_ada).await, (403, json!("session_mismatch")));
    assert_eq!(refreshed(&there, "ada", &of_ada).await, (200, Value::Null));
}

#[tokio::test]
async fn a_current_secret_that_is_not_ours_or_has_ended_is_simply_unknown() {
    let server = TestServer::self_hosted(&[]);
    let claims = |exp: i64| {
        json!({
            "iss": "chatkit-server", "aud": "chatkit", "sub": "bob", "iat": exp - 600, "exp": exp,
            "jti": "00112233445566778899aabbccddeeff", "workflow": "default",
        })
    };
    let header = json!({"alg": "HS256", "typ": "chatkit-session+jwt"});
    let ended = tokens::signed_with(&header, &claims(tokens::now() - 1), SIGNING_KEY);
    let forged = tokens::signed_with(&header, &claims(tokens::now() + 60), "another key");
    for current in ["", "ek_1", "a.b.c", &ended, &forged] {
        assert_eq!(refreshed(&server, "ada", current).await, (200, Value::Null), "{current}");
    }
    let live = tokens::signed_with(&header, &claims(tokens::now() + 60), SIGNING_KEY);
    assert_eq!(refreshed(&server, "ada", &live).await, (403, json!("session_mismatch")));
}

#[tokio::test]
async fn while_the_key_is_changed_secrets_of_the_old_and_of_the_new_one_are_good() {
    let new = "n".repeat(40);
    let (both, gone) = (format!("{new},{SIGNING_KEY}"), [("CHATKIT_SIGNING_KEY", new.as_str())]);
    let overlap = [("CHATKIT_SIGNING_KEY", both.as_str())];
    let old = secret(TestServer::self_hosted(&[]).mint_as("ada")).await;
    let server = TestServer::self_hosted(&overlap);
    assert_eq!(
        refreshed(&server, "eve", &old).await,
        (403, json!("session_mismatch")),
        "the old one is known"
    );
    let fresh = secret(server.mint_as("ada")).await;
    for (secret, before, during, after) in [
        (&old, let_in("ada"), let_in("ada"), Err("invalid_token")),
        (&fresh, Err("invalid_token"), let_in("ada"), let_in("ada")),
    ] {
        assert_eq!(Replica::new(&[]).await.bearer(secret).await, before);
        assert_eq!(Replica::new(&overlap).await.bearer(secret).await, during);
        assert_eq!(Replica::new(&gone).await.bearer(secret).await, after);
    }
}
