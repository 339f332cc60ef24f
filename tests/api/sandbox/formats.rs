//! Is an answer JSON that fits a schema, where the request asks for that? In both of the model's
//! APIs.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::model::{COMPLETIONS, RESPONSES};
use super::{Caller, read};

fn schema() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["title", "kind", "steps", "rating", "parent"],
        "$defs": { "Step": {
            "type": "object", "additionalProperties": false, "required": ["text", "minutes"],
            "properties": { "text": { "type": "string" }, "minutes": { "type": "integer", "minimum": 5, "maximum": 9 } },
        } },
        "properties": {
            "title": { "type": "string" }, "kind": { "enum": ["soup", "cake"] },
            "steps": { "type": "array", "minItems": 2, "items": { "$ref": "#/$defs/Step" } },
            "rating": { "type": "number", "minimum": 0, "maximum": 1 },
            "parent": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] },
        },
    })
}

fn asking(path: &str, format: &Value, words: &str) -> Value {
    let said = json!([{ "role": "user", "content": words }]);
    if path == RESPONSES {
        let mut flat = json!({ "type": format["type"] });
        if let (Some(flat), Some(members)) =
            (flat.as_object_mut(), format["json_schema"].as_object())
        {
            flat.extend(members.clone());
        }
        return json!({ "model": "gpt-5", "input": said, "text": { "format": flat } });
    }
    json!({ "model": "gpt-5", "messages": said, "response_format": format })
}

fn text<'a>(path: &str, answer: &'a Value) -> Option<&'a str> {
    let content = if path == RESPONSES {
        &answer["output"][0]["content"][0]["text"]
    } else {
        &answer["choices"][0]["message"]["content"]
    };
    content.as_str()
}

#[tokio::test]
async fn an_answer_fits_the_schema_that_is_asked_for() -> Result<()> {
    let caller = Caller::start().await?;
    let format = json!({ "type": "json_schema", "json_schema": { "name": "recipe", "strict": true, "schema": schema() } });
    for path in [RESPONSES, COMPLETIONS] {
        let (status, answer) =
            read(caller.post(path, &asking(path, &format, "Borscht, cite long")).await?).await?;
        assert_eq!(status, 200, "{answer}");
        let recipe: Value = serde_json::from_str(text(path, &answer).context("a text")?)?;
        let mut at = &recipe;
        while !at.is_null() {
            let names: Vec<_> =
                at.as_object().context("an object")?.keys().map(String::as_str).collect();
            assert_eq!(names, ["title", "kind", "steps", "rating", "parent"]);
            let step = json!({ "text": "Borscht, cite long", "minutes": 5 });
            assert_eq!(at["steps"], json!([step, step]));
            assert_eq!(
                (&at["title"], &at["kind"], &at["rating"]),
                (&json!("Borscht, cite long"), &json!("soup"), &json!(0.5))
            );
            at = &at["parent"];
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_schema_streams_word_by_word_and_any_object_will_do_without_one() -> Result<()> {
    let caller = Caller::start().await?;
    let format =
        json!({ "type": "json_schema", "json_schema": { "name": "recipe", "schema": schema() } });
    let mut body = asking(COMPLETIONS, &format, "one two three");
    body["stream"] = json!(true);
    let events = caller.stream(COMPLETIONS, &body).await?;
    let pieces =
        events.iter().filter_map(|(_, data)| data["choices"][0]["delta"]["content"].as_str());
    let pieces: Vec<_> = pieces.filter(|piece| !piece.is_empty()).collect();
    assert!(pieces.len() > 3, "{pieces:?}");
    assert_eq!(serde_json::from_str::<Value>(&pieces.concat())?["title"], "one two three");
    for path in [RESPONSES, COMPLETIONS] {
        let any = asking(path, &json!({ "type": "json_object" }), "some json");
        let (_, answer) = read(caller.post(path, &any).await?).await?;
        assert!(serde_json::from_str::<Value>(text(path, &answer).context("a text")?)?.is_object());
        let plain = asking(path, &json!({ "type": "text" }), "hello");
        let (_, answer) = read(caller.post(path, &plain).await?).await?;
        assert!(text(path, &answer).is_some_and(|text| text.starts_with("You said: \"hello\"")));
    }
    Ok(())
}

#[tokio::test]
async fn a_schema_that_openai_refuses_is_refused() -> Result<()> {
    let caller = Caller::start().await?;
    let lax = json!({ "type": "object", "properties": {} });
    for (path, name, strict, schema, param, what) in [
        (
            RESPONSES,
            "x",
            false,
            json!({ "type": "string" }),
            "text.format.schema",
            "Invalid schema for response_format 'x': schema must be a JSON Schema of 'type: \
             \"object\"', got 'type: \"string\"'.",
        ),
        (
            COMPLETIONS,
            "x",
            true,
            lax.clone(),
            "response_format",
            "Invalid schema for response_format 'x': In context=(), 'additionalProperties' is \
             required to be supplied and to be false.",
        ),
        (
            COMPLETIONS,
            "a b",
            false,
            lax,
            "response_format.json_schema.name",
            "Invalid 'response_format.json_schema.name': string does not match pattern. Expected a \
             string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
        ),
    ] {
        let format = json!({ "type": "json_schema", "json_schema": { "name": name, "strict": strict, "schema": schema } });
        let (status, answer) =
            read(caller.post(path, &asking(path, &format, "hello")).await?).await?;
        let error = &answer["error"];
        assert_eq!(
            (status, &error["message"], &error["param"]),
            (400, &json!(what), &json!(param))
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_an_answer_cost_has_every_count_that_openais_types_require() -> Result<()> {
    let caller = Caller::start().await?;
    let (_, answer) =
        read(caller.post(RESPONSES, &json!({ "model": "gpt-5", "input": "hello" })).await?).await?;
    assert_eq!(
        answer["usage"]["input_tokens_details"],
        json!({ "cache_write_tokens": 0, "cached_tokens": 0 })
    );
    Ok(())
}
