//! What does a client ask for? The small JSON body of a session request, read once.

use serde_json::{Map, Value};

use super::workflows::{Workflow, Workflows};
use crate::error::{Error, Kind};
use crate::user::UserId;

/// The body of a session request. Each endpoint reads the fields that are its own and ignores the
/// rest, of whatever type.
#[derive(Default)]
pub struct SessionBody(Map<String, Value>);

impl SessionBody {
    /// Reads a JSON object; no bytes at all mean `{}`.
    ///
    /// # Errors
    /// 400 `invalid_json` for what is no JSON, `invalid_request` for JSON that is no object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Error::invalid("The body must be a JSON object, or empty.")),
            Err(error) => {
                Err(Error::new(Kind::InvalidJson, "The body must be valid JSON, or empty.")
                    .because(format_args!(
                        "no JSON at line {} column {}",
                        error.line(),
                        error.column()
                    )))
            }
        }
    }

    /// The user that a service names in `user`: a string, a whole number, or an object with an `id`
    /// of those kinds. Only for callers that may name one; for anyone else the field means nothing.
    ///
    /// # Errors
    /// 400 that names the field when it is missing or names nobody.
    pub fn service_user(&self) -> Result<UserId, Error> {
        let (field, value) = match self.0.get("user") {
            None | Some(Value::Null) => {
                return Err(Error::invalid(
                    "`user` is missing: with a service token, name the user as a string or as \
                     {\"id\": \"…\"}.",
                ));
            }
            Some(Value::Object(fields)) => ("user.id", fields.get("id").unwrap_or(&Value::Null)),
            Some(value) => ("user", value),
        };
        UserId::from_json(value).ok_or_else(|| {
            Error::invalid(format!(
                "`{field}` must be a string of 1 to 255 characters without control characters and \
                 not the id of a visitor, or a whole number."
            ))
        })
    }

    /// The workflow asked for.
    pub(super) fn workflow<'a>(&self, workflows: &'a Workflows) -> Result<&'a Workflow, Error> {
        workflows.choose(self.0.get("workflow"), self.0.get("workflowId"))
    }

    /// `currentClientSecret`, which is a string or null.
    pub(super) fn current_secret(&self) -> Result<Option<&str>, Error> {
        match self.0.get("currentClientSecret") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(secret)) => Ok(Some(secret)),
            Some(_) => Err(Error::invalid("`currentClientSecret` must be a string, or null.")),
        }
    }
}

/// It may hold a client secret: `Debug` shows the names of the fields alone.
impl std::fmt::Debug for SessionBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(bytes: &[u8]) -> &'static str {
        SessionBody::parse(bytes).map_or_else(|error| error.kind().parts().2, |_| "ok")
    }

    fn user(json: &str) -> Result<String, String> {
        let body = SessionBody::parse(json.as_bytes()).unwrap();
        body.service_user()
            .map(|user| user.as_str().to_owned())
            .map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_body_is_an_object_or_empty() {
        for fine in ["", "{}", " {} ", r#"{"anything":[1,{}],"workflow":null}"#] {
            assert_eq!(code(fine.as_bytes()), "ok", "{fine}");
        }
        for other in ["[]", "null", "1", "\"text\"", "true"] {
            assert_eq!(code(other.as_bytes()), "invalid_request", "{other}");
        }
        for broken in [&b"{"[..], b" ", b"{} x", b"{\"a\":\xff}", b"{'a':1}", b"\xef\xbb\xbf{}"] {
            assert_eq!(code(broken), "invalid_json", "{broken:?}");
        }
        assert_eq!(code("[".repeat(60_000).as_bytes()), "invalid_json", "nesting without end");
    }

    #[test]
    fn a_service_names_its_user_as_text_number_or_object() {
        assert_eq!(user(r#"{"user":"ada"}"#), Ok("ada".to_owned()));
        assert_eq!(user(r#"{"user":7}"#), Ok("7".to_owned()));
        assert_eq!(user(r#"{"user":{"id":"ada","name":"Ada"}}"#), Ok("ada".to_owned()));
        assert_eq!(user(r#"{"user":{"id":7}}"#), Ok("7".to_owned()));
        for (bad, named) in [
            ("{}", "`user`"),
            (r#"{"user":null}"#, "`user`"),
            (r#"{"user":""}"#, "`user`"),
            (r#"{"user":1.5}"#, "`user`"),
            (r#"{"user":["ada"]}"#, "`user`"),
            (r#"{"user":"a\u0000b"}"#, "`user`"),
            (r#"{"user":{}}"#, "`user.id`"),
            (r#"{"user":{"id":{"id":"ada"}}}"#, "`user.id`"),
        ] {
            let error = user(bad).unwrap_err();
            assert!(error.contains(named) && error.contains("InvalidRequest"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_body_shows_the_names_of_its_fields_alone() {
        let body = SessionBody::parse(br#"{"currentClientSecret":"ek_hidden"}"#).unwrap();
        assert_eq!(format!("{body:?}"), r#"{"currentClientSecret"}"#);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SessionBody::parse(&bytes).map(|body| (body.service_user(), body.current_secret().is_ok()));
        }

        #[test]
        fn no_object_breaks_the_fields(
            name in "user|currentClientSecret|workflow|workflowId|id",
            value in r#"null|true|-?[0-9]{1,30}|[0-9]\.[0-9]e9|"[^"\\]{0,300}"|\[\]|\{\}|\{"id":("[a-z]{0,5}"|7|null)\}"#,
        ) {
            let json = format!(r#"{{"{name}":{value}}}"#);
            if let Ok(body) = SessionBody::parse(json.as_bytes()) {
                if let Ok(user) = body.service_user() {
                    prop_assert!(UserId::parse(user.as_str()).is_some());
                }
                let known_type = value == "null" || value.starts_with('"');
                if name == "currentClientSecret" {
                    prop_assert_eq!(body.current_secret().is_ok(), known_type);
                }
            }
        }
    }
}
