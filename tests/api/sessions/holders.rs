//! Who may chat: each credential, and each attack on the secrets that are signed here.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use chatkit_server::auth::ClientSecrets;
use chatkit_server::clock::TestClock;
use chatkit_server::config::env::Secret;
use chatkit_server::sessions::{create_session, refresh_session, revoke_sessions};
use chatkit_server::telemetry::request::RequestContext;
use chatkit_server::user::UserId;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

use super::chat_door::Replica;
use super::fixture::{body, user};
use crate::process::TempFolder;
use crate::support::server::{JWT_SECRET, SIGNING_KEY};
use crate::support::tokens::{hs256, now, signed_with};

const TYP: &str = "chatkit-session+jwt";

fn header() -> Value {
    json!({"alg": "HS256", "typ": TYP})
}

fn claims() -> Value {
    json!({
        "iss": "chatkit-server", "aud": "chatkit", "sub": "ada", "iat": now(), "exp": now() + 600,
        "jti": "00112233445566778899aabbccddeeff", "workflow": "default",
    })
}

fn with(mut json: Value, name: &str, value: Value) -> Value {
    json[name] = value;
    json
}

fn without(mut json: Value, name: &str) -> Value {
    json.as_object_mut().unwrap().remove(name);
    json
}

fn holder(user: &str) -> Result<(String, String), &'static str> {
    Ok((user.to_owned(), "default".to_owned()))
}

#[tokio::test]
async fn a_client_secret_names_user_and_workflow_and_a_users_own_token_gets_the_default_one() {
    let folder = TempFolder::new("holders");
    let toml =
        "default = \"default\"\n[agents.default]\nmodel = \"m\"\n[agents.sales]\nmodel = \"m\"\n";
    let path = folder.write("agents.toml", toml);
    let replica = Replica::new(&[("CHATKIT_AGENTS", &path)]).await;
    let sales = signed_with(&header(), &with(claims(), "workflow", json!("sales")), SIGNING_KEY);
    assert_eq!(replica.bearer(&sales).await, Ok(("ada".to_owned(), "sales".to_owned())));
    assert_eq!(replica.bearer(&hs256("bob")).await, holder("bob"));
    assert_eq!(replica.ask(&[]).await.unwrap_err().kind().parts().2, "missing_token");
}

#[tokio::test]
async fn a_visitor_may_chat_and_is_known_again() {
    let key = "k".repeat(32);
    let replica = Replica::new(&[("AUTH_ANONYMOUS", "on"), ("CHATKIT_COOKIE_KEY", &key)]).await;
    let new = replica.ask(&[]).await.unwrap();
    assert!(new.user.as_str().starts_with("visitor_"), "{new:?}");
    assert_eq!(new.workflow, "default");
    let signed = format!("v1.visitor_1.{}", now() + 600);
    let mac = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()),
        format!("chatkit_visitor\n{signed}").as_bytes(),
    );
    let cookie = format!("chatkit_visitor={signed}.{}", HEXLOWER.encode(mac.as_ref()));
    let known =
        replica.ask(&[("cookie", &cookie), ("sec-fetch-site", "same-origin")]).await.unwrap();
    assert_eq!(known.user.as_str(), "visitor_1");
    let foreign = replica.ask(&[("cookie", &cookie), ("origin", "https://evil.example")]).await;
    assert_eq!(foreign.unwrap_err().kind().parts().2, "origin_not_allowed");
}

#[tokio::test]
async fn a_service_token_does_not_chat() {
    let token = "cks_test";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let entry = format!("shop:{}", HEXLOWER.encode(digest.as_ref()));
    let replica = Replica::new(&[("SERVICE_TOKENS", &entry)]).await;
    assert_eq!(replica.bearer("cks_nobody").await, Err("invalid_token"));
    let (status, code, _, challenge) = replica.refusal(token).await;
    assert_eq!((status, code), (403, "insufficient_scope"));
    assert!(
        challenge.starts_with(r#"Bearer realm="chatkit", error="insufficient_scope""#),
        "{challenge}"
    );
}

#[tokio::test]
async fn what_says_it_is_a_client_secret_is_a_good_one_or_is_refused() {
    let replica = Replica::new(&[]).await;
    let sign = |header: &Value, claims: &Value| signed_with(header, claims, SIGNING_KEY);
    let good = sign(&header(), &claims());
    assert_eq!(replica.bearer(&good).await, holder("ada"));
    for typ in ["CHATKIT-Session+JWT", "application/chatkit-session+jwt"] {
        assert_eq!(
            replica.bearer(&sign(&with(header(), "typ", json!(typ)), &claims())).await,
            holder("ada")
        );
    }
    let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
    let signature = good.rsplit('.').next().unwrap();
    let eve = with(claims(), "sub", json!("eve"));
    let hs512 = {
        let message =
            format!("{}.{}", part(&with(header(), "alg", json!("HS512"))), part(&claims()));
        let mac = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA512, SIGNING_KEY.as_bytes()),
            message.as_bytes(),
        );
        format!("{message}.{}", BASE64URL_NOPAD.encode(mac.as_ref()))
    };
    let mut bad = vec![
        ("another payload", format!("{}.{}.{signature}", part(&header()), part(&eve))),
        ("no signature", format!("{}.{}.", part(&header()), part(&claims()))),
        ("HS512", hs512),
        ("the users' key", signed_with(&header(), &claims(), JWT_SECRET)),
        ("the empty key", signed_with(&header(), &claims(), "")),
        ("four parts", format!("{good}.{signature}")),
        ("too long", sign(&header(), &with(claims(), "more", json!("x".repeat(16 * 1024))))),
        ("crit", sign(&with(header(), "crit", json!(["exp"])), &claims())),
        ("zip", sign(&with(header(), "zip", json!("DEF")), &claims())),
        ("nested", sign(&with(header(), "cty", json!("JWT")), &claims())),
    ];
    for alg in ["none", "None", "RS256", "hs256", ""] {
        bad.push(("another alg", sign(&with(header(), "alg", json!(alg)), &claims())));
    }
    for (name, value) in [
        ("iss", json!("chatkit")),
        ("aud", json!("other")),
        ("aud", json!(["chatkit"])),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("a\nb")),
        ("exp", json!("soon")),
        ("exp", json!(-1)),
        ("jti", json!(7)),
        ("workflow", json!("gone")),
        ("workflow", json!(null)),
    ] {
        bad.push((name, sign(&header(), &with(claims(), name, value))));
    }
    for name in ["iss", "aud", "sub", "iat", "exp", "jti", "workflow"] {
        bad.push((name, sign(&header(), &without(claims(), name))));
    }
    for (what, token) in bad {
        let (status, code, log, challenge) = replica.refusal(&token).await;
        assert_eq!((status, code), (401, "invalid_token"), "{what}: {log}");
        assert!(
            log.starts_with("invalid_token: a client secret: "),
            "{what} is not tried as anything else: {log}"
        );
        assert!(challenge.contains(r#"error="invalid_token""#), "{what}: {challenge}");
    }
}

#[tokio::test]
async fn what_does_not_say_so_is_no_client_secret_even_when_our_key_signed_it() {
    let replica = Replica::new(&[]).await;
    for header in [json!({"alg": "HS256", "typ": "JWT"}), json!({"alg": "HS256"})] {
        let (status, code, log, _) =
            replica.refusal(&signed_with(&header, &claims(), SIGNING_KEY)).await;
        assert_eq!((status, code), (401, "invalid_token"));
        assert!(log.ends_with("the token's signature fits none of the keys"), "{log}");
    }
    let logout = signed_with(&with(header(), "typ", json!("logout+jwt")), &claims(), SIGNING_KEY);
    assert_eq!(replica.bearer(&logout).await, Err("invalid_token"));
}

#[tokio::test]
async fn a_client_secret_counts_as_a_bearer_token_alone_and_nothing_makes_up_for_a_bad_one() {
    let replica = Replica::new(&[("JWT_COOKIE", "sid")]).await;
    let code = async |headers: &[(&str, &str)]| {
        replica
            .ask(headers)
            .await
            .map_err(|error| error.kind().parts().2)
            .map(|holder| holder.workflow)
    };
    let good = signed_with(&header(), &claims(), SIGNING_KEY);
    let bearer = format!("Bearer {good}");
    assert_eq!(
        code(&[("authorization", &bearer), ("authorization", &bearer)]).await,
        Err("invalid_token")
    );
    let here = ("sec-fetch-site", "same-origin");
    assert_eq!(code(&[("cookie", &format!("sid={good}")), here]).await, Err("invalid_token"));
    let cookie = format!("sid={}", hs256("ada"));
    assert_eq!(code(&[("cookie", &cookie), here]).await, Ok("default".to_owned()));
    let forged = format!("Bearer {}", signed_with(&header(), &claims(), JWT_SECRET));
    assert_eq!(
        code(&[("authorization", &forged), ("cookie", &cookie), here]).await,
        Err("invalid_token")
    );
}

#[tokio::test]
async fn a_client_secret_ends_on_the_second_without_any_leeway() {
    let clock = Arc::new(TestClock::at(1_800_000_000));
    let replica = Replica::at(&[], Arc::<TestClock>::clone(&clock)).await;
    let keys = [Secret::new(SIGNING_KEY)];
    let secrets = ClientSecrets::new(&keys, Arc::<TestClock>::clone(&clock));
    let secret = secrets.sign(&UserId::parse("ada").unwrap(), "default", 60, 0).unwrap().token;
    clock.advance(Duration::from_secs(59));
    assert_eq!(replica.bearer(&secret).await, holder("ada"));
    clock.advance(Duration::from_secs(1));
    let (status, code, _, challenge) = replica.refusal(&secret).await;
    assert_eq!((status, code), (401, "expired_token"));
    assert!(challenge.contains("expired"), "{challenge}");
}

#[tokio::test]
async fn the_limit_by_user_holds_for_whoever_chats() {
    let replica =
        Replica::new(&[("RATE_LIMIT_USER_BURST", "3"), ("RATE_LIMIT_USER_PER_MINUTE", "1")]).await;
    let secret = signed_with(&header(), &claims(), SIGNING_KEY);
    assert_eq!(replica.count(&secret, 5).await, 3);
    assert_eq!(replica.count(&hs256("ada"), 1).await, 0, "the same user with another credential");
    assert_eq!(replica.count(&hs256("bob"), 1).await, 1);
}

#[tokio::test]
async fn what_is_revoked_in_this_process_is_refused_here_at_once() {
    let replica = Replica::new(&[]).await;
    let (sessions, context, ada) = (replica.sessions(), RequestContext::default(), user("ada"));
    let mint = async || {
        let minted = create_session(&sessions, &ada, body("{}"), &context).await.unwrap();
        minted.expose().to_owned()
    };
    let (first, second) = (mint().await, mint().await);
    let current = format!(r#"{{"currentClientSecret":"{first}"}}"#);
    let third = refresh_session(&sessions, &ada, body(&current), &context).await.unwrap();
    assert_eq!(replica.bearer(&first).await, Err("invalid_token"), "it was replaced");
    for secret in [&second, third.expose()] {
        assert_eq!(replica.bearer(secret).await, holder("ada"));
    }
    revoke_sessions(&sessions, &ada, &context).await.unwrap();
    for secret in [&second, third.expose()] {
        assert_eq!(replica.bearer(secret).await, Err("invalid_token"));
    }
    assert_eq!(replica.bearer(&mint().await).await, holder("ada"));
}
