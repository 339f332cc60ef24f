//! User tokens, written by hand so that the server's own signing is not what tests its checking.

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::server::JWT_SECRET;

/// Seconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests sign tokens for the real clock of the server"
    )]
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("before the year 292277026596")
}

/// A good token for this user.
pub(crate) fn hs256(user: &str) -> String {
    signed(&json!({"sub": user, "iat": now(), "exp": now() + 600}))
}

/// A token with these claims, signed with the test servers' key.
pub(crate) fn signed(claims: &Value) -> String {
    signed_with(&json!({"alg": "HS256", "typ": "JWT"}), claims, JWT_SECRET)
}

/// A token with this header and these claims, signed by HS256 with this key.
pub(crate) fn signed_with(header: &Value, claims: &Value, key: &str) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    signed_message(&format!("{}.{}", part(header), part(claims)), key)
}

/// Header and claims that are encoded already, and their signature by HS256 with this key.
pub(crate) fn signed_message(message: &str, key: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}
