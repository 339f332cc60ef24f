//! How is one field read out of a JSON object? Each kind of field with OpenAI's words for what may
//! be wrong with it.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::error::ApiError;
use super::json::{Entries, Json};

/// The members of one object that are still to be read. They are asked for by their whole path, so
/// that an error can name it: `expires_after.seconds` is the member `seconds` here.
pub(super) struct Fields<'a>(Entries<'a>);

impl<'a> Fields<'a> {
    /// The members of the object at this path, of which only these names are known.
    pub(super) fn new(
        path: &'static str,
        entries: Entries<'a>,
        names: &[&str],
    ) -> Result<Self, ApiError> {
        match entries.iter().find(|(name, _)| !names.contains(&name.as_ref())) {
            None => Ok(Self(entries)),
            Some((name, _)) => {
                let param =
                    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                Err(unknown(param))
            }
        }
    }

    /// The member at this path; of several the last one, as most JSON readers have it.
    pub(super) fn take(&mut self, path: &str) -> Option<Json<'a>> {
        let name = path.rsplit('.').next()?;
        let last = self.0.iter().rposition(|(known, _)| known == name)?;
        Some(self.0.remove(last).1)
    }

    /// The object at this path, when it is there.
    pub(super) fn object(
        &mut self,
        path: &'static str,
        names: &[&str],
    ) -> Result<Option<Self>, ApiError> {
        match self.take(path) {
            Some(Json::Object(entries)) => Self::new(path, entries, names).map(Some),
            Some(other) => Err(wrong_type(path, "an object", &other)),
            None => Ok(None),
        }
    }

    /// The same, for an object whose members may all be left out.
    pub(super) fn object_or_empty(
        &mut self,
        path: &'static str,
        names: &[&str],
    ) -> Result<Self, ApiError> {
        Ok(self.object(path, names)?.unwrap_or(Self(Vec::new())))
    }

    /// The string at this path, when it is there; OpenAI takes no empty one.
    pub(super) fn text(&mut self, path: &'static str) -> Result<Option<Box<str>>, ApiError> {
        match self.take(path) {
            Some(Json::Text(text)) if text.is_empty() => Err(empty_string(path)),
            Some(Json::Text(text)) => Ok(Some(text.into())),
            Some(other) => Err(wrong_type(path, "a string", &other)),
            None => Ok(None),
        }
    }

    /// The boolean at this path, when it is there.
    pub(super) fn boolean(&mut self, path: &'static str) -> Result<Option<bool>, ApiError> {
        match self.take(path) {
            Some(Json::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(wrong_type(path, "a boolean", &other)),
            None => Ok(None),
        }
    }

    /// The whole number at this path, when it is there. `1.0` is not one.
    pub(super) fn integer(
        &mut self,
        path: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ApiError> {
        self.take(path).map(|found| integer(|| path.into(), &found, range)).transpose()
    }
}

/// The whole number that was found at a path, within a range.
pub(super) fn integer(
    path: impl FnOnce() -> Cow<'static, str>,
    found: &Json<'_>,
    range: RangeInclusive<u64>,
) -> Result<u64, ApiError> {
    let number = match found {
        Json::Number(number) if !number.is_f64() => number,
        other => return Err(wrong_type(path(), "an integer", other)),
    };
    let (fault, sign, bound, code) = match number.as_u64() {
        Some(value) if range.contains(&value) => return Ok(value),
        Some(value) if value > *range.end() => {
            ("above maximum", "<=", range.end(), "integer_above_max_value")
        }
        _ => ("below minimum", ">=", range.start(), "integer_below_min_value"),
    };
    let path = path();
    let message = format!(
        "Invalid '{path}': integer {fault} value. Expected a value {sign} {bound}, but got \
         {number} instead."
    );
    Err(ApiError::field(path, code, message))
}

/// What OpenAI says when a field that it needs is left out.
pub(super) fn required<T>(value: Option<T>, param: &'static str) -> Result<T, ApiError> {
    value.ok_or_else(|| missing(param))
}

/// The same, for a field that is known to be left out.
pub(super) fn missing(param: impl Into<Cow<'static, str>>) -> ApiError {
    let param = param.into();
    let message = format!("Missing required parameter: '{param}'.");
    ApiError::field(param, "missing_required_parameter", message)
}

/// What OpenAI says about a name that it does not know.
pub(super) fn unknown(param: String) -> ApiError {
    let message = format!("Unknown parameter: '{param}'.");
    ApiError::field(param, "unknown_parameter", message)
}

/// What OpenAI says when a string that it needs holds nothing.
pub(super) fn empty_string(param: impl Into<Cow<'static, str>>) -> ApiError {
    let param = param.into();
    let message = format!(
        "Invalid '{param}': empty string. Expected a string with minimum length 1, but got an \
         empty string instead."
    );
    ApiError::field(param, "empty_string", message)
}

/// What OpenAI says when a string has more characters than it takes.
pub(super) fn too_long(param: String, limit: usize, length: usize) -> ApiError {
    let message = format!(
        "Invalid '{param}': string too long. Expected a string with maximum length {limit}, but \
         got a string with length {length} instead."
    );
    ApiError::field(param, "string_above_max_length", message)
}

/// What OpenAI says when something else stands where it expects, for example, `a string`.
pub(super) fn wrong_type(
    param: impl Into<Cow<'static, str>>,
    expected: &str,
    found: &Json<'_>,
) -> ApiError {
    let param = param.into();
    let found = found.noun();
    let message =
        format!("Invalid type for '{param}': expected {expected}, but got {found} instead.");
    ApiError::field(param, "invalid_type", message)
}
