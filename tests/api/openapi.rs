//! The OpenAPI document: of version 3.1, and true to what the server answers.

use serde_json::Value;

use crate::support::server::TestServer;

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
    assert!(session["post"]["operationId"].is_string() && session["delete"]["operationId"].is_string());
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere_and_operation_ids_are_unique() {
    let server = TestServer::hosted("http://127.0.0.1:9", &[]);
    let document: Value =
        server.get("/openapi.json").send().await.expect("an answer").json().await.expect("JSON");
    let mut references = Vec::new();
    collect(&document, "$ref", &mut references);
    assert!(!references.is_empty());
    for reference in references {
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
