//! What would a model call this function with? Arguments made up from the function's JSON schema, always the same ones.

use serde_json::{Map, Number, Value, json};

use super::json::Json;

/// How deep a schema is followed; what lies deeper is null.
const DEPTH: usize = 10;

/// Arguments that fit this schema; `words` stand wherever any text will do.
pub(super) fn plausible(schema: Option<&Json<'_>>, words: &str) -> Value {
    let Some(schema) = schema else { return json!({}) };
    match (Maker { root: schema, words }).value(schema, DEPTH) {
        value @ Value::Object(_) => value,
        _ => json!({}),
    }
}

struct Maker<'s> {
    root: &'s Json<'s>,
    words: &'s str,
}

impl Maker<'_> {
    fn value(&self, schema: &Json<'_>, depth: usize) -> Value {
        if depth == 0 {
            return Value::Null;
        }
        for fixed in ["const", "default"] {
            if let Some(value) = schema.get(fixed) {
                return plain(value);
            }
        }
        for choices in ["enum", "examples"] {
            if let Some(first) = schema.get(choices).and_then(|choices| choices.items().first()) {
                return plain(first);
            }
        }
        if let Some(target) = schema.get("$ref").and_then(Json::as_str).and_then(|path| self.resolve(path)) {
            return self.value(target, depth - 1);
        }
        for branches in ["anyOf", "oneOf", "allOf"] {
            if let Some(first) = schema.get(branches).and_then(|branches| branches.items().first()) {
                return self.value(first, depth - 1);
            }
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "integer" => Value::Number(number(schema, 1.into())),
            "number" => Value::Number(number(schema, Number::from_f64(1.5).unwrap_or_else(|| 1.into()))),
            "boolean" => Value::Bool(true),
            "null" => Value::Null,
            _ => Value::String(self.text(schema)),
        }
    }

    fn object(&self, schema: &Json<'_>, depth: usize) -> Value {
        let Some(Json::Object(properties)) = schema.get("properties") else { return json!({}) };
        let mut object = Map::new();
        for (name, schema) in properties {
            object.insert(name.to_string(), self.value(schema, depth - 1));
        }
        Value::Object(object)
    }

    fn array(&self, schema: &Json<'_>, depth: usize) -> Value {
        let Some(items) = schema.get("items") else { return json!([]) };
        let count = schema.get("minItems").and_then(size).unwrap_or(1).clamp(1, 4);
        Value::Array(vec![self.value(items, depth - 1); count])
    }

    fn text(&self, schema: &Json<'_>) -> String {
        match schema.get("format").and_then(Json::as_str) {
            Some("date") => return "2026-01-31".to_owned(),
            Some("date-time") => return "2026-01-31T12:00:00Z".to_owned(),
            Some("time") => return "12:00:00Z".to_owned(),
            Some("email") => return "ada@example.com".to_owned(),
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

fn kind<'s>(schema: &'s Json<'_>) -> &'s str {
    match schema.get("type") {
        Some(Json::Text(kind)) => kind,
        Some(Json::Array(kinds)) => {
            kinds.iter().filter_map(Json::as_str).find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ => "string",
    }
}

/// The bound that the schema sets, or else this.
fn number(schema: &Json<'_>, otherwise: Number) -> Number {
    let bound = ["minimum", "maximum"].into_iter().find_map(|bound| match schema.get(bound) {
        Some(Json::Number(number)) => Some(number.clone()),
        _ => None,
    });
    bound.unwrap_or(otherwise)
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
            "tags": { "type": "array", "minItems": 2, "items": { "const": "t" } }, "maybe": { "anyOf": [{ "type": "null" }] },
        } });
        let expected = json!({
            "city": "Lisb", "unit": "c", "days": 3, "ratio": 1.5, "exact": true, "on": "2026-01-31", "tags": ["t", "t"],
            "maybe": null,
        });
        assert_eq!(made(&schema), expected);
    }

    #[test]
    fn a_schema_that_holds_itself_comes_to_an_end() {
        let schema = json!({ "type": "object", "properties": { "next": { "$ref": "#" } } });
        assert!(made(&schema)["next"]["next"].is_object());
        assert_eq!(plausible(None, "x"), json!({}));
    }
}
