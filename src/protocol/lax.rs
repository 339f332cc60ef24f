//! What else passes for a number or a truth value? What the official server takes: pydantic's lax
//! mode.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// At most so many; null is no limit.
pub(super) fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(number(deserializer)?.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
}

/// So many bytes.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    number(deserializer)?.ok_or_else(|| de::Error::custom("expected a whole number of 0 or more"))
}

/// Whether something holds: a truth value, 1 or 0, or a word for one.
pub(super) fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let truth = match Value::deserialize(deserializer)? {
        Value::Bool(truth) => Some(truth),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => None,
        },
        Value::String(word) => match &*word.to_ascii_lowercase() {
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            _ => None,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    truth.ok_or_else(|| de::Error::custom("expected true or false"))
}

/// A whole number that is not negative, or null: its text will do, and so will a truth value.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(truth) => Some(u64::from(truth)),
        Value::Array(_) | Value::Object(_) => None,
    };
    number.map(Some).ok_or_else(|| de::Error::custom("expected a whole number of 0 or more"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is whole, and not negative"
)]
fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_truth_value_may_be_a_number_or_a_word() {
        for (expected, values) in [
            (Some(true), json!([true, 1, 1.0, "1", "true", "True", "YES", "on", "t", "y"])),
            (Some(false), json!([false, 0, -0.0, "0", "false", "No", "OFF", "f", "n"])),
            (None, json!([null, 2, 0.5, -1, "", " true", "ja", [], [true], {}])),
        ] {
            for value in values.as_array().unwrap() {
                assert_eq!(truth(value).ok(), expected, "{value}");
            }
        }
    }
}
