//! How is JSON of many servers read without tripping over what differs? Text that may be missing,
//! null or of another type, arguments that may be none, and usage under either API's names.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::Trouble;
use super::event::Usage;
use crate::protocol::{DEEPEST, are_too_deep, objects};

/// A text, borrowed where it can be. Null and every other type count as the empty text.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Lenient<'a>(pub(in crate::upstream) Cow<'a, str>);

impl Lenient<'_> {
    /// The text, unless it is empty.
    pub(in crate::upstream) fn some(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&*self.0)
    }

    pub(in crate::upstream) fn into_string(self) -> String {
        self.0.into_owned()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Lenient<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyType;
        impl<'de> Visitor<'de> for AnyType {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Cow::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Cow::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Cow::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Cow::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Cow::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Cow::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Cow::default())
            }
        }
        deserializer.deserialize_any(AnyType).map(Self)
    }
}

/// Whether an `error` field means an error: Python's notion of truth, by which OpenAI's own SDK
/// goes.
pub(in crate::upstream) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_true) => *is_true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A frame of a stream.
pub(in crate::upstream) fn parse<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Trouble> {
    objects::from_str(data).map_err(|error| Trouble::Unreadable(error.to_string()))
}

/// The arguments of a call: a JSON object, or nothing for a function without any. They become part
/// of an item, so they may nest no deeper than that.
pub(in crate::upstream) fn arguments(text: &str) -> Result<Map<String, Value>, Trouble> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let arguments = serde_json::from_str(text).map_err(|error| {
        Trouble::Unreadable(format!("the arguments of a function call are no JSON object: {error}"))
    })?;
    if are_too_deep(&arguments) {
        let why = format!("the arguments of a function call nest deeper than {DEEPEST} levels");
        return Err(Trouble::Unreadable(why));
    }
    Ok(arguments)
}

/// `usage`, as either API names its fields. What is missing or odd counts as 0.
#[derive(Debug)]
pub(in crate::upstream) struct WireUsage(pub(in crate::upstream) Usage);

impl<'de> Deserialize<'de> for WireUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = |names: [&str; 2]| {
            names.iter().find_map(|name| value.pointer(name)?.as_u64()).unwrap_or_default()
        };
        Ok(Self(Usage {
            input_tokens: number(["/input_tokens", "/prompt_tokens"]),
            cached_tokens: number([
                "/input_tokens_details/cached_tokens",
                "/prompt_tokens_details/cached_tokens",
            ]),
            output_tokens: number(["/output_tokens", "/completion_tokens"]),
            reasoning_tokens: number([
                "/output_tokens_details/reasoning_tokens",
                "/completion_tokens_details/reasoning_tokens",
            ]),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_nest_no_deeper_than_can_be_stored() {
        let nested =
            |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(arguments(&nested(DEEPEST)).is_ok());
        for depth in [DEEPEST + 1, 127, 10_000] {
            assert!(matches!(arguments(&nested(depth)), Err(Trouble::Unreadable(_))), "{depth}");
        }
    }
}
