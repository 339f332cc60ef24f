//! What fits this JSON schema? A value made up from it, always the same one: the arguments of a
//! function, or an answer.

use std::cell::Cell;

use serde_json::{Map, Number, Value, json};

use super::json::Json;

/// How deep a schema is followed.
const DEPTH: usize = 24;
/// From here down, what may be left out is.
const SHALLOW: usize = 16;
/// The most values that are made: a schema may hold itself more than once.
const MOST: usize = 5_000;

/// An object that fits this schema; `words` stand wherever any text will do. `pattern` alone is not
/// followed. `{}` where the schema comes to no end.
pub(super) fn plausible(schema: Option<&Json<'_>>, words: &str) -> Value {
    let Some(schema) = schema else { return json!({}) };
    match (Maker { root: schema, words, left: Cell::new(MOST) }).value(schema, DEPTH) {
        Some(value @ Value::Object(_)) => value,
        _ => json!({}),
    }
}

struct Maker<'s> {
    root: &'s Json<'s>,
    words: &'s str,
    /// So many values may still be made.
    left: Cell<usize>,
}

impl Maker<'_> {
    /// Whether what may be left out is.
    fn is_far(&self, depth: usize) -> bool {
        depth < SHALLOW || self.left.get() < MOST / 2
    }

    /// A value, if one can be made so far down.
    fn value(&self, schema: &Json<'_>, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.left.set(self.left.get().checked_sub(1)?);
        for fixed in ["const", "default"] {
            if let Some(value) = schema.get(fixed) {
                return Some(plain(value));
            }
        }
        for choices in ["enum", "examples"] {
            if let Some(first) = schema.get(choices).and_then(|choices| choices.items().first()) {
                return Some(plain(first));
            }
        }
        if let Some(target) =
            schema.get("$ref").and_then(Json::as_str).and_then(|path| self.resolve(path))
        {
            return self.value(target, depth);
        }
        if let Some(parts) = schema.get("allOf") {
            return self.together(schema, parts.items(), depth);
        }
        if let Some(branches) = schema.get("anyOf").or_else(|| schema.get("oneOf")) {
            return self.one_of(branches.items(), depth);
        }
        Some(match kind(schema, self.is_far(depth)) {
            "object" => Value::Object(self.object(schema, depth)?),
            "array" => self.array(schema, depth)?,
            "integer" => integer(schema),
            "number" => decimal(schema),
            "boolean" => Value::Bool(true),
            "null" => Value::Null,
            _ => Value::String(self.text(schema)),
        })
    }

    /// The first branch that comes to an end; far down `null`, if it may be that.
    fn one_of(&self, branches: &[Json<'_>], depth: usize) -> Option<Value> {
        let is_null =
            |branch: &&Json<'_>| branch.get("type").and_then(Json::as_str) == Some("null");
        let first = branches.iter().find(is_null).filter(|_| self.is_far(depth));
        first.into_iter().chain(branches).find_map(|branch| self.value(branch, depth))
    }

    /// What fits all parts: of objects the members of each.
    fn together(&self, schema: &Json<'_>, parts: &[Json<'_>], depth: usize) -> Option<Value> {
        let mut whole = self.object(schema, depth)?;
        for part in parts {
            match self.value(part, depth)? {
                Value::Object(members) => whole.extend(members),
                other => return Some(other),
            }
        }
        Some(Value::Object(whole))
    }

    fn object(&self, schema: &Json<'_>, depth: usize) -> Option<Map<String, Value>> {
        let mut object = Map::new();
        let Some(Json::Object(properties)) = schema.get("properties") else { return Some(object) };
        let required = schema.get("required").map_or(&[][..], Json::items);
        for (name, schema) in properties {
            let is_required = required.iter().any(|known| known.as_str() == Some(name));
            if !is_required && self.is_far(depth) {
                continue;
            }
            match self.value(schema, depth) {
                Some(value) => drop(object.insert(name.to_string(), value)),
                None if is_required => return None,
                None => {}
            }
        }
        Some(object)
    }

    fn array(&self, schema: &Json<'_>, depth: usize) -> Option<Value> {
        let shortest = schema.get("minItems").and_then(size).unwrap_or(0).min(MOST);
        let longest = schema.get("maxItems").and_then(size).unwrap_or(usize::MAX);
        let natural = usize::from(!self.is_far(depth));
        let Some(items) = schema.get("items") else {
            return Some(json!(vec![Value::Null; shortest]));
        };
        let items = (0..natural.max(shortest).min(longest)).map_while(|_| self.value(items, depth));
        let items: Vec<Value> = items.collect();
        (items.len() >= shortest).then_some(Value::Array(items))
    }

    fn text(&self, schema: &Json<'_>) -> String {
        match schema.get("format").and_then(Json::as_str) {
            Some("date") => return "2026-01-31".to_owned(),
            Some("date-time") => return "2026-01-31T12:00:00Z".to_owned(),
            Some("time") => return "12:00:00Z".to_owned(),
            Some("duration") => return "PT5M".to_owned(),
            Some("email") => return "ada@example.com".to_owned(),
            Some("hostname") => return "example.com".to_owned(),
            Some("ipv4") => return "192.0.2.1".to_owned(),
            Some("ipv6") => return "2001:db8::1".to_owned(),
            Some("uri") => return "https://example.com/".to_owned(),
            Some("uuid") => return "123e4567-e89b-42d3-a456-426614174000".to_owned(),
            _ => {}
        }
        let longest = schema.get("maxLength").and_then(size).unwrap_or(200);
        let shortest = schema.get("minLength").and_then(size).unwrap_or(0).min(10_000);
        let words = if self.words.is_empty() { "example" } else { self.words };
        let mut text: String = words.chars().take(longest).collect();
        let count = text.chars().count();
        text.extend(std::iter::repeat_n('x', shortest.saturating_sub(count)));
        text
    }

    /// `#/$defs/city` within this schema, or `#`, the schema itself.
    fn resolve(&self, path: &str) -> Option<&Json<'_>> {
        let mut names = path.strip_prefix('#')?.split('/').filter(|name| !name.is_empty());
        names.try_fold(self.root, |json, name| json.get(name))
    }
}

/// The type; of several the first that is not `null`, but far down `null`.
fn kind<'s>(schema: &'s Json<'_>, is_far: bool) -> &'s str {
    match schema.get("type") {
        Some(Json::Text(kind)) => kind,
        Some(Json::Array(kinds)) => {
            let mut kinds = kinds.iter().filter_map(Json::as_str);
            let is_wanted = |kind: &&str| (*kind == "null") == is_far;
            kinds.clone().find(is_wanted).or_else(|| kinds.next()).unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

/// A whole number within the bounds: the lowest if there is one, else the highest, else 1.
fn integer(schema: &Json<'_>) -> Value {
    let bound = |name| schema.get(name).and_then(decimal_of);
    let least = bound("minimum")
        .map(f64::ceil)
        .or(bound("exclusiveMinimum").map(|bound| bound.floor() + 1.0));
    let most = bound("maximum")
        .map(f64::floor)
        .or(bound("exclusiveMaximum").map(|bound| bound.ceil() - 1.0));
    let step = bound("multipleOf").filter(|step| *step >= 1.0).unwrap_or(1.0);
    let number = match (least, most) {
        (Some(least), _) => (least / step).ceil() * step,
        (None, Some(most)) if most < step => (most / step).floor() * step,
        (None, _) => step,
    };
    Number::from_f64(number).map_or(Value::Null, |number| whole(&number))
}

/// The same number, written without a fraction.
fn whole(number: &Number) -> Value {
    let text = number.as_f64().unwrap_or_default().to_string();
    text.parse::<i64>().map_or_else(|_| Value::Number(number.clone()), Value::from)
}

/// A number within the bounds: between them, beyond the one that there is, or 1.5.
fn decimal(schema: &Json<'_>) -> Value {
    let bound = |name| schema.get(name).and_then(decimal_of);
    let least = bound("minimum").or(bound("exclusiveMinimum"));
    let most = bound("maximum").or(bound("exclusiveMaximum"));
    let number = match (least, most, bound("multipleOf")) {
        (Some(least), _, Some(step)) if step > 0.0 => ((least / step).floor() + 1.0) * step,
        (None, _, Some(step)) => step,
        (Some(least), Some(most), _) => f64::midpoint(least, most),
        (Some(least), None, _) => least + 1.0,
        (None, Some(most), _) => (most - 1.0).min(1.5),
        (None, None, _) => 1.5,
    };
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn decimal_of(json: &Json<'_>) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        _ => None,
    }
}

fn size(json: &Json<'_>) -> Option<usize> {
    match json {
        Json::Number(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
        _ => None,
    }
}

/// The same value, apart from the body that it was read from.
pub(super) fn plain(json: &Json<'_>) -> Value {
    serde_json::to_value(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(schema: &Value) -> Value {
        let text = schema.to_string();
        let schema: Json<'_> = serde_json::from_str(&text).unwrap();
        plausible(Some(&schema), "Lisbon")
    }

    #[test]
    fn each_kind_of_schema_gets_a_value_that_fits() {
        let schema = json!({ "type": "object", "$defs": { "day": { "type": "string", "format": "date" } }, "properties": {
            "city": { "type": "string", "maxLength": 4 }, "unit": { "enum": ["c", "f"] }, "days": { "type": "integer", "minimum": 3 },
            "ratio": { "type": "number" }, "exact": { "type": ["null", "boolean"] }, "on": { "$ref": "#/$defs/day" },
            "tags": { "type": "array", "minItems": 6, "items": { "const": "t" } }, "maybe": { "anyOf": [{ "type": "null" }] },
            "both": { "allOf": [{ "properties": { "a": { "const": 1 } } }, { "properties": { "b": { "const": 2 } } }] },
            "above": { "type": "integer", "exclusiveMinimum": 3, "multipleOf": 5 }, "below": { "type": "integer", "maximum": -2 },
            "between": { "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 }, "none": { "type": "array", "maxItems": 0,
            "items": {} }, "list": { "items": { "type": "integer" } }, "host": { "type": "string", "format": "hostname" },
        } });
        let expected = json!({
            "city": "Lisb", "unit": "c", "days": 3, "ratio": 1.5, "exact": true, "on": "2026-01-31",
            "tags": ["t", "t", "t", "t", "t", "t"], "maybe": null, "both": { "a": 1, "b": 2 }, "above": 5, "below": -2,
            "between": 0.5, "none": [], "list": [1], "host": "example.com",
        });
        assert_eq!(made(&schema), expected);
    }

    #[test]
    fn a_schema_that_holds_itself_comes_to_an_end() {
        let schema = json!({ "type": "object", "properties": { "next": { "$ref": "#" } } });
        assert!(made(&schema)["next"]["next"].is_object());
        assert_eq!(plausible(None, "x"), json!({}));

        let names = ["a", "b", "c", "d"];
        let or_null = json!({ "anyOf": [{ "$ref": "#" }, { "type": "null" }] });
        let members: Map<String, Value> =
            names.map(|name| (name.to_owned(), or_null.clone())).into_iter().collect();
        let tree = made(&json!({ "type": "object", "properties": members, "required": names }));
        assert!(tree["a"]["a"].is_object() && tree["d"]["d"].is_object(), "{tree}");
        let fits =
            |node: &Value| node.is_null() || names.iter().all(|name| node.get(name).is_some());
        let mut nodes = vec![&tree];
        while let Some(node) = nodes.pop() {
            assert!(fits(node), "{node}");
            nodes.extend(node.as_object().into_iter().flat_map(Map::values));
        }

        let list = json!({ "type": "object", "required": ["children"], "properties": {
            "children": { "type": "array", "items": { "$ref": "#" } } } });
        assert!(made(&list)["children"][0]["children"].is_array());
        let endless = json!({ "type": "object", "required": ["next"], "properties": { "next": { "$ref": "#" } } });
        assert_eq!(made(&endless), json!({}), "no value fits");
    }
}
