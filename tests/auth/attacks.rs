//! Each attack of RFC 8725, and its relatives, with a token of its own.

use chatkit_server::auth::{Error, Flaw};
use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{Auth, Issuer, Key, NOW, SECRET, claims, encode, pem};

pub(crate) fn with_secret() -> Auth {
    Auth::new(&[("JWT_SECRET", SECRET)])
}

fn with_rsa() -> Auth {
    Auth::new(&[("JWT_PUBLIC_KEY", pem!("rsa2048.spki"))])
}

pub(crate) async fn refused(auth: &Auth, token: &str) -> Flaw {
    match auth.user(token).await {
        Err(Error::Invalid(flaw)) => flaw,
        other => panic!("{token} is not refused as invalid: {other:?}"),
    }
}

/// Puts another header in front of a token, and leaves payload and signature.
fn reheaded(token: &str, header: &Value) -> String {
    format!("{}.{}", encode(header), token.split_once('.').unwrap().1)
}

#[tokio::test]
async fn alg_none_is_refused_in_every_spelling_with_and_without_a_signature() {
    for auth in [with_secret(), with_rsa()] {
        for name in ["none", "None", "NONE", "nOnE", "none ", ""] {
            let header = json!({"alg": name, "typ": "JWT"});
            let unsigned = format!("{}.{}.", encode(&header), encode(&claims()));
            assert_eq!(
                refused(&auth, &unsigned).await,
                Flaw::NotThreeParts,
                "{name:?} without a signature"
            );
            let signed = Key::hmac(SECRET.as_bytes()).sign_with(&header, &claims());
            assert_eq!(refused(&auth, &signed).await, Flaw::Algorithm, "{name:?} with a signature");
        }
    }
}

#[tokio::test]
async fn an_hmac_made_with_the_public_key_is_refused_whatever_form_the_key_has() {
    let spki = pem!("rsa2048.spki");
    let der = BASE64
        .decode(spki.lines().filter(|line| !line.starts_with('-')).collect::<String>().as_bytes())
        .unwrap();
    let jwk = Key::rsa().jwk();
    let modulus = BASE64URL_NOPAD.decode(jwk["n"].as_str().unwrap().as_bytes()).unwrap();
    let forms: [&[u8]; 7] = [
        spki.as_bytes(),
        spki.trim_end().as_bytes(),
        pem!("rsa2048.pkcs1").as_bytes(),
        &der,
        &modulus,
        jwk["n"].as_str().unwrap().as_bytes(),
        &jwk.to_string().into_bytes(),
    ];
    let both = Auth::new(&[("JWT_PUBLIC_KEY", spki), ("JWT_SECRET", SECRET)]);
    for secret in forms {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = Key::hmac(secret).with_algorithm(algorithm).sign(&claims());
            assert_eq!(refused(&with_rsa(), &token).await, Flaw::Algorithm);
            assert!(matches!(refused(&both, &token).await, Flaw::Signature | Flaw::Algorithm));
        }
    }
}

#[tokio::test]
async fn an_hmac_made_with_a_public_key_of_a_jwks_is_refused_and_fetches_nothing() {
    let issuer = Issuer::start().await;
    let rsa = Key::rsa();
    issuer.publish(&[rsa.jwk()]);
    let auth = Auth::new(&[("JWKS_URL", &issuer.jwks_url())]);
    assert_eq!(auth.user(&rsa.sign(&claims())).await, Ok("ada".into()));
    for kid in ["rsa", "unknown"] {
        let header = json!({"alg": "HS256", "kid": kid});
        let token = Key::hmac(rsa.jwk().to_string().as_bytes()).sign_with(&header, &claims());
        assert_eq!(refused(&auth, &token).await, Flaw::Algorithm);
    }
    assert_eq!(issuer.count("/jwks"), 1);
}

#[tokio::test]
async fn a_symmetric_key_in_a_jwks_is_ignored() {
    let issuer = Issuer::start().await;
    let k = BASE64URL_NOPAD.encode(SECRET.as_bytes());
    issuer
        .publish(&[json!({"kty": "oct", "kid": "hmac", "alg": "HS256", "k": k}), Key::rsa().jwk()]);
    let auth = Auth::new(&[("JWKS_URL", &issuer.jwks_url())]);
    assert_eq!(
        refused(&auth, &Key::hmac(SECRET.as_bytes()).sign(&claims())).await,
        Flaw::Algorithm
    );
    assert_eq!(
        auth.user(&Key::rsa().sign(&claims())).await,
        Ok("ada".into()),
        "the other key counts"
    );
}

#[tokio::test]
async fn an_algorithm_swapped_for_one_of_another_family_is_refused() {
    let keys = [
        (Auth::new(&[("JWT_PUBLIC_KEY", pem!("rsa2048.spki"))]), Key::rsa()),
        (Auth::new(&[("JWT_PUBLIC_KEY", pem!("p256.spki"))]), Key::p256()),
        (Auth::new(&[("JWT_PUBLIC_KEY", pem!("p384.spki"))]), Key::p384()),
        (Auth::new(&[("JWT_PUBLIC_KEY", pem!("ed25519.spki"))]), Key::ed25519()),
        (with_secret(), Key::hmac(SECRET.as_bytes())),
    ];
    for (auth, key) in &keys {
        let good = key.sign(&claims());
        assert_eq!(auth.user(&good).await, Ok("ada".into()), "{:?}", key.algorithm);
        for name in
            ["HS256", "HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
        {
            if json!(key.algorithm) == json!(name) {
                continue;
            }
            let swapped = reheaded(&good, &json!({"alg": name}));
            let flaw = refused(auth, &swapped).await;
            assert!(
                matches!(flaw, Flaw::Algorithm | Flaw::Signature),
                "{:?} as {name}: {flaw:?}",
                key.algorithm
            );
        }
    }
}

#[tokio::test]
async fn a_curve_that_is_not_the_algorithms_own_is_refused() {
    let issuer = Issuer::start().await;
    issuer.publish(&[Key::p256().jwk(), Key::p384().jwk()]);
    let auth = Auth::new(&[("JWKS_URL", &issuer.jwks_url())]);
    for key in [Key::p256(), Key::p384()] {
        assert_eq!(auth.user(&key.sign(&claims())).await, Ok("ada".into()));
        let other = if key.kid == "p256" { "ES384" } else { "ES256" };
        let token = key.sign_with(&json!({"alg": other, "kid": key.kid}), &claims());
        assert_eq!(refused(&auth, &token).await, Flaw::Signature, "{} as {other}", key.kid);
    }
}

#[tokio::test]
async fn a_key_of_a_jwks_is_bound_to_its_alg() {
    let issuer = Issuer::start().await;
    let mut jwk = Key::rsa().jwk();
    jwk["alg"] = json!("RS256");
    issuer.publish(&[jwk]);
    let auth = Auth::new(&[("JWKS_URL", &issuer.jwks_url())]);
    assert_eq!(auth.user(&Key::rsa().sign(&claims())).await, Ok("ada".into()));
    for algorithm in [Algorithm::PS256, Algorithm::RS384, Algorithm::RS512] {
        let token = Key::rsa().with_algorithm(algorithm).sign(&claims());
        assert_eq!(refused(&auth, &token).await, Flaw::Signature, "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_narrowed_list_of_algorithms_refuses_the_others_of_the_same_key() {
    let auth = Auth::new(&[
        ("JWT_PUBLIC_KEY", pem!("rsa2048.spki")),
        ("JWT_SECRET", SECRET),
        ("JWT_ALGORITHMS", "PS256"),
    ]);
    assert_eq!(
        auth.user(&Key::rsa().with_algorithm(Algorithm::PS256).sign(&claims())).await,
        Ok("ada".into())
    );
    assert_eq!(refused(&auth, &Key::rsa().sign(&claims())).await, Flaw::Algorithm);
    assert_eq!(
        refused(&auth, &Key::hmac(SECRET.as_bytes()).sign(&claims())).await,
        Flaw::Algorithm
    );
}

#[tokio::test]
async fn a_key_that_the_token_brings_along_or_points_to_is_ignored() {
    let attacker = Issuer::start().await;
    let key = Key::fresh("mine");
    attacker.publish(&[key.jwk()]);
    let auth = Auth::new(&[("JWT_PUBLIC_KEY", pem!("p256.spki"))]);
    let address = attacker.jwks_url();
    for header in [
        json!({"alg": "ES256", "jwk": key.jwk()}),
        json!({"alg": "ES256", "kid": "mine", "jku": address}),
        json!({"alg": "ES256", "x5u": address}),
        json!({"alg": "ES256", "x5c": [BASE64.encode(pem!("certificate").as_bytes())]}),
        json!({"alg": "ES256", "kid": address}),
    ] {
        assert_eq!(
            refused(&auth, &key.sign_with(&header, &claims())).await,
            Flaw::Signature,
            "{header}"
        );
    }
    assert_eq!(attacker.count("/jwks"), 0, "nothing was fetched from there");
}

#[tokio::test]
async fn a_kid_that_is_a_path_or_a_query_is_only_a_name() {
    let auth = Auth::new(&[("JWT_PUBLIC_KEY", pem!("p256.spki"))]);
    for kid in ["../../../../dev/null", "x' UNION SELECT 'key", "|/bin/true", "\u{0}", ""] {
        let token = Key::hmac(b"").sign_with(&json!({"alg": "HS256", "kid": kid}), &claims());
        assert_eq!(refused(&auth, &token).await, Flaw::Algorithm, "{kid:?}");
        let token = Key::fresh("x").sign_with(&json!({"alg": "ES256", "kid": kid}), &claims());
        assert_eq!(refused(&auth, &token).await, Flaw::Signature, "{kid:?}");
    }
}

#[tokio::test]
async fn a_token_with_a_changed_payload_is_refused() {
    let auth = with_secret();
    let good = Key::hmac(SECRET.as_bytes()).sign(&claims());
    let parts: Vec<_> = good.split('.').collect();
    let mut other = claims();
    other["sub"] = json!("admin");
    let changed = format!("{}.{}.{}", parts[0], encode(&other), parts[2]);
    assert_eq!(refused(&auth, &changed).await, Flaw::Signature);
}

#[tokio::test]
async fn a_token_with_missing_doubled_or_foreign_parts_is_refused() {
    let auth = with_secret();
    let good = Key::hmac(SECRET.as_bytes()).sign(&claims());
    assert_eq!(auth.user(&good).await, Ok("ada".into()));
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = unsigned.split_once('.').unwrap();
    for token in [
        format!("{unsigned}."),
        unsigned.to_owned(),
        header.to_owned(),
        format!("{good}.{signature}"),
        format!("{header}.{good}"),
        format!("{header}..{payload}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{header}.key.iv.{payload}.{signature}"),
    ] {
        assert_eq!(refused(&auth, &token).await, Flaw::NotThreeParts, "{token}");
    }
}

#[tokio::test]
async fn a_cut_extended_or_reencoded_signature_is_refused() {
    let auth = with_secret();
    let good = Key::hmac(SECRET.as_bytes()).sign(&claims());
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let with = |bytes: &[u8]| format!("{unsigned}.{}", BASE64URL_NOPAD.encode(bytes));
    assert_eq!(with(&bytes), good);
    for token in [
        with(&bytes[..31]),
        with(&bytes[..1]),
        with(&[bytes.as_slice(), b"x"].concat()),
        with(&[0; 32]),
    ] {
        assert_eq!(refused(&auth, &token).await, Flaw::Signature, "{token}");
    }
    let padded = format!("{unsigned}.{}", BASE64URL.encode(&bytes));
    assert_eq!(refused(&auth, &padded).await, Flaw::NotThreeParts, "padding");
    // 32 bytes leave two bits over in the last letter; another letter with the same bytes is
    // another text.
    let last = signature.chars().last().unwrap();
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = letters.chars().nth(letters.find(last).unwrap() + 1).unwrap();
    let other = format!("{}{next}", &good[..good.len() - 1]);
    assert_eq!(refused(&auth, &other).await, Flaw::NotThreeParts, "bits left over");
}

#[tokio::test]
async fn an_ecdsa_signature_of_zeros_or_in_der_is_refused() {
    let auth = Auth::new(&[("JWT_PUBLIC_KEY", pem!("p256.spki"))]);
    let good = Key::p256().sign(&claims());
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let zeros = format!("{unsigned}.{}", BASE64URL_NOPAD.encode(&[0; 64]));
    assert_eq!(refused(&auth, &zeros).await, Flaw::Signature, "zeros");
    let bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let number = |bytes: &[u8]| [&[2, 33, 0], bytes].concat();
    let der = [&[0x30, 70][..], &number(&bytes[..32]), &number(&bytes[32..])].concat();
    let der = format!("{unsigned}.{}", BASE64URL_NOPAD.encode(&der));
    assert_eq!(refused(&auth, &der).await, Flaw::Signature, "DER");
}

#[tokio::test]
async fn a_weak_rsa_key_in_a_jwks_verifies_nothing() {
    let issuer = Issuer::start().await;
    let spki =
        pem!("rsa1024.spki").lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let der = BASE64.decode(spki.as_bytes()).unwrap();
    // The modulus is the 128 bytes before the exponent, which is 02 03 01 00 01.
    let n = BASE64URL_NOPAD.encode(&der[der.len() - 5 - 128..der.len() - 5]);
    issuer.publish(&[json!({"kty": "RSA", "kid": "weak", "n": n, "e": "AQAB"}), Key::rsa().jwk()]);
    let auth = Auth::new(&[("JWKS_URL", &issuer.jwks_url())]);
    let token = include_str!("../fixtures/keys/rsa1024.token");
    assert_eq!(refused(&auth, token).await, Flaw::Signature);
    assert_eq!(
        auth.user(&Key::rsa().sign(&claims())).await,
        Ok("ada".into()),
        "the strong key counts"
    );
}

#[tokio::test]
async fn a_header_that_must_be_understood_is_refused_even_when_it_is_signed() {
    let auth = with_secret();
    let key = Key::hmac(SECRET.as_bytes());
    for header in [
        json!({"alg": "HS256", "crit": ["exp"]}),
        json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
        json!({"alg": "HS256", "crit": []}),
        json!({"alg": "HS256", "zip": "DEF"}),
        json!({"alg": "HS256", "enc": "A256GCM"}),
    ] {
        assert_eq!(
            refused(&auth, &key.sign_with(&header, &claims())).await,
            Flaw::CriticalHeader,
            "{header}"
        );
    }
}

#[tokio::test]
async fn a_token_of_another_kind_is_not_taken_for_an_access_token() {
    let auth = with_secret();
    let key = Key::hmac(SECRET.as_bytes());
    for (name, value) in
        [("typ", "dpop+jwt"), ("typ", "logout+jwt"), ("typ", "JWE"), ("cty", "JWT")]
    {
        let token = key.sign_with(&json!({"alg": "HS256", name: value}), &claims());
        assert_eq!(refused(&auth, &token).await, Flaw::WrongType, "{name} {value}");
    }
    let token = key.sign_with(&json!({"alg": "HS256", "typ": "at+jwt"}), &claims());
    assert_eq!(auth.user(&token).await, Ok("ada".into()));
}

#[tokio::test]
async fn a_token_for_another_audience_or_of_another_issuer_is_refused_also_when_it_names_none() {
    let auth = Auth::new(&[
        ("JWT_SECRET", SECRET),
        ("JWT_ISSUER", "https://a.example"),
        ("JWT_AUDIENCE", "chat,app"),
    ]);
    let key = Key::hmac(SECRET.as_bytes());
    let with = |iss: Value, aud: Value| {
        let mut claims = claims();
        claims["iss"] = iss;
        claims["aud"] = aud;
        key.sign(&claims)
    };
    assert_eq!(
        auth.user(&with(json!("https://a.example"), json!(["x", "app"]))).await,
        Ok("ada".into())
    );
    assert_eq!(
        refused(&auth, &with(json!("https://b.example"), json!("chat"))).await,
        Flaw::Issuer
    );
    assert_eq!(
        refused(&auth, &with(json!("https://a.example"), json!("shop"))).await,
        Flaw::Audience
    );
    assert_eq!(refused(&auth, &key.sign(&claims())).await, Flaw::Issuer, "neither is there");
}

#[tokio::test]
async fn a_token_without_a_valid_time_is_refused() {
    let auth = with_secret();
    let key = Key::hmac(SECRET.as_bytes());
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        key.sign(&claims)
    };
    let without = key.sign(&json!({"sub": "ada"}));
    assert_eq!(refused(&auth, &without).await, Flaw::Expiry, "no exp");
    assert_eq!(refused(&auth, &with("exp", json!("never"))).await, Flaw::Expiry);
    assert_eq!(refused(&auth, &with("nbf", json!(NOW + 60))).await, Flaw::TooEarly);
    assert_eq!(refused(&auth, &with("iat", json!(NOW + 60))).await, Flaw::TooEarly);
    assert_eq!(auth.user(&with("exp", json!(NOW - 31))).await, Err(Error::Expired));
    assert_eq!(
        auth.user(&with("exp", json!(NOW - 29))).await,
        Ok("ada".into()),
        "within the leeway"
    );
}

#[tokio::test]
async fn a_token_of_more_than_16_kib_is_refused() {
    let mut claims = claims();
    claims["padding"] = json!("x".repeat(16 * 1024));
    let token = Key::hmac(SECRET.as_bytes()).sign(&claims);
    assert_eq!(refused(&with_secret(), &token).await, Flaw::TooLong);
}
