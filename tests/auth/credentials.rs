//! Which credential decides? One does: what is there and bad is refused, with no falling back to
//! another.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::IntoResponse;
use chatkit_server::auth::{Answered, Asking, Caller, Error, Flaw, Rejection, new_service_token};
use chatkit_server::error;
use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Auth, COOKIE_KEY, Issuer, Key, NOW, SECRET, claims, headers_of, pem};

const OWN: (&str, &str) = ("origin", "https://shop.example");

fn everything(entry: &str) -> Auth {
    Auth::new(&[
        ("JWT_SECRET", SECRET),
        ("JWT_COOKIE", "session"),
        ("AUTH_ANONYMOUS", "on"),
        ("CHATKIT_COOKIE_KEY", COOKIE_KEY),
        ("SERVICE_TOKENS", entry),
    ])
}

fn name(answered: Result<Answered, Rejection>) -> Result<String, Error> {
    Ok(match answered.map_err(|rejection| rejection.error)?.caller {
        Caller::User { id, .. } => id.as_str().to_owned(),
        Caller::Visitor { .. } => "a visitor".to_owned(),
        Caller::Service { name } => format!("service {name}"),
    })
}

#[tokio::test]
async fn every_algorithm_lets_its_user_in() {
    let long = SECRET.repeat(2);
    let hmac = Auth::new(&[("JWT_SECRET", &long)]);
    let rsa = Auth::new(&[("JWT_PUBLIC_KEY", pem!("rsa2048.pkcs1"))]);
    let p256 = Auth::new(&[("JWT_PUBLIC_KEY", pem!("p256.spki"))]);
    let p384 = Auth::new(&[("JWT_PUBLIC_KEY", pem!("p384.spki"))]);
    let ed25519 = Auth::new(&[("JWT_PUBLIC_KEY", pem!("ed25519.spki"))]);
    use Algorithm as A;
    for algorithm in [A::HS256, A::HS384, A::HS512] {
        let token = Key::hmac(long.as_bytes()).with_algorithm(algorithm).sign(&claims());
        assert_eq!(hmac.user(&token).await, Ok("ada".into()), "{algorithm:?}");
    }
    for algorithm in [A::RS256, A::RS384, A::RS512, A::PS256, A::PS384, A::PS512] {
        let token = Key::rsa().with_algorithm(algorithm).sign(&claims());
        assert_eq!(rsa.user(&token).await, Ok("ada".into()), "{algorithm:?}");
    }
    for (auth, key) in [(p256, Key::p256()), (p384, Key::p384()), (ed25519, Key::ed25519())] {
        assert_eq!(auth.user(&key.sign(&claims())).await, Ok("ada".into()), "{:?}", key.algorithm);
    }
}

#[tokio::test]
async fn ed25519_goes_by_its_name_of_rfc_9864_as_well_as_by_the_older_one() {
    let key = Key::ed25519();
    let issuer = Issuer::start().await;
    let mut jwk = key.jwk();
    jwk["alg"] = json!("Ed25519");
    issuer.publish(&[jwk]);
    let pem = ("JWT_PUBLIC_KEY", pem!("ed25519.spki"));
    for vars in [
        &[pem][..],
        &[pem, ("JWT_ALGORITHMS", "Ed25519")],
        &[pem, ("JWT_ALGORITHMS", "RS256,EdDSA")],
        &[("JWKS_URL", issuer.jwks_url().as_str())],
    ] {
        let auth = Auth::new(vars);
        for name in ["Ed25519", "EdDSA"] {
            let token = key.sign_with(&json!({"alg": name, "kid": key.kid}), &claims());
            assert_eq!(auth.user(&token).await, Ok("ada".into()), "{name} with {vars:?}");
        }
        for name in ["ed25519", "Ed448", "ES256"] {
            let token = key.sign_with(&json!({"alg": name, "kid": key.kid}), &claims());
            assert!(auth.user(&token).await.is_err(), "{name} with {vars:?}");
        }
    }
}

#[tokio::test]
async fn a_date_is_a_number_and_never_a_text_of_one() {
    let auth = Auth::new(&[("JWT_SECRET", SECRET)]);
    let key = Key::hmac(SECRET.as_bytes());
    for (name, flaw) in [("exp", Flaw::Expiry), ("nbf", Flaw::TooEarly), ("iat", Flaw::TooEarly)] {
        let mut claims = claims();
        claims[name] = json!((NOW + if name == "exp" { 300 } else { 0 }).to_string());
        assert_eq!(auth.user(&key.sign(&claims)).await, Err(flaw.into()), "{name}");
    }
}

#[tokio::test]
async fn nobody_signs_in_by_the_name_of_a_visitor() {
    let auth = Auth::new(&[("JWT_SECRET", SECRET)]);
    let key = Key::hmac(SECRET.as_bytes());
    let token = |user: &str| key.sign(&json!({"sub": user, "exp": NOW + 60}));
    let visitor = "visitor_0123456789abcdef0123456789abcdef";
    assert_eq!(auth.user(&token(visitor)).await, Err(Flaw::User.into()));
    assert_eq!(auth.user(&token("visitor_7")).await, Ok("visitor_7".into()), "not of that form");
}

#[tokio::test]
async fn sources_of_keys_work_side_by_side() {
    let auth = Auth::new(&[("JWT_SECRET", SECRET), ("JWT_PUBLIC_KEY", pem!("rsa2048.spki"))]);
    for key in [Key::hmac(SECRET.as_bytes()), Key::rsa()] {
        assert_eq!(auth.user(&key.sign(&claims())).await, Ok("ada".into()));
    }
}

#[tokio::test]
async fn the_claims_come_along_and_debug_does_not_show_them() {
    let auth = Auth::new(&[("JWT_SECRET", SECRET), ("JWT_USER_CLAIM", "uid")]);
    let token = Key::hmac(SECRET.as_bytes())
        .sign(&json!({"uid": 42, "plan": "canary-plan", "exp": NOW + 60}));
    let answered = auth.ask(&[("authorization", &format!("Bearer {token}"))]).await.unwrap();
    assert!(!format!("{answered:?}").contains("canary"), "{answered:?}");
    let Caller::User { id, claims } = answered.caller else { panic!("a user") };
    assert_eq!((id.as_str(), &claims["plan"]), ("42", &json!("canary-plan")));
}

#[tokio::test]
async fn no_credential_is_missing_token_unless_visitors_are_welcome() {
    let auth = Auth::new(&[("JWT_SECRET", SECRET), ("JWT_COOKIE", "session")]);
    for headers in [&[][..], &[("cookie", "other=1")], &[("cookie", "chatkit_visitor=v1.x.1.ab")]] {
        assert_eq!(name(auth.ask(headers).await), Err(Error::Missing), "{headers:?}");
    }
}

#[tokio::test]
async fn a_header_wins_over_cookies_and_a_token_cookie_over_a_visitors() {
    let (service, entry) = new_service_token("shop").unwrap();
    let auth = everything(&entry);
    let key = Key::hmac(SECRET.as_bytes());
    let bearer = format!("Bearer {}", key.sign(&json!({"sub": "header", "exp": NOW + 60})));
    let session = format!("session={}", key.sign(&json!({"sub": "cookie", "exp": NOW + 60})));
    let header = ("authorization", bearer.as_str());
    let cookie = ("cookie", session.as_str());
    assert_eq!(name(auth.ask(&[header, cookie, OWN]).await), Ok("header".into()));
    assert_eq!(name(auth.ask(&[header]).await), Ok("header".into()), "a header needs no Origin");
    assert_eq!(name(auth.ask(&[cookie, OWN]).await), Ok("cookie".into()));
    assert_eq!(
        name(auth.ask(&[cookie, ("cookie", "chatkit_visitor=bad"), OWN]).await),
        Ok("cookie".into())
    );
    assert_eq!(name(auth.ask(&[]).await), Ok("a visitor".into()));
    let service = format!("bearer {service}");
    assert_eq!(
        name(auth.ask(&[("authorization", &service), cookie]).await),
        Ok("service shop".into())
    );
}

#[tokio::test]
async fn a_bad_credential_is_refused_although_a_good_one_stands_behind_it() {
    let (_, entry) = new_service_token("shop").unwrap();
    let auth = everything(&entry);
    let good = Key::hmac(SECRET.as_bytes()).sign(&claims());
    let bearer = format!("Bearer {good}");
    let session = format!("session={good}");
    let cookie = ("cookie", session.as_str());
    for (value, flaw) in [
        ("", Flaw::NotBearer),
        ("Basic YTpi", Flaw::NotBearer),
        ("Bearer", Flaw::NotBearer),
        ("Bearer a b", Flaw::NotBearer),
        ("Bearer nonsense", Flaw::NotThreeParts),
        ("Bearer cks_unknown", Flaw::Service),
    ] {
        assert_eq!(
            name(auth.ask(&[("authorization", value), cookie, OWN]).await),
            Err(flaw.into()),
            "{value:?}"
        );
    }
    let twice =
        [("authorization", bearer.as_str()), ("authorization", bearer.as_str()), cookie, OWN];
    assert_eq!(
        name(auth.ask(&twice).await),
        Err(Flaw::SeveralHeaders.into()),
        "two headers, both good"
    );
    let cookies = format!("{session}; {session}");
    assert_eq!(
        name(auth.ask(&[("cookie", &cookies), OWN]).await),
        Err(Flaw::SeveralCookies.into())
    );
    for value in ["session=", "session=nonsense"] {
        assert_eq!(
            name(auth.ask(&[("cookie", value), OWN]).await),
            Err(Flaw::NotThreeParts.into()),
            "{value:?}"
        );
    }
}

#[tokio::test]
async fn a_service_is_known_at_once_by_its_valid_token_alone() {
    let (token, entry) = new_service_token("shop").unwrap();
    let auth = Auth::new(&[("SERVICE_TOKENS", &entry)]);
    let service = |headers: &[(&str, &str)]| {
        auth.inner.service(&headers_of(headers)).map(|name| name.to_string())
    };
    let bearer = format!("Bearer {token}");
    let header = ("authorization", bearer.as_str());
    assert_eq!(service(&[header]), Some("shop".into()));
    assert_eq!(service(&[header, header]), None, "two headers");
    assert_eq!(service(&[]), None);
    assert_eq!(service(&[("authorization", &format!("{bearer}0"))]), None, "a longer token");
    assert_eq!(service(&[("authorization", &bearer[..bearer.len() - 1])]), None, "a shorter one");
    assert_eq!(service(&[("cookie", &format!("session={token}"))]), None, "not from a cookie");
}

#[tokio::test]
async fn refusals_become_the_documented_statuses_and_codes() {
    let (_, entry) = new_service_token("shop").unwrap();
    let auth = everything(&entry);
    let key = Key::hmac(SECRET.as_bytes());
    let expired = format!("Bearer {}", key.sign(&json!({"sub": "ada", "exp": 1})));
    let session = format!("session={}", key.sign(&claims()));
    for (headers, status, code) in [
        (("authorization", expired.as_str()), 401, "expired_token"),
        (("authorization", "Bearer canary"), 401, "invalid_token"),
        (("cookie", session.as_str()), 403, "origin_not_allowed"),
    ] {
        let rejection = auth.ask(&[headers]).await.unwrap_err();
        let error = error::Error::from(rejection);
        assert_eq!(error.kind().parts().2, code);
        assert!(
            !format!("{error:?}").contains("canary"),
            "the credential is not repeated: {error:?}"
        );
        assert_eq!(error.into_response().status(), status, "{code}");
    }
}

proptest! {
    #[test]
    fn any_headers_are_answered_without_a_panic_and_prove_nothing(
        lines in proptest::collection::vec((0..6_usize, proptest::collection::vec(any::<u8>(), 0..60)), 0..6),
    ) {
        const PREFIXES: [(&str, &str); 6] = [
            ("authorization", ""),
            ("authorization", "Bearer "),
            ("cookie", "session="),
            ("cookie", "chatkit_visitor=v1."),
            ("origin", "https://"),
            ("host", ""),
        ];
        let mut headers = HeaderMap::new();
        for (kind, bytes) in lines {
            let (name, prefix) = PREFIXES[kind];
            if let Ok(value) = HeaderValue::from_bytes(&[prefix.as_bytes(), &bytes].concat()) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        let auth = everything(&format!("shop:{}", "ab".repeat(32)));
        let allowed_origin = |_: &str| true;
        let asking = Asking {
            headers: &headers,
            client_is_loopback: false,
            https: true,
            allowed_origin: &allowed_origin,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answered = runtime.block_on(auth.inner.authenticate(&asking));
        if let Ok(answered) = answered {
            prop_assert!(matches!(answered.caller, Caller::Visitor { .. }), "{:?}", answered);
            prop_assert!(!headers.contains_key("authorization"), "a bad header is never passed over");
        }
    }
}
