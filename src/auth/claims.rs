//! What does a token say, and is it for us? Takes a JWT apart without believing it, and checks the claims of one whose
//! signature has been verified. Every rule of RFC 7519 and RFC 8725 that does not need a key is here.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::{Map, Value};

use super::error::{Error, Flaw};
use crate::config::{auth::AuthConfig, public_key::algorithm_named};
use crate::protocol::objects;
use crate::user::UserId;

/// No honest token is longer: header lines of more than 16 KiB are refused by most servers.
const MAX_BYTES: usize = 16 * 1024;

/// The `typ` of client secrets, which are signed here.
pub(super) const CLIENT_SECRET: &str = "chatkit-session+jwt";

/// The claims of a verified token, shared and never copied.
pub type Claims = Arc<Map<String, Value>>;

/// A token that has been taken apart. Nothing in it may be believed before its signature has been verified.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    /// The algorithm that the token names: only ever compared with what a key may do.
    pub(super) algorithm: Algorithm,
    /// The key that the token names.
    pub(super) kid: Option<String>,
    /// Header and payload as they were signed.
    pub(super) message: &'a [u8],
    /// The signature's bytes.
    pub(super) signature: Vec<u8>,
    payload: &'a str,
}

/// The header members that we look at. `jwk`, `jku`, `x5c` and `x5u` are not among them: a token does not bring its key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    cty: Option<String>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
    #[serde(default, deserialize_with = "is_present")]
    enc: bool,
    #[serde(default, deserialize_with = "is_present")]
    zip: bool,
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> Unverified<'a> {
    /// Takes a user's token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, Flaw> {
        Self::parse_kind(token, |typ| typ.is_none_or(is_access_token))
    }

    /// Takes a client secret apart.
    pub(super) fn parse_client_secret(token: &'a str) -> Result<Self, Flaw> {
        Self::parse_kind(token, |typ| typ.is_some_and(is_client_secret))
    }

    /// Whether the token's header says that it is a client secret. Nothing else of it need be good.
    pub(super) fn is_client_secret(token: &str) -> bool {
        #[derive(Deserialize)]
        struct Kind {
            typ: String,
        }
        let header = token.split('.').next().filter(|header| header.len() <= MAX_BYTES);
        let header = header.and_then(|header| BASE64URL_NOPAD.decode(header.as_bytes()).ok());
        let kind = header.and_then(|header| objects::from_slice::<Kind>(&header).ok());
        kind.is_some_and(|kind| is_client_secret(&kind.typ))
    }

    /// Takes a compact JWS apart: exactly three parts in strict base64url, a header with nothing that we would have to
    /// understand and don't, a `typ` that fits, and an algorithm that exists (`none` does not, in any spelling).
    fn parse_kind(token: &'a str, fits: impl FnOnce(Option<&str>) -> bool) -> Result<Self, Flaw> {
        if token.len() > MAX_BYTES {
            return Err(Flaw::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Flaw::NotThreeParts);
        };
        let message = &token.as_bytes()[..header.len() + 1 + payload.len()];
        let header = decode(header)?;
        let signature = decode(signature)?;
        let header: Header = objects::from_slice(&header).map_err(|_| Flaw::Header)?;
        if header.crit || header.enc || header.zip {
            return Err(Flaw::CriticalHeader);
        }
        if !fits(header.typ.as_deref()) || header.cty.as_deref().is_some_and(is_jwt) {
            return Err(Flaw::WrongType);
        }
        let algorithm = algorithm_named(&header.alg).ok_or(Flaw::Algorithm)?;
        Ok(Self { algorithm, kid: header.kid, message, signature, payload })
    }

    /// The issuer that the token names, to choose among the issuers' keys. The signature must then be of that issuer.
    pub(super) fn claimed_issuer(&self) -> Option<String> {
        let Value::String(issuer) = self.claims().ok()?.remove("iss")? else { return None };
        Some(issuer)
    }

    /// The bytes of the claims.
    pub(super) fn payload(&self) -> Result<Vec<u8>, Flaw> {
        decode(self.payload)
    }

    fn claims(&self) -> Result<Map<String, Value>, Flaw> {
        serde_json::from_slice(&self.payload()?).map_err(|_| Flaw::Claims)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Flaw> {
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Flaw::NotThreeParts)?;
    if bytes.is_empty() { Err(Flaw::NotThreeParts) } else { Ok(bytes) }
}

/// RFC 8725 section 3.11: a token that says it is of another kind (a logout token, a DPoP proof …) is not taken for an
/// access token. An unknown `typ` that names no kind of JWT says nothing.
fn is_access_token(typ: &str) -> bool {
    let typ = media_type(typ);
    let other_kind = typ.ends_with("+jwt") && typ != "at+jwt" && !typ.ends_with("-at+jwt");
    !other_kind && typ != "jwe"
}

fn is_client_secret(typ: &str) -> bool {
    media_type(typ) == CLIENT_SECRET
}

fn is_jwt(cty: &str) -> bool {
    matches!(media_type(cty).as_str(), "jwt" | "jwe")
}

fn media_type(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_prefix("application/").map(str::to_owned).unwrap_or(name)
}

/// What the claims of a user's token must be.
#[derive(Debug)]
pub(super) struct Rules {
    issuers: Vec<String>,
    audiences: Vec<String>,
    user_claim: String,
    leeway: f64,
}

impl Rules {
    pub(super) fn new(config: &AuthConfig) -> Self {
        Self {
            issuers: config.issuers.clone(),
            audiences: config.audiences.clone(),
            user_claim: config.user_claim.clone(),
            leeway: config.leeway.as_secs_f64(),
        }
    }

    /// Checks the claims of a token whose signature has been verified, and says whose it is. That the token has expired
    /// is said only when nothing else is wrong with it, because then a new one helps.
    pub(super) fn check(&self, token: &Unverified<'_>, now: Duration) -> Result<(UserId, Claims), Error> {
        let claims = token.claims()?;
        let now = now.as_secs_f64();
        let expiry = number(&claims, "exp", Flaw::Expiry)?.ok_or(Flaw::Expiry)?;
        if !self.issuers.is_empty() && !is_one_of(claims.get("iss"), &self.issuers) {
            return Err(Flaw::Issuer.into());
        }
        if !self.audiences.is_empty() && !self.is_for_us(claims.get("aud")) {
            return Err(Flaw::Audience.into());
        }
        for name in ["nbf", "iat"] {
            if number(&claims, name, Flaw::TooEarly)?.is_some_and(|begin| begin > now + self.leeway) {
                return Err(Flaw::TooEarly.into());
            }
        }
        let user = claims.get(&self.user_claim).and_then(UserId::from_json).ok_or(Flaw::User)?;
        if expiry + self.leeway <= now {
            return Err(Error::Expired);
        }
        Ok((user, Arc::new(claims)))
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        match audience {
            Some(Value::Array(several)) => several.iter().any(|one| is_one_of(Some(one), &self.audiences)),
            one => is_one_of(one, &self.audiences),
        }
    }
}

/// A `NumericDate` of RFC 7519: seconds since the epoch, whole or not. One that is there must be a number.
fn number(claims: &Map<String, Value>, name: &str, flaw: Flaw) -> Result<Option<f64>, Flaw> {
    claims.get(name).map(|value| value.as_f64().filter(|seconds| seconds.is_finite()).ok_or(flaw)).transpose()
}

fn is_one_of(value: Option<&Value>, wanted: &[String]) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| wanted.iter().any(|one| one == text))
}

#[cfg(test)]
mod tests {
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
        let mut claims = json!({"sub": "ada", "iss": "https://a.example", "aud": "chat", "exp": NOW + 60});
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
        assert_eq!(flaw_of_header(&json!({"alg": "RS256", "typ": "JWT", "kid": "a", "x5t": "b"})), None);
        for typ in ["JWT", "jwt", "at+jwt", "application/at+JWT", "application/okta-internal-at+jwt", "JOSE"]
        {
            assert_eq!(flaw_of_header(&json!({"alg": "RS256", "typ": typ})), None, "{typ}");
        }
        for typ in ["dpop+jwt", "application/logout+jwt", "secevent+JWT", "JWE"] {
            assert_eq!(flaw_of_header(&json!({"alg": "RS256", "typ": typ})), Some(Flaw::WrongType), "{typ}");
        }
        assert_eq!(flaw_of_header(&json!({"alg": "RS256", "cty": "JWT"})), Some(Flaw::WrongType), "nested");
        for (name, value) in [("crit", json!(["b64"])), ("crit", json!(null)), ("enc", json!("A128GCM"))] {
            let mut header = json!({"alg": "RS256"});
            header[name] = value;
            assert_eq!(flaw_of_header(&header), Some(Flaw::CriticalHeader), "{header}");
        }
        for header in
            [json!({}), json!({"alg": 1}), json!({"alg": "RS256", "kid": 1}), json!(["RS256"]), json!("x")]
        {
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
            assert_eq!(flaw_of_header(&json!({"alg": algorithm})), Some(Flaw::Algorithm), "{algorithm:?}");
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
            // `c2k` decodes and `c2l` does not, because bits are left over: only one text stands for the same bytes.
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
        for bad in
            [json!("https://a.example/"), json!("HTTPS://A.EXAMPLE"), json!(["https://a.example"]), json!(1)]
        {
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
        for bad in
            [json!(""), json!("a\nb"), json!(1.5), json!(null), json!({"id": "ada"}), json!("x".repeat(256))]
        {
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
}
