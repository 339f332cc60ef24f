//! Is an answer the expected one? Placeholders stand for ids, each for one and the same, and for
//! times and addresses.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Which id each placeholder stands for, so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    ids: HashMap<String, String>,
    names: HashMap<String, String>,
    /// Times carry a `Z`.
    utc: bool,
}

const IDS: [&str; 4] = ["$thread:", "$item:", "$attachment:", "$image:"];

impl Names {
    /// Knows no id yet; times must carry a `Z`, or must not.
    pub(crate) fn new(utc: bool) -> Self {
        Self { utc, ..Self::default() }
    }

    /// The same with each placeholder replaced by what it stands for.
    pub(crate) fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::from(self.ids.get(text).unwrap_or(text).as_str()),
            Value::Array(values) => values.iter().map(|value| self.resolve(value)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.resolve(value))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// Compares two answers, and learns ids from them. An error says where they differ.
    pub(crate) fn same(&mut self, expected: &Value, got: &Value) -> Result<(), String> {
        self.same_at("", expected, got)
    }

    fn same_at(&mut self, at: &str, expected: &Value, got: &Value) -> Result<(), String> {
        match (expected, got) {
            (Value::String(expected), Value::String(got)) => self.same_text(at, expected, got),
            (Value::String(expected), Value::Number(got))
                if expected == "$seconds" && got.is_u64() =>
            {
                Ok(())
            }
            (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
                let mut pairs = expected.iter().zip(got).enumerate();
                pairs.try_for_each(|(index, (expected, got))| {
                    self.same_at(&format!("{at}[{index}]"), expected, got)
                })
            }
            (Value::Object(expected), Value::Object(got)) => self.same_fields(at, expected, got),
            (Value::Number(expected), Value::Number(got)) if expected.as_f64() == got.as_f64() => {
                Ok(())
            }
            (expected, got) if expected == got => Ok(()),
            (expected, got) => Err(format!("at {at}: expected {expected}, got {got}")),
        }
    }

    fn same_fields(
        &mut self,
        at: &str,
        expected: &Map<String, Value>,
        got: &Map<String, Value>,
    ) -> Result<(), String> {
        if let Some(missing) = expected.keys().find(|name| !got.contains_key(*name)) {
            return Err(format!("at {at}: {missing} is missing"));
        }
        if let Some((extra, value)) = got.iter().find(|(name, _)| !expected.contains_key(*name)) {
            return Err(format!("at {at}: {extra} is there, with {value}"));
        }
        expected
            .iter()
            .try_for_each(|(name, value)| self.same_at(&format!("{at}.{name}"), value, &got[name]))
    }

    fn same_text(&mut self, at: &str, expected: &str, got: &str) -> Result<(), String> {
        let fits = match expected {
            "$time" => is_time(got) && got.ends_with('Z') == self.utc,
            "$url" => ["http://", "https://", "data:"].iter().any(|scheme| got.starts_with(scheme)),
            id if IDS.iter().any(|kind| id.starts_with(kind)) => self.stands_for(id, got),
            tag if tag.starts_with("$tag:") => {
                tag["$tag:".len()..].split('\u{1f}').all(|detail| got.contains(detail))
            }
            text => text == got,
        };
        if fits { Ok(()) } else { Err(format!("at {at}: expected {expected:?}, got {got:?}")) }
    }

    /// Whether this id is the one that the placeholder stands for, which it is from now on if
    /// neither was seen before.
    fn stands_for(&mut self, name: &str, id: &str) -> bool {
        match (self.ids.get(name), self.names.get(id)) {
            (Some(known), _) => known == id,
            (None, Some(_)) => false,
            (None, None) => {
                self.ids.insert(name.to_owned(), id.to_owned());
                self.names.insert(id.to_owned(), name.to_owned());
                true
            }
        }
    }
}

/// `2026-11-20T22:38:48`, with a fraction or without, with `Z` or without.
fn is_time(text: &str) -> bool {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let shape: String =
        seconds.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    shape == "0000-00-00T00:00:00"
        && !fraction.is_empty()
        && fraction.chars().all(|digit| digit.is_ascii_digit())
}

#[test]
fn a_placeholder_stands_for_one_id_and_an_id_has_one_placeholder() {
    let mut names = Names::new(true);
    assert_eq!(names.same(&"$item:0".into(), &"msg_1".into()), Ok(()));
    assert_eq!(names.same(&"$item:0".into(), &"msg_1".into()), Ok(()));
    assert!(names.same(&"$item:0".into(), &"msg_2".into()).is_err());
    assert!(names.same(&"$item:1".into(), &"msg_1".into()).is_err());
    assert_eq!(names.resolve(&"$item:0".into()), "msg_1");
}

#[test]
fn a_field_too_many_or_too_few_and_a_wrong_time_are_differences() {
    let mut names = Names::new(true);
    let expected = serde_json::json!({"at": "$time", "after": "$seconds"});
    assert_eq!(
        names.same(&expected, &serde_json::json!({"at": "2026-11-20T22:38:48.07Z", "after": 3})),
        Ok(())
    );
    for got in [
        serde_json::json!({"at": "2026-11-20T22:38:48.07Z"}),
        serde_json::json!({"at": "2026-11-20T22:38:48Z", "after": 3, "title": null}),
        serde_json::json!({"at": "2026-11-20T22:38:48", "after": 3}),
        serde_json::json!({"at": "2026-11-20T22:38:48Z", "after": 3.5}),
    ] {
        assert!(names.same(&expected, &got).is_err(), "{got}");
    }
}
