//! Where in the body does a value stand? A value together with its path, so that whatever is wrong
//! with it can be said by name. The path is put together only when there is something to say.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::error::ApiError;
use super::fields;
use super::json::Json;

/// A value of the body, and how it was reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'p, 'j> {
    json: &'j Json<'j>,
    parent: Option<&'p Self>,
    key: Key,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    Member(&'static str),
    Item(usize),
}

impl<'p, 'j> Node<'p, 'j> {
    /// The body itself, which is an object with these members at most.
    pub(super) fn root(body: &'j Json<'j>, names: &[&str]) -> Result<Self, ApiError> {
        if let Json::Object(entries) = body
            && let Some((name, _)) =
                entries.iter().find(|(name, _)| !names.contains(&name.as_ref()))
        {
            return Err(fields::unknown(name.to_string()));
        }
        Ok(Self { json: body, parent: None, key: Key::Member("") })
    }

    /// The value without its path.
    pub(super) fn json(&self) -> &'j Json<'j> {
        self.json
    }

    /// The member of this name. OpenAI takes `null` for one that is left out.
    pub(super) fn member<'s>(&'s self, name: &'static str) -> Option<Node<'s, 'j>> {
        let json = self.json.get(name).filter(|json| !matches!(json, Json::Null))?;
        Some(Node { json, parent: Some(self), key: Key::Member(name) })
    }

    /// The member of this name, which must be there.
    pub(super) fn required<'s>(&'s self, name: &'static str) -> Result<Node<'s, 'j>, ApiError> {
        self.member(name).ok_or_else(|| fields::missing(self.path_of(name)))
    }

    /// The items of an array.
    pub(super) fn items<'s>(&'s self) -> Result<impl Iterator<Item = Node<'s, 'j>>, ApiError> {
        let Json::Array(items) = self.json else { return Err(self.wrong_type("an array")) };
        let node = move |(at, json)| Node { json, parent: Some(self), key: Key::Item(at) };
        Ok(items.iter().enumerate().map(node))
    }

    /// That it is an object.
    pub(super) fn object(self) -> Result<Self, ApiError> {
        if matches!(self.json, Json::Object(_)) {
            Ok(self)
        } else {
            Err(self.wrong_type("an object"))
        }
    }

    /// A string, which may be empty.
    pub(super) fn text(&self) -> Result<&'j str, ApiError> {
        self.json.as_str().ok_or_else(|| self.wrong_type("a string"))
    }

    /// A string that is not empty.
    pub(super) fn filled(&self) -> Result<&'j str, ApiError> {
        let text = self.text()?;
        if text.is_empty() { Err(fields::empty_string(self.path())) } else { Ok(text) }
    }

    /// One of these strings.
    pub(super) fn one_of(&self, values: &[&str]) -> Result<&'j str, ApiError> {
        let text = self.text()?;
        if values.contains(&text) { Ok(text) } else { Err(self.unsupported(text, values)) }
    }

    /// A boolean.
    pub(super) fn boolean(&self) -> Result<bool, ApiError> {
        match self.json {
            Json::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_type("a boolean")),
        }
    }

    /// A whole number within this range.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, ApiError> {
        fields::integer(|| self.path().into(), self.json, range)
    }

    /// Any number from 0 up to this.
    pub(super) fn number_up_to(&self, max: f64) -> Result<f64, ApiError> {
        let number = match self.json {
            Json::Number(number) => number.as_f64().unwrap_or(f64::MAX),
            _ => return Err(self.wrong_type("a decimal")),
        };
        let (fault, sign, bound, code) = if number > max {
            ("above maximum", "<=", max, "decimal_above_max_value")
        } else if number < 0.0 {
            ("below minimum", ">=", 0.0, "decimal_below_min_value")
        } else {
            return Ok(number);
        };
        Err(self.invalid(
            code,
            &format!(
                "decimal {fault} value. Expected a value {sign} {bound}, but got {number} instead."
            ),
        ))
    }

    /// What OpenAI says when something else stands where it expects, for example, `a string`.
    pub(super) fn wrong_type(&self, expected: &str) -> ApiError {
        fields::wrong_type(self.path(), expected, self.json)
    }

    /// What OpenAI says when a string is not one of those that it knows.
    pub(super) fn unsupported(&self, found: &str, values: &[&str]) -> ApiError {
        let message =
            format!("Invalid value: '{found}'. Supported values are: {}.", listed(values));
        ApiError::field(self.path(), "invalid_value", message)
    }

    /// `Invalid '<path>': <what is wrong>`
    pub(super) fn invalid(&self, code: &'static str, what: &str) -> ApiError {
        let path = self.path();
        let message = format!("Invalid '{path}': {what}");
        ApiError::field(path, code, message)
    }

    /// The path as OpenAI writes it: `input[0].content[1].text`.
    pub(super) fn path(&self) -> String {
        let Some(parent) = self.parent else { return String::new() };
        match self.key {
            Key::Member(name) => parent.path_of(name),
            Key::Item(at) => format!("{}[{at}]", parent.path()),
        }
    }

    /// The path of a member, be it there or not.
    pub(super) fn path_of(&self, name: &str) -> String {
        let path = self.path();
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    }
}

/// `'a', 'b', and 'c'`
fn listed(values: &[&str]) -> Cow<'static, str> {
    let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    match quoted.as_slice() {
        [] => "".into(),
        [only] => only.clone().into(),
        [first, second] => format!("{first} and {second}").into(),
        [most @ .., last] => format!("{}, and {last}", most.join(", ")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_the_whole_path() {
        let body: Json<'_> =
            serde_json::from_str(r#"{"input":[{"content":[{"text":3}]}],"top_p":1.5}"#).unwrap();
        let root = Node::root(&body, &["input", "top_p"]).unwrap();
        let input = root.required("input").unwrap();
        let item = input.items().unwrap().next().unwrap();
        let content = item.required("content").unwrap();
        let part = content.items().unwrap().next().unwrap();
        let text = part.required("text").unwrap();
        assert_eq!(text.path(), "input[0].content[0].text");
        let words = |error: ApiError| {
            serde_json::to_value(error).unwrap()["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            words(text.text().unwrap_err()),
            "Invalid type for 'input[0].content[0].text': expected a string, but got an integer \
             instead."
        );
        assert_eq!(
            words(item.required("role").unwrap_err()),
            "Missing required parameter: 'input[0].role'."
        );
        assert_eq!(
            words(root.required("top_p").unwrap().number_up_to(1.0).unwrap_err()),
            "Invalid 'top_p': decimal above maximum value. Expected a value <= 1, but got 1.5 \
             instead."
        );
        assert_eq!(
            words(Node::root(&body, &["input"]).unwrap_err()),
            "Unknown parameter: 'top_p'."
        );
    }

    #[test]
    fn supported_values_are_listed_as_openai_lists_them() {
        assert_eq!(listed(&["a"]), "'a'");
        assert_eq!(listed(&["a", "b"]), "'a' and 'b'");
        assert_eq!(listed(&["a", "b", "c"]), "'a', 'b', and 'c'");
    }
}
