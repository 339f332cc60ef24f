//! Who is a user? A [`UserId`] is a name that has been checked once; below the edge nobody checks
//! it again.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde_json::Value;

/// How the ids of visitors begin.
pub const VISITOR_PREFIX: &str = "visitor_";

/// The id of an end user: 1 to 255 Unicode characters without control characters, neither trimmed
/// nor folded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Checks a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= 255 * 4 && name.chars().count() <= 255;
        (fits && !name.chars().any(char::is_control)).then(|| Self(name.into()))
    }

    /// Takes the id from a claim or a body field: a string, or a whole number, which becomes its
    /// decimal text. Whoever has signed in can't have the name of a visitor.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let named = match value {
            Value::String(name) => Self::parse(name),
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                Self::parse(&number.to_string())
            }
            Value::Number(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        };
        named.filter(|user| !user.is_visitor())
    }

    /// Whether the id has the form of a visitor's: `visitor_` and 32 hexadecimal digits.
    #[must_use]
    pub fn is_visitor(&self) -> bool {
        let digits = self.0.strip_prefix(VISITOR_PREFIX);
        digits.is_some_and(|digits| {
            digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())
        })
    }

    /// The id as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// 128 bits of the id's SHA-256: the key under which limits and registries file the user.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.0.as_bytes())
    }
}

/// The id stays out of logs: `Debug` shows its fingerprint.
impl std::fmt::Debug for UserId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UserId({})", self.fingerprint().hex())
    }
}

/// 128 bits of a SHA-256: stands for a user id or a secret where the thing itself must not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// The fingerprint of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..16]);
        Self(first)
    }

    /// 32 lower-case hex digits.
    #[must_use]
    pub fn hex(self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_user_is_1_to_255_characters_without_control_characters() {
        assert!(UserId::parse("").is_none(), "empty");
        assert!(UserId::parse(&"é".repeat(255)).is_some(), "255 characters, whatever their bytes");
        assert!(UserId::parse(&"é".repeat(256)).is_none(), "256 characters");
        assert!(UserId::parse("a\u{0}b").is_none(), "NUL");
        assert!(UserId::parse("a\u{85}b").is_none(), "a C1 control");
        assert_eq!(
            UserId::parse(" Ada ").as_ref().map(UserId::as_str),
            Some(" Ada "),
            "neither trimmed nor folded"
        );
    }

    #[test]
    fn a_whole_number_names_a_user_and_nothing_else_does() {
        assert_eq!(UserId::from_json(&json!(42)).as_ref().map(UserId::as_str), Some("42"));
        for value in
            [json!(4.2), json!(4.0), json!(true), json!(null), json!(["ada"]), json!({"id": "ada"})]
        {
            assert!(UserId::from_json(&value).is_none(), "{value} is no user");
        }
    }

    #[test]
    fn the_name_of_a_visitor_is_nobody_elses() {
        let hex = "0123456789abcdef0123456789ABCDEF";
        let visitor = format!("visitor_{hex}");
        assert!(UserId::parse(&visitor).is_some_and(|user| user.is_visitor()));
        assert!(UserId::from_json(&json!(visitor)).is_none());
        for other in [
            &visitor[..39],
            &format!("{visitor}0"),
            "visitor_",
            "visitor_ada",
            hex,
            &visitor.replace('f', "g"),
        ] {
            assert!(UserId::from_json(&json!(other)).is_some(), "{other}");
        }
    }
}
