//! How are keys fetched? Rotation, cool-down, one flight at a time, and issuers that are down, slow
//! or hostile.

use std::time::Duration;

use axum::response::IntoResponse;
use chatkit_server::auth::{Error, Flaw, Timing};
use chatkit_server::error;
use chatkit_server::telemetry::metrics::render;
use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{Auth, Issuer, Key, claims, pem, timing};

const TICK: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(20);

fn ada() -> Result<String, Error> {
    Ok("ada".into())
}

fn wrong() -> Result<String, Error> {
    Err(Flaw::Signature.into())
}

async fn from(issuer: &Issuer) -> Auth {
    from_timed(issuer, &timing()).await
}

/// An authenticator that has the issuer's first keys.
async fn from_timed(issuer: &Issuer, timing: &Timing) -> Auth {
    let auth = Auth::timed(&[("JWKS_URL", &issuer.jwks_url())], timing);
    assert!(auth.inner.first_keys(LONG).await[0].1.is_ok(), "there are keys");
    auth
}

/// Why there are no keys, and that nobody is let in meanwhile.
pub(crate) async fn no_keys(vars: &[(&str, &str)]) -> String {
    let auth = Auth::timed(vars, &timing());
    let mut claims = claims();
    claims["iss"] = json!(vars[0].1);
    let refused = auth.user(&Key::p256().sign(&claims)).await;
    assert!(matches!(refused, Err(Error::NoKeys(_))), "{refused:?}");
    assert!(auth.inner.not_ready().is_some());
    auth.inner.first_keys(Duration::ZERO).await.remove(0).1.unwrap_err()
}

#[tokio::test]
async fn a_new_key_is_known_as_soon_as_a_token_names_it() {
    let issuer = Issuer::start().await;
    let (old, new) = (Key::fresh("old"), Key::fresh("new"));
    issuer.publish(&[old.jwk()]);
    let auth = from(&issuer).await;
    assert_eq!(auth.user(&old.sign(&claims())).await, ada());
    issuer.publish(&[new.jwk()]);
    assert_eq!(auth.user(&new.sign(&claims())).await, ada());
    assert_eq!(auth.user(&old.sign(&claims())).await, wrong(), "the old one is gone");
    assert_eq!(issuer.count("/jwks"), 2);
}

#[tokio::test]
async fn a_known_key_and_a_bad_signature_fetch_nothing() {
    let issuer = Issuer::start().await;
    issuer.publish(&[Key::p256().jwk()]);
    let auth = from(&issuer).await;
    for _ in 0..20 {
        assert_eq!(auth.user(&Key::p256().sign(&claims())).await, ada());
        assert_eq!(auth.user(&Key::fresh("p256").sign(&claims())).await, wrong());
    }
    assert_eq!(issuer.count("/jwks"), 1);
}

#[tokio::test]
async fn made_up_key_names_cause_one_fetch_in_the_cool_down() {
    let issuer = Issuer::start().await;
    issuer.publish(&[Key::p256().jwk()]);
    let auth = from(&issuer).await;
    let forger = Key::fresh("forger");
    for n in 0..50 {
        let token =
            forger.sign_with(&json!({"alg": "ES256", "kid": format!("made-up-{n}")}), &claims());
        assert_eq!(auth.user(&token).await, wrong());
    }
    assert_eq!(issuer.count("/jwks"), 2, "the first and one for all of them");
}

#[tokio::test]
async fn the_cool_down_also_follows_a_fetch_that_failed_and_the_old_keys_stay() {
    let issuer = Issuer::start().await;
    let key = Key::p256();
    issuer.publish(&[key.jwk()]);
    let auth = from(&issuer).await;
    issuer.set("/jwks", 500, &[], "down");
    for _ in 0..20 {
        assert_eq!(auth.user(&Key::fresh("unknown").sign(&claims())).await, wrong());
        assert_eq!(auth.user(&key.sign(&claims())).await, ada(), "the old keys stay");
    }
    assert_eq!(issuer.count("/jwks"), 2);
    assert_eq!(auth.inner.not_ready(), None);
}

#[tokio::test]
async fn a_set_without_a_usable_key_is_no_set_the_old_keys_stay_and_it_is_soon_tried_again() {
    let issuer = Issuer::start().await;
    let (key, new) = (Key::p256(), Key::fresh("new"));
    issuer.publish(&[key.jwk()]);
    let retries = Timing { retry_bounds: (TICK, TICK), ..timing() };
    let auth = from_timed(&issuer, &retries).await;
    issuer.publish(&[json!({"kty": "oct", "kid": "p256", "k": "c2VjcmV0"})]);
    assert_eq!(auth.user(&new.sign(&claims())).await, wrong(), "it makes us fetch");
    issuer.asked("/jwks", 4).await;
    assert_eq!(auth.user(&key.sign(&claims())).await, ada(), "the old keys stay");
    assert_eq!(auth.inner.not_ready(), None);
    issuer.publish(&[new.jwk()]);
    let asked = issuer.count("/jwks");
    issuer.asked("/jwks", asked + 1).await;
    assert_eq!(auth.user(&new.sign(&claims())).await, ada());
}

#[tokio::test]
async fn after_the_cool_down_an_unknown_key_is_asked_for_again() {
    let issuer = Issuer::start().await;
    issuer.publish(&[Key::p256().jwk()]);
    let auth = from_timed(&issuer, &Timing { cool_down: Duration::ZERO, ..timing() }).await;
    for times in 2..10 {
        assert_eq!(auth.user(&Key::fresh("unknown").sign(&claims())).await, wrong());
        assert_eq!(issuer.count("/jwks"), times);
    }
}

#[tokio::test]
async fn fifty_requests_that_wait_for_a_new_key_share_one_fetch() {
    let issuer = Issuer::start().await;
    issuer.publish(&[Key::p256().jwk()]);
    let auth = from_timed(&issuer, &Timing { cool_down: Duration::ZERO, ..timing() }).await;
    let new = Key::fresh("new");
    issuer.publish(&[new.jwk()]);
    issuer.hold();
    let token = new.sign(&claims());
    let release = async {
        issuer.asked("/jwks", 2).await;
        issuer.release();
    };
    let (users, ()) = tokio::join!(join_all((0..50).map(|_| auth.user(&token))), release);
    assert!(users.iter().all(|user| *user == ada()), "{users:?}");
    assert_eq!(issuer.count("/jwks"), 2);
}

#[tokio::test]
async fn a_fetch_that_is_under_way_holds_up_nobody_whose_key_is_known() {
    let issuer = Issuer::start().await;
    let key = Key::p256();
    issuer.publish(&[key.jwk()]);
    let auth = from(&issuer).await;
    issuer.hold();
    let unknown = Key::fresh("unknown").sign(&claims());
    let others = async {
        issuer.asked("/jwks", 2).await;
        for _ in 0..20 {
            assert_eq!(auth.user(&key.sign(&claims())).await, ada());
        }
        issuer.release();
    };
    let (waited, ()) = tokio::join!(auth.user(&unknown), others);
    assert_eq!(waited, wrong());
}

#[tokio::test]
async fn a_request_does_not_wait_for_ever_for_an_unknown_key() {
    let issuer = Issuer::start().await;
    issuer.publish(&[Key::p256().jwk()]);
    let auth = from_timed(&issuer, &Timing { next_answer: TICK, ..timing() }).await;
    issuer.hold();
    let refused = auth.user(&Key::fresh("unknown").sign(&claims())).await.unwrap_err();
    assert!(matches!(refused, Error::SlowIssuer(_)), "{refused:?}");
    assert_eq!(error::Error::from(refused).kind().parts().2, "upstream_unavailable");
}

#[tokio::test]
async fn a_request_waits_a_little_for_the_very_first_keys() {
    let issuer = Issuer::start().await;
    issuer.publish(&[Key::p256().jwk()]);
    issuer.hold();
    let token = Key::p256().sign(&claims());
    let hasty = Auth::timed(
        &[("JWKS_URL", &issuer.jwks_url())],
        &Timing { first_answer: TICK, ..timing() },
    );
    assert!(matches!(hasty.user(&token).await, Err(Error::NoKeys(_))), "never for long");
    let patient = Auth::new(&[("JWKS_URL", &issuer.jwks_url())]);
    let release = async {
        issuer.asked("/jwks", 2).await;
        issuer.release();
    };
    let (user, ()) = tokio::join!(patient.user(&token), release);
    assert_eq!(user, ada());
}

#[tokio::test]
async fn without_keys_nobody_can_be_checked_until_the_issuer_is_back() {
    let issuer = Issuer::start().await;
    issuer.set("/jwks", 503, &[], "");
    let url = issuer.jwks_url();
    let auth =
        Auth::timed(&[("JWKS_URL", &url)], &Timing { retry_bounds: (TICK, TICK), ..timing() });
    let token = Key::p256().sign(&claims());
    let refused = auth.user(&token).await.unwrap_err();
    assert_eq!(refused, Error::NoKeys(issuer.url.as_str().into()));
    let answer = error::Error::from(refused);
    assert_eq!(answer.kind().parts().2, "upstream_unavailable");
    let answer = answer.into_response();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()),
        (503, "1")
    );
    assert_eq!(auth.inner.not_ready(), Some(format!("no keys from {} yet", issuer.url)));
    assert_eq!(
        auth.user("nonsense").await,
        Err(Flaw::NotThreeParts.into()),
        "what needs no key is still said"
    );
    issuer.asked("/jwks", 4).await;
    issuer.publish(&[Key::p256().jwk()]);
    assert_eq!(auth.inner.first_keys(LONG).await[0].1, Ok(1));
    assert_eq!(auth.user(&token).await, ada());
    assert_eq!(auth.inner.not_ready(), None);
}

#[tokio::test]
async fn a_secret_or_a_pem_works_while_the_jwks_is_away() {
    let issuer = Issuer::start().await;
    let auth =
        Auth::new(&[("JWKS_URL", &issuer.jwks_url()), ("JWT_PUBLIC_KEY", pem!("p256.spki"))]);
    assert_eq!(auth.user(&Key::p256().sign(&claims())).await, ada());
    assert!(matches!(auth.user(&Key::rsa().sign(&claims())).await, Err(Error::NoKeys(_))));
}

#[tokio::test]
async fn keys_are_refreshed_as_often_as_the_issuer_says_within_bounds() {
    let issuer = Issuer::start().await;
    let body = json!({"keys": [Key::p256().jwk()]}).to_string();
    issuer.set("/jwks", 200, &[("cache-control", "public, max-age=0")], &body);
    let hour = timing().refresh;
    let auth = from_timed(&issuer, &Timing { refresh_bounds: (TICK, hour), ..timing() }).await;
    issuer.asked("/jwks", 4).await;
    assert_eq!(auth.user(&Key::p256().sign(&claims())).await, ada());
    let silent = Issuer::start().await;
    silent.set("/jwks", 200, &[], &body);
    let _auth = from_timed(&silent, &Timing { refresh: TICK, ..timing() }).await;
    silent.asked("/jwks", 4).await;
}

#[tokio::test]
async fn a_token_without_a_key_name_is_checked_against_the_keys_that_fit() {
    let issuer = Issuer::start().await;
    issuer.publish(&[
        Key::rsa().jwk(),
        Key::p384().jwk(),
        Key::fresh("other").jwk(),
        Key::p256().jwk(),
    ]);
    let auth = from(&issuer).await;
    for key in [Key::rsa(), Key::p384(), Key::p256(), Key::rsa().with_algorithm(Algorithm::PS384)] {
        let token = key.sign_with(&json!({"alg": key.algorithm}), &claims());
        assert_eq!(auth.user(&token).await, ada(), "{}", key.kid);
    }
    let forged = Key::fresh("x").sign_with(&json!({"alg": "ES256"}), &claims());
    assert_eq!(auth.user(&forged).await, wrong());
    assert_eq!(issuer.count("/jwks"), 1);
}

#[tokio::test]
async fn a_token_without_a_key_name_makes_us_try_sixteen_keys_and_no_more() {
    let issuer = Issuer::start().await;
    let mut keys: Vec<_> = (0..16).map(|_| Key::fresh("other").jwk()).collect();
    keys.push(Key::p256().jwk());
    issuer.publish(&keys);
    let auth = from(&issuer).await;
    let nameless = Key::p256().sign_with(&json!({"alg": "ES256"}), &claims());
    assert_eq!(auth.user(&nameless).await, wrong());
    assert_eq!(auth.user(&Key::p256().sign(&claims())).await, ada(), "by its name it is found");
}

#[tokio::test]
async fn keys_for_another_purpose_are_ignored() {
    let with = |name: &str, value: Value| {
        let mut jwk = Key::p256().jwk();
        jwk[name] = value;
        jwk
    };
    for (jwk, counts) in [
        (with("use", json!("sig")), true),
        (with("use", json!("enc")), false),
        (with("key_ops", json!(["sign", "verify"])), true),
        (with("key_ops", json!(["sign"])), false),
        (with("key_ops", json!([])), false),
        (with("alg", json!("ES256")), true),
        (with("alg", json!("ES384")), false),
        (with("alg", json!("ECDH-ES")), false),
        (with("kty", json!("RSA")), false),
        (with("crv", json!("P-384")), false),
        (with("x", json!("AAAA")), false),
        (with("kid", json!(1)), false),
        (json!("no key"), false),
    ] {
        let issuer = Issuer::start().await;
        issuer.publish(&[jwk.clone(), Key::rsa().jwk()]);
        let auth = from(&issuer).await;
        let expected = if counts { ada() } else { wrong() };
        assert_eq!(auth.user(&Key::p256().sign(&claims())).await, expected, "{jwk}");
        assert_eq!(auth.user(&Key::rsa().sign(&claims())).await, ada(), "beside {jwk}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_on_the_same_host_alone_and_not_for_ever() {
    let (issuer, other) = (Issuer::start().await, Issuer::start().await);
    let moved = format!("{}/moved", issuer.url);
    issuer.set("/jwks", 302, &[("location", "/moved")], "");
    issuer.set("/moved", 200, &[], &json!({"keys": [Key::p256().jwk()]}).to_string());
    assert_eq!(from(&issuer).await.user(&Key::p256().sign(&claims())).await, ada());
    other.publish(&[Key::p256().jwk()]);
    issuer.set("/moved", 302, &[("location", &other.jwks_url())], "");
    let url = issuer.jwks_url();
    assert_eq!(no_keys(&[("JWKS_URL", &url)]).await, "it answered with status 302 Found");
    assert_eq!(other.count("/jwks"), 0, "another port is another host");
    issuer.set("/moved", 302, &[("location", &moved)], "");
    let before = issuer.count("/moved");
    assert_eq!(no_keys(&[("JWKS_URL", &url)]).await, "it answered with status 302 Found");
    assert_eq!(issuer.count("/moved") - before, 3, "three redirects");
}

#[tokio::test]
async fn an_answer_that_is_no_jwks_gives_no_keys() {
    let issuer = Issuer::start().await;
    let url = issuer.jwks_url();
    let padding = " ".repeat(1024 * 1024);
    let big = format!("{{\"keys\": [{}]{padding}}}", Key::p256().jwk());
    for (status, body, expected) in [
        (404, "", "it answered with status 404 Not Found"),
        (204, "", "it answered with status 204 No Content"),
        (200, "<html>", "its answer is not a JWKS"),
        (200, r#"{"keys": 1}"#, "its answer is not a JWKS"),
        (200, r#"{"keys": []}"#, "its JWKS lists no keys"),
        (
            200,
            r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}, 1]}"#,
            "none of the keys in its JWKS can be used",
        ),
        (200, big.as_str(), "its answer is larger than 1 MiB"),
    ] {
        issuer.set("/jwks", status, &[], body);
        assert_eq!(no_keys(&[("JWKS_URL", &url)]).await, expected);
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_or_hangs_gives_no_keys() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = format!("http://{gone}/jwks");
    let cause = no_keys(&[("JWKS_URL", &gone)]).await;
    assert!(cause.starts_with("it could not be reached: "), "{cause}");
    let issuer = Issuer::start().await;
    issuer.hold();
    let timing = Timing { request: Duration::from_millis(50), ..timing() };
    let auth = Auth::timed(&[("JWKS_URL", &issuer.jwks_url())], &timing);
    assert!(matches!(auth.user(&Key::p256().sign(&claims())).await, Err(Error::NoKeys(_))));
    let found = auth.inner.first_keys(Duration::ZERO).await.remove(0);
    assert_eq!(found.1, Err("it could not be reached: it took too long".into()));
}

#[tokio::test]
async fn the_age_of_the_keys_is_measured_by_host() {
    let issuer = Issuer::start().await;
    issuer.publish(&[Key::p256().jwk()]);
    let auth = from(&issuer).await;
    auth.inner.observe();
    let host = issuer.url.strip_prefix("http://").unwrap();
    let text = render(&auth.registry);
    assert!(text.lines().any(|line| line.contains("jwks_age") && line.contains(host)), "{text}");
}

#[tokio::test]
async fn the_tasks_end_when_told_to_whether_they_fetch_or_wait() {
    let issuer = Issuer::start().await;
    issuer.publish(&[Key::p256().jwk()]);
    from(&issuer).await.stop().await;
    issuer.hold();
    let auth = Auth::new(&[("JWKS_URL", &issuer.jwks_url())]);
    issuer.asked("/jwks", 2).await;
    auth.stop().await;
}
