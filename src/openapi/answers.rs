//! What does every answer have? Headers, errors that come before any endpoint is reached, and who
//! may ask.

use serde_json::{Value, json};

/// The headers of answers, under the names by which the answers below refer to them.
const HEADERS: [(&str, &str, &str); 6] = [
    (
        "x-request-id",
        "string",
        "The request's id: the caller's own, if it sent a good one, or a new one",
    ),
    ("retry-after", "integer", "After so many whole seconds the request is welcome again"),
    (
        "ratelimit-limit",
        "integer",
        "How many requests may come at once, by the limit that is the tighter one",
    ),
    ("ratelimit-remaining", "integer", "How many of them are left"),
    ("ratelimit-reset", "integer", "After so many seconds all of them are back"),
    ("www-authenticate", "string", "What is wrong with the credential (RFC 6750)"),
];

/// Completes every operation of the document.
pub(super) fn complete(document: &mut Value) {
    document["servers"] = json!([{ "url": "/", "description": "This server" }]);
    for (name, kind, text) in HEADERS {
        let required = name == "x-request-id";
        let schema = if kind == "integer" {
            json!({ "type": kind, "minimum": 0 })
        } else {
            json!({ "type": kind })
        };
        document["components"]["headers"][name] =
            json!({ "description": text, "required": required, "schema": schema });
    }
    let Some(Value::Object(paths)) = document.get_mut("paths") else { return };
    for operation in
        paths.values_mut().filter_map(Value::as_object_mut).flat_map(|item| item.values_mut())
    {
        if operation.get("responses").is_some() {
            complete_operation(operation);
        }
    }
}

fn complete_operation(operation: &mut Value) {
    let is_session = operation["tags"][0] == "sessions";
    // Anybody may ask where no scheme is named.
    if operation.get("security").is_none() {
        operation["security"] = json!([]);
    }
    if let Some(body) = operation.get_mut("requestBody").filter(|_| is_session) {
        body["required"] = json!(false); // no bytes at all count as `{}`
    }
    for parameter in
        operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
    {
        // One that may be left out can't be null.
        if let Some(Value::Array(kinds)) = parameter.pointer("/schema/type") {
            parameter["schema"]["type"] = kinds.first().cloned().unwrap_or_default();
        }
    }
    let is_limited = operation["tags"][0] != "operations" && operation["operationId"] != "asset";
    let Some(Value::Object(answers)) = operation.get_mut("responses") else { return };
    let error =
        json!({ "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } });
    for (status, text) in [
        ("421", "`misdirected_request`: under `dev` alone, for a `Host` that is not this machine"),
        (
            "503",
            "`overloaded`, `shutting_down` or `not_ready`: try again after `Retry-After` seconds",
        ),
        ("default", "Any other error, in the same shape"),
    ] {
        answers.entry(status).or_insert_with(|| json!({ "description": text, "content": error }));
    }
    answers.insert(
        "431".to_owned(),
        json!({ "description": "The head of the request is over 64 KiB" }),
    );
    for (status, answer) in answers.iter_mut().filter(|(status, _)| *status != "431") {
        let mut headers = vec!["x-request-id"];
        match status.as_str() {
            "401" | "403" => headers.push("www-authenticate"),
            "429" | "503" => headers.push("retry-after"),
            _ => {}
        }
        if is_limited {
            headers.extend(["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]);
        }
        for name in headers {
            answer["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
        }
    }
}
