//! What may a workflow start with? The state variables of a request: few, flat, and of three kinds.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;

use super::error::ApiError;
use super::fields::{too_long, wrong_type};
use super::json::{Entries, Json};

const MAX_COUNT: usize = 64;
const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 10_485_760;

/// Values that the workflow starts with, in the order they were given.
#[derive(Debug)]
pub(super) struct StateVariables(Vec<(Box<str>, Scalar)>);

#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
enum Scalar {
    Boolean(bool),
    Number(Number),
    Text(Box<str>),
}

impl StateVariables {
    /// Reads them from the members of their object.
    pub(super) fn read(entries: Entries<'_>) -> Result<Self, ApiError> {
        const PARAM: &str = "workflow.state_variables";
        if entries.len() > MAX_COUNT {
            let count = entries.len();
            let message = format!(
                "Invalid '{PARAM}': too many properties. Expected an object with at most \
                 {MAX_COUNT} properties, but got an object with {count} properties instead."
            );
            return Err(ApiError::field(PARAM, "object_above_max_properties", message));
        }
        let mut variables: Vec<(Box<str>, Scalar)> = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            let param = || format!("{PARAM}.{name}");
            if let Some(length) = longer_than(&name, MAX_NAME) {
                let message = format!(
                    "Invalid property name in '{PARAM}': '{name}' is too long. Expected a string \
                     with maximum length {MAX_NAME}, but got a string with length {length} instead."
                );
                return Err(ApiError::field(param(), "string_above_max_length", message));
            }
            let value = match value {
                Json::Boolean(value) => Scalar::Boolean(value),
                Json::Number(value) => Scalar::Number(value),
                Json::Text(value) => match longer_than(&value, MAX_TEXT) {
                    None => Scalar::Text(value.into()),
                    Some(length) => return Err(too_long(param(), MAX_TEXT, length)),
                },
                other @ (Json::Null | Json::Array(_) | Json::Object(_)) => {
                    return Err(wrong_type(
                        param(),
                        "one of a string, integer, number, or boolean",
                        &other,
                    ));
                }
            };
            match variables.iter_mut().find(|(known, _)| **known == *name) {
                Some((_, earlier)) => *earlier = value,
                None => variables.push((name.into(), value)),
            }
        }
        Ok(Self(variables))
    }
}

/// The length in characters of a text that has more of them than this.
fn longer_than(text: &str, limit: usize) -> Option<usize> {
    // A character has a byte or more, so that most texts need no counting.
    if text.len() <= limit {
        return None;
    }
    let length = text.chars().count();
    (length > limit).then_some(length)
}

impl Serialize for StateVariables {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(variables: &Value) -> Result<String, (String, String)> {
        let text = variables.to_string();
        let Json::Object(entries) = serde_json::from_str(&text).unwrap() else {
            panic!("an object is meant")
        };
        match StateVariables::read(entries) {
            Ok(variables) => Ok(serde_json::to_string(&variables).unwrap()),
            Err(error) => {
                let error = serde_json::to_value(&error).unwrap();
                Err((
                    error["param"].as_str().unwrap().to_owned(),
                    error["code"].as_str().unwrap().to_owned(),
                ))
            }
        }
    }

    fn fault(variables: &Value) -> String {
        read(variables).expect_err("it goes past a bound").1
    }

    #[test]
    fn a_variable_is_a_text_a_number_or_a_boolean() {
        let good = r#"{"beta":true,"debt":-3,"plan":"","ratio":0.5,"seats":18446744073709551615}"#;
        assert_eq!(read(&serde_json::from_str(good).unwrap()), Ok(good.to_owned()));
        for value in [json!(null), json!([1]), json!({})] {
            let expected = ("workflow.state_variables.a".to_owned(), "invalid_type".to_owned());
            assert_eq!(read(&json!({ "a": value })), Err(expected), "{value}");
        }
    }

    #[test]
    fn there_are_64_at_most() {
        let many = |count: usize| {
            (0..count).map(|n| (n.to_string(), json!(n))).collect::<serde_json::Map<_, _>>()
        };
        assert!(read(&many(64).into()).is_ok());
        assert_eq!(fault(&many(65).into()), "object_above_max_properties");
    }

    #[test]
    fn names_and_texts_are_bounded_in_characters_not_bytes() {
        let titled = |length: usize| json!({ "é".repeat(length): true });
        assert!(read(&titled(64)).is_ok());
        assert_eq!(fault(&titled(65)), "string_above_max_length");
        let long = |length: usize| json!({ "text": "x".repeat(length) });
        assert!(read(&long(MAX_TEXT)).is_ok());
        assert_eq!(fault(&long(MAX_TEXT + 1)), "string_above_max_length");
    }

    #[test]
    fn of_two_with_one_name_the_last_counts() {
        let Json::Object(entries) = serde_json::from_str(r#"{"k":1,"k":2}"#).unwrap() else {
            panic!("an object")
        };
        let variables = StateVariables::read(entries).unwrap();
        assert_eq!(serde_json::to_string(&variables).unwrap(), r#"{"k":2}"#);
    }
}
