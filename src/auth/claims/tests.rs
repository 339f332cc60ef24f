//! Tokens that are good, and tokens that are not.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

fn token(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}.c2ln", part(header), part(claims))
}

fn flaw_of_header(header: &Value) -> Option<Flaw> {
    Unverified::parse(&token(header, &json!({}))).err()
}

fn rules() -> Rules {
    Rules {
        issuers: vec!["https://a.example".into(), "https://b.example".into()],
        audiences: vec!["chat".into()],
        user_claim: "sub".into(),
        leeway: 30.0,
    }
}

fn check(change: impl FnOnce(&mut Map<String, Value>)) -> Result<String, Error> {
    let mut claims =
        json!({"sub": "ada", "iss": "https://a.example", "aud": "chat", "exp": NOW + 60});
    change(claims.as_object_mut().unwrap());
    let token = token(&json!({"alg": "HS256"}), &claims);
    let token = Unverified::parse(&token).unwrap();
    rules().check(&token, Duration::from_secs(NOW)).map(|(user, _)| user.as_str().to_owned())
}

fn with(name: &str, value: Value) -> Result<String, Error> {
    check(|claims| {
        claims.insert(name.to_owned(), value);
    })
}

#[test]
fn the_header_may_hold_nothing_that_we_would_have_to_understand() {
    assert_eq!(
        flaw_of_header(&json!({"alg": "RS256", "typ": "JWT", "kid": "a", "x5t": "b"})),
        None
    );
    for typ in
        ["JWT", "jwt", "at+jwt", "application/at+JWT", "application/okta-internal-at+jwt", "JOSE"]
    {
        assert_eq!(flaw_of_header(&json!({"alg": "RS256", "typ": typ})), None, "{typ}");
    }
    for typ in ["dpop+jwt", "application/logout+jwt", "secevent+JWT", "JWE"] {
        assert_eq!(
            flaw_of_header(&json!({"alg": "RS256", "typ": typ})),
            Some(Flaw::WrongType),
            "{typ}"
        );
    }
    assert_eq!(
        flaw_of_header(&json!({"alg": "RS256", "cty": "JWT"})),
        Some(Flaw::WrongType),
        "nested"
    );
    for (name, value) in
        [("crit", json!(["b64"])), ("crit", json!(null)), ("enc", json!("A128GCM"))]
    {
        let mut header = json!({"alg": "RS256"});
        header[name] = value;
        assert_eq!(flaw_of_header(&header), Some(Flaw::CriticalHeader), "{header}");
    }
    for header in [
        json!({}),
        json!({"alg": 1}),
        json!({"alg": "RS256", "kid": 1}),
        json!(["RS256"]),
        json!("x"),
    ] {
        assert_eq!(flaw_of_header(&header), Some(Flaw::Header), "{header}");
    }
    let twice = BASE64URL_NOPAD.encode(br#"{"alg":"HS256","alg":"none"}"#);
    let twice = format!("{twice}.e30.c2ln");
    assert_eq!(Unverified::parse(&twice).err(), Some(Flaw::Header), "a member that is there twice");
}

#[test]
fn none_and_unknown_algorithms_do_not_exist_in_any_spelling() {
    for algorithm in
        ["none", "None", "NONE", "nOnE", "", "hs256", "HS1", "RS1", "ES256K", "HS256 ", "RSA-OAEP"]
    {
        assert_eq!(
            flaw_of_header(&json!({"alg": algorithm})),
            Some(Flaw::Algorithm),
            "{algorithm:?}"
        );
    }
}

#[test]
fn a_token_has_three_parts_in_strict_base64url() {
    let good = token(&json!({"alg": "HS256"}), &json!({}));
    assert!(Unverified::parse(&good).is_ok());
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    for bad in [
        String::new(),
        "a.b".into(),
        "..".into(),
        format!("{unsigned}."),
        unsigned.to_owned(),
        format!("{good}.c2ln"),
        format!("{good}="),
        format!("{unsigned}.c2lnA"),
        format!("{unsigned}.c2l+"),
        format!("{unsigned}.c2l/"),
        format!("{unsigned}.c2l"),
        format!("{unsigned}.c2lu\n"),
    ] {
        // `c2k` decodes and `c2l` does not, because bits are left over: only one text stands
        // for the same bytes.
        assert_eq!(Unverified::parse(&bad).err(), Some(Flaw::NotThreeParts), "{bad:?}");
    }
    assert!(Unverified::parse(&format!("{unsigned}.c2k")).is_ok());
    assert_eq!(Unverified::parse(&"a".repeat(MAX_BYTES + 1)).err(), Some(Flaw::TooLong));
}

#[test]
fn good_claims_name_the_user() {
    assert_eq!(check(|_| {}), Ok("ada".into()));
    assert_eq!(with("sub", json!(42)), Ok("42".into()), "a whole number");
    assert_eq!(with("aud", json!(["other", "chat"])), Ok("ada".into()), "one of several audiences");
    assert_eq!(with("iss", json!("https://b.example")), Ok("ada".into()), "one of several issuers");
    assert_eq!(with("exp", json!(1_800_000_060.5)), Ok("ada".into()), "a fraction of a second");
}

#[test]
fn expiry_is_required_and_known_to_the_second_with_the_leeway() {
    assert_eq!(with("exp", json!(NOW - 29)), Ok("ada".into()), "within the leeway");
    assert_eq!(with("exp", json!(NOW - 30)), Err(Error::Expired), "RFC 7519: on or after");
    assert_eq!(with("exp", json!(-1)), Err(Error::Expired));
    for bad in [json!("1800000060"), json!(null), json!([NOW]), json!(true)] {
        assert_eq!(with("exp", bad.clone()), Err(Flaw::Expiry.into()), "{bad}");
    }
    let missing = check(|claims| drop(claims.remove("exp")));
    assert_eq!(missing, Err(Flaw::Expiry.into()));
}

#[test]
fn what_begins_in_the_future_is_not_valid_yet() {
    for name in ["nbf", "iat"] {
        assert_eq!(with(name, json!(NOW + 30)), Ok("ada".into()), "{name} within the leeway");
        assert_eq!(with(name, json!(NOW + 31)), Err(Flaw::TooEarly.into()), "{name}");
        assert_eq!(with(name, json!("soon")), Err(Flaw::TooEarly.into()), "{name} is no number");
    }
}

#[test]
fn issuer_and_audience_must_be_there_and_equal_to_the_letter() {
    for bad in [
        json!("https://a.example/"),
        json!("HTTPS://A.EXAMPLE"),
        json!(["https://a.example"]),
        json!(1),
    ] {
        assert_eq!(with("iss", bad.clone()), Err(Flaw::Issuer.into()), "{bad}");
    }
    for bad in [json!("chats"), json!([]), json!([["chat"]]), json!({"chat": 1}), json!("other")] {
        assert_eq!(with("aud", bad.clone()), Err(Flaw::Audience.into()), "{bad}");
    }
    assert_eq!(check(|claims| drop(claims.remove("iss"))), Err(Flaw::Issuer.into()), "no iss");
    assert_eq!(check(|claims| drop(claims.remove("aud"))), Err(Flaw::Audience.into()), "no aud");
}

#[test]
fn a_token_that_names_no_user_is_refused() {
    for bad in [
        json!(""),
        json!("a\nb"),
        json!(1.5),
        json!(null),
        json!({"id": "ada"}),
        json!("x".repeat(256)),
    ] {
        assert_eq!(with("sub", bad.clone()), Err(Flaw::User.into()), "{bad}");
    }
}

#[test]
fn an_expired_token_with_another_flaw_is_invalid_because_a_new_one_would_not_help() {
    let both = check(|claims| {
        claims.insert("exp".into(), json!(1));
        claims.insert("aud".into(), json!("other"));
    });
    assert_eq!(both, Err(Flaw::Audience.into()));
}

proptest! {
    #[test]
    fn any_text_is_taken_apart_without_a_panic(text in "\\PC{0,300}") {
        let _ = Unverified::parse(&text);
    }

    #[test]
    fn any_header_and_payload_bytes_are_checked_without_a_panic(
        header in "\\{(\"(alg|typ|kid|crit)\":(\"HS256\"|null|1|\\[\\]),?){0,4}\\}",
        payload in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let text = format!(
            "{}.{}.c2ln",
            BASE64URL_NOPAD.encode(header.as_bytes()),
            BASE64URL_NOPAD.encode(&payload)
        );
        if let Ok(token) = Unverified::parse(&text) {
            let _ = token.claimed_issuer();
            prop_assert!(rules().check(&token, Duration::from_secs(NOW)).is_err());
        }
    }
}
