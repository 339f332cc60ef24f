//! An array is never taken for an object, whatever request it stands in and however deep; and a
//! refusal says no more than a little of what was wrong.

use serde_json::{Value, json};

use super::setting::{server, user};
use crate::support::tokens;

/// A request of each type that is read to its end: with nothing but what is there refused for what
/// it names.
fn requests() -> Vec<Value> {
    let tag = json!({"type": "input_tag", "id": "a", "text": "b", "data": {"any": [1]}, "group": "g", "interactive": true});
    let text = json!({"type": "input_text", "text": "hello"});
    let options = json!({"tool_choice": {"id": "web_search"}, "model": "m"});
    let input = json!({"content": [text, tag], "attachments": [], "quoted_text": "q", "inference_options": options});
    let item = json!({"thread_id": "thr_none", "item_id": "msg_none"});
    let answers =
        json!({"status": "answered", "answers": {"q": {"values": ["a"], "skipped": false}}});
    let action = json!({"type": "a", "payload": {"any": 1}});
    let act = json!({"thread_id": "thr_none", "item_id": "msg_none", "action": action});
    let of = |kind: &str, params: &Value| json!({"type": kind, "params": params});
    vec![
        of("threads.create", &json!({"input": input})),
        of("threads.add_user_message", &json!({"thread_id": "thr_none", "input": input})),
        of(
            "threads.add_client_tool_output",
            &json!({"thread_id": "thr_none", "result": {"any": 1}}),
        ),
        of(
            "threads.add_structured_input",
            &json!({"thread_id": "thr_none", "item_id": "msg_none", "input": answers}),
        ),
        of("threads.retry_after_item", &item),
        of("threads.custom_action", &act),
        of("threads.sync_custom_action", &act),
        of("threads.get_by_id", &json!({"thread_id": "thr_none"})),
        of("threads.list", &json!({"limit": 1, "order": "asc", "after": "thr_none"})),
        of("threads.update", &json!({"thread_id": "thr_none", "title": "t"})),
        of("threads.delete", &json!({"thread_id": "thr_none"})),
        of(
            "items.list",
            &json!({"thread_id": "thr_none", "limit": 1, "order": "asc", "after": "msg_none"}),
        ),
        of("items.feedback", &json!({"thread_id": "thr_none", "item_ids": [], "kind": "positive"})),
        of("attachments.create", &json!({"name": "a", "size": 1, "mime_type": "text/plain"})),
        of("attachments.delete", &json!({"attachment_id": "atc_00"})),
        of("input.transcribe", &json!({"audio_base64": "AA==", "mime_type": "audio/webm"})),
    ]
}

/// Every place of an object in a request, as a pointer; what may be any JSON is left out.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    if ["/result", "/payload", "/any"].iter().any(|end| at.ends_with(end)) {
        return;
    }
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            fields.iter().for_each(|(name, value)| objects(value, &format!("{at}/{name}"), found));
        }
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(place, value)| objects(value, &format!("{at}/{place}"), found));
        }
        _ => {}
    }
}

/// What serde would take for the object: its values in their order; nothing; names and values.
fn arrays(object: &Value) -> [Value; 3] {
    let fields = object.as_object().expect("an object");
    let values = fields.values().cloned().collect();
    let pairs = fields.iter().map(|(name, value)| json!([name, value])).collect();
    [Value::Array(values), json!([]), Value::Array(pairs)]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_in_the_place_of_any_object_of_any_request_is_refused() {
    let server = server("http://127.0.0.1:9/v1", &[]);
    let ada = user(&server, "ada");
    let mut tried = 0;
    for request in requests() {
        let kind = request["type"].clone();
        let answer = ada.post(&request, &[]).await;
        assert_ne!(answer.status(), 400, "{kind} is read");
        drop(answer);
        let mut places = Vec::new();
        objects(&request, "", &mut places);
        for place in places {
            for array in arrays(request.pointer(&place).expect("it is there")) {
                let mut other = request.clone();
                *other.pointer_mut(&place).expect("it is there") = array.clone();
                let answer = ada.post(&other, &[]).await;
                let status = answer.status();
                let body: Value = answer.json().await.expect("JSON");
                assert_eq!(status, 400, "{kind} with {array} at `{place}`: {body}");
                assert_eq!(
                    body["error"]["code"], "invalid_request",
                    "{kind} with {array} at `{place}`"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
    for body in [
        json!([]),
        json!(["default", "ada"]),
        json!({"workflow": ["default"]}),
        json!({"workflow": [{"id": "default"}]}),
    ] {
        let answer = server.mint_as("ada").json(&body).send().await.expect("an answer");
        assert_eq!(answer.status(), 400, "a session of {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_holds_no_more_than_a_little_of_the_request() {
    let server = server("http://127.0.0.1:9/v1", &[]);
    let long = "é".repeat(400_000);
    let part = json!({"type": long, "text": "x"});
    for (kind, params) in [
        ("threads.list", json!({"order": long})),
        ("items.feedback", json!({"thread_id": "t", "item_ids": [], "kind": long})),
        ("threads.create", json!({"input": {"content": [part]}})),
        ("threads.create", json!({"input": {"content": long}})),
        ("attachments.create", json!({"name": "a", "size": 1, "mime_type": long})),
        (long.as_str(), json!({})),
    ] {
        let request = server.post("/api/chatkit").bearer_auth(tokens::hs256("ada"));
        let answer =
            request.json(&json!({"type": kind, "params": params})).send().await.expect("an answer");
        assert_eq!(answer.status(), 400);
        let body = answer.text().await.expect("text");
        assert!(body.len() < 2000, "{} bytes", body.len());
        let message = serde_json::from_str::<Value>(&body).expect("JSON")["message"].clone();
        assert!(message.as_str().expect("text").chars().count() < 400, "{message}");
    }
}
