//! The OpenAPI document: of version 3.1, and true to what the server answers.

use serde_json::{Value, json};

use crate::support::server::TestServer;
use crate::support::tokens;

const NOWHERE: &str = "http://127.0.0.1:9";

async fn document(server: &TestServer) -> Value {
    server.get("/openapi.json").send().await.expect("an answer").json().await.expect("JSON")
}

/// The schema that a reference leads to.
fn led_to<'a>(document: &'a Value, reference: &Value) -> &'a Value {
    let pointer = reference["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'))
        .expect("a reference");
    document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere"))
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_names_every_public_path() {
    let server = TestServer::hosted("http://127.0.0.1:9", &[]);
    let answer = server.get("/openapi.json").send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/json");
    let document: Value = answer.json().await.expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    let mut paths: Vec<_> =
        document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "/api/chatkit/assets/{path}",
            "/api/chatkit/config",
            "/api/chatkit/refresh",
            "/api/chatkit/session",
            "/api/chatkit/start",
            "/healthz",
            "/openapi.json",
            "/readyz",
        ]
    );
    let session = &document["paths"]["/api/chatkit/session"];
    assert!(
        session["post"]["operationId"].is_string() && session["delete"]["operationId"].is_string()
    );
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere_and_operation_ids_are_unique() {
    for server in [TestServer::hosted(NOWHERE, &[]), TestServer::self_hosted(&[])] {
        let document = document(&server).await;
        let mut references = Vec::new();
        collect(&document, "$ref", &mut references);
        assert!(!references.is_empty());
        let mapped = mappings(&document);
        for reference in references.into_iter().chain(mapped) {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let mut ids = Vec::new();
        collect(&document, "operationId", &mut ids);
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}

#[tokio::test]
async fn every_answer_in_the_document_is_described_and_no_body_is_required() {
    let server = TestServer::hosted("http://127.0.0.1:9", &[]);
    let document: Value =
        server.get("/openapi.json").send().await.expect("an answer").json().await.expect("JSON");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            for (status, answer) in operation["responses"].as_object().expect("responses") {
                assert!(answer["description"].is_string(), "{method} {path} {status}");
            }
            let body = operation.get("requestBody");
            assert!(body.is_none_or(|body| body["required"] != true), "{method} {path}");
        }
    }
}

/// Every type that a discriminator names.
fn mappings(document: &Value) -> Vec<String> {
    let schemas = document["components"]["schemas"].as_object().expect("schemas").values();
    let mappings =
        schemas.filter_map(|schema| schema["discriminator"]["mapping"].as_object()).flatten();
    mappings.map(|(_, name)| name.as_str().expect("a reference").to_owned()).collect()
}

#[tokio::test]
async fn every_request_of_the_chat_has_a_type_of_its_own_that_the_server_knows_by_its_name() {
    let server = TestServer::self_hosted(&[]);
    let document = document(&server).await;
    let chat = &document["paths"]["/api/chatkit"]["post"];
    assert_eq!(chat["requestBody"]["required"], true);
    let request = led_to(&document, &chat["requestBody"]["content"]["application/json"]["schema"]);
    let mapping = request["discriminator"]["mapping"].as_object().expect("a mapping");
    assert_eq!(request["discriminator"]["propertyName"], "type");
    assert_eq!((mapping.len(), request["oneOf"].as_array().map(Vec::len)), (16, Some(16)));
    for (name, reference) in mapping {
        let schema = led_to(&document, &json!({ "$ref": reference }));
        assert_eq!(schema["properties"]["type"]["enum"], json!([name]));
        assert_eq!(schema["required"], json!(["params", "type"]), "{name}");
        assert!(schema["properties"]["params"]["$ref"].is_string(), "{name}");
        let body = json!({ "type": name, "params": { "thread_id": 7 } });
        let asked = server.post("/api/chatkit").bearer_auth(tokens::hs256("ada")).json(&body);
        let answer: Value = asked.send().await.expect("an answer").json().await.expect("JSON");
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(!message.contains("`type`"), "{name}: {message}");
    }
}

#[tokio::test]
async fn the_answers_of_the_chat_are_typed_and_so_is_each_event_of_its_streams() {
    let document = document(&TestServer::self_hosted(&[])).await;
    let answers = &document["paths"]["/api/chatkit"]["post"]["responses"]["200"]["content"];
    let answer = led_to(&document, &answers["application/json"]["schema"]);
    let kinds: Vec<_> = answer["anyOf"]
        .as_array()
        .expect("kinds")
        .iter()
        .map(|kind| kind["$ref"].clone())
        .collect();
    for kind in ["Thread", "Page_Thread", "Page_ThreadItem", "Attachment", "Transcription"] {
        assert!(kinds.contains(&json!(format!("#/components/schemas/{kind}"))), "{kinds:?}");
    }
    let event = led_to(&document, &answers["text/event-stream"]["schema"]);
    let data = &event["properties"]["data"];
    assert_eq!(
        (&data["type"], &data["contentMediaType"]),
        (&json!("string"), &json!("application/json"))
    );
    let event = led_to(&document, &data["contentSchema"]);
    let mapping = event["discriminator"]["mapping"].as_object().expect("a mapping");
    let done = led_to(&document, &json!({ "$ref": mapping["thread.item.done"] }));
    let item = led_to(&document, &done["properties"]["item"]);
    let message = led_to(
        &document,
        &json!({ "$ref": item["discriminator"]["mapping"]["assistant_message"] }),
    );
    assert_eq!(message["required"], json!(["content", "type", "id", "thread_id", "created_at"]));
    let part = led_to(&document, &message["properties"]["content"]["items"]);
    assert_eq!(part["properties"]["type"]["enum"], json!(["output_text"]));
    assert_eq!(part["required"], json!(["annotations", "text", "type"]));
}

#[tokio::test]
async fn every_operation_says_who_may_ask_and_every_answer_what_headers_it_has() {
    let document = document(&TestServer::self_hosted(&[])).await;
    assert_eq!(document["servers"][0]["url"], "/");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let for_anyone = ["/healthz", "/readyz", "/openapi.json", "/api/chatkit/config"]
            .contains(&path.as_str())
            || path.starts_with("/api/chatkit/assets/");
        let is_counted = path.starts_with("/api/") && !path.starts_with("/api/chatkit/assets/");
        for (method, operation) in methods.as_object().expect("methods") {
            let place = format!("{method} {path}");
            assert_eq!(operation["security"] == json!([]), for_anyone, "{place}");
            let answers = operation["responses"].as_object().expect("responses");
            for (status, answer) in answers.iter().filter(|(status, _)| *status != "431") {
                assert!(answer["headers"]["x-request-id"].is_object(), "{place} {status}");
                assert_eq!(
                    answer["headers"]["ratelimit-remaining"].is_object(),
                    is_counted,
                    "{place} {status}"
                );
                let may_wait = status == "429" || status == "503";
                assert_eq!(
                    answer["headers"]["retry-after"].is_object(),
                    may_wait,
                    "{place} {status}"
                );
            }
            for status in ["421", "431", "503", "default"] {
                assert!(answers.contains_key(status), "{place} {status}");
            }
            assert!(!is_counted || answers.contains_key("429"), "{place}");
        }
    }
    let session = &document["paths"]["/api/chatkit/session"];
    for answers in [&session["post"]["responses"], &session["delete"]["responses"]] {
        for status in ["401", "403", "408", "413", "415"] {
            assert!(answers[status].is_object(), "{status}");
        }
    }
    let too_large = &document["paths"]["/api/chatkit"]["post"]["responses"]["413"]["description"];
    assert!(
        too_large.as_str().is_some_and(|text| text.contains("`quota_exceeded`")),
        "{too_large}"
    );
}

#[tokio::test]
async fn the_document_says_how_large_a_file_may_be_and_how_many_a_message_may_carry() {
    let vars = [("CHATKIT_FILE_UPLOAD", "on,max_file_size_mb=2,max_files=3")];
    let document = document(&TestServer::self_hosted(&vars)).await;
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["CreateAttachment"]["properties"]["size"]["maximum"], 2_097_152);
    let ids = &schemas["UserMessageInput"]["properties"]["attachments"];
    assert_eq!((&ids["maxItems"], &ids["uniqueItems"]), (&json!(3), &json!(true)));
}

#[tokio::test]
async fn an_attachment_has_a_media_type_of_its_own() {
    let document = document(&TestServer::self_hosted(&[])).await;
    let download =
        &document["paths"]["/api/chatkit/attachments/{id}"]["get"]["responses"]["200"]["content"];
    for media_type in [
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "application/pdf",
        "application/octet-stream",
        "*/*",
    ] {
        let schema = led_to(&document, &download[media_type]["schema"]);
        assert_eq!(
            *schema,
            json!({ "type": "string", "format": "binary", "description": schema["description"] })
        );
    }
}

fn collect(value: &Value, key: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == key => into.push(text.clone()),
                    field => collect(field, key, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, into)),
        _ => {}
    }
}
