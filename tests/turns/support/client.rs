//! How does a client speak? Requests of the protocol, streams event by event.

use bytes::BytesMut;
use chatkit_server::config::env::Secret;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::server::JWT_SECRET;

/// A user with a token.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// A stream, event by event.
pub(crate) struct Stream {
    response: reqwest::Response,
    buffer: BytesMut,
}

impl Client {
    pub(crate) fn new(address: &str, user: &str) -> Self {
        let claims = json!({"sub": user, "exp": 4_102_444_800_u64});
        let key = EncodingKey::from_secret(Secret::new(JWT_SECRET).expose().as_bytes());
        let token = encode(&Header::default(), &claims, &key).expect("claims can be signed");
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build();
        Self {
            http: http.expect("a client can be made"),
            url: format!("{address}/api/chatkit"),
            token,
        }
    }

    pub(crate) async fn post(&self, body: &Value, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.http.post(&self.url).bearer_auth(&self.token).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("the service answers")
    }

    /// A request that is answered with JSON: status and body, without the request's id.
    pub(crate) async fn ask(&self, kind: &str, params: Value) -> (u16, Value) {
        let response = self.post(&json!({"type": kind, "params": params}), &[]).await;
        let status = response.status().as_u16();
        let mut body: Value = response.json().await.expect("it is JSON");
        if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
            error.remove("request_id");
        }
        (status, body)
    }

    pub(crate) async fn stream(&self, body: &Value) -> Stream {
        self.stream_with(body, &[]).await
    }

    pub(crate) async fn stream_with(&self, body: &Value, headers: &[(&str, &str)]) -> Stream {
        let response = self.post(body, headers).await;
        assert_eq!(response.status(), 200, "{body}");
        Stream::of(response)
    }

    /// All events of a stream.
    pub(crate) async fn events(&self, body: &Value) -> Vec<Value> {
        self.stream(body).await.rest().await
    }

    /// The items of a thread, hidden ones aside, the oldest first.
    pub(crate) async fn items(&self, thread_id: &str) -> Vec<Value> {
        let mut params = json!({"thread_id": thread_id, "order": "asc", "limit": 100});
        let mut items = Vec::new();
        loop {
            let (status, page) = self.ask("items.list", params.clone()).await;
            assert_eq!(status, 200, "{page}");
            items.extend(page["data"].as_array().expect("a page has data").clone());
            if page["has_more"] != true {
                return items;
            }
            params["after"] = page["after"].clone();
        }
    }
}

impl Stream {
    /// The stream of this answer.
    pub(crate) fn of(response: reqwest::Response) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: BytesMut::new() }
    }

    /// The next event. `None` at the end, also when the connection broke.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let frame = self.buffer.split_to(end + 2);
                if let Some(data) = frame.strip_prefix(b"data: ") {
                    return Some(serde_json::from_slice(data).expect("an event is JSON"));
                }
                assert!(frame.starts_with(b":"), "a frame is an event or a comment: {frame:?}");
            }
            let chunk = self.response.chunk().await.ok()??;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// What is left.
    pub(crate) async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// `threads.create` with this text.
pub(crate) fn create(text: &str) -> Value {
    json!({"type": "threads.create", "params": {"input": input(text)}})
}

/// `threads.add_user_message` with this text.
pub(crate) fn add(thread_id: &str, text: &str) -> Value {
    json!({"type": "threads.add_user_message", "params": {"thread_id": thread_id, "input": input(text)}})
}

fn input(text: &str) -> Value {
    json!({"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}})
}

/// The types of events, or of items.
pub(crate) fn types(of: &[Value]) -> Vec<&str> {
    of.iter().map(|one| one["type"].as_str().expect("it has a type")).collect()
}

/// The id of the thread that a stream made.
pub(crate) fn thread_of(events: &[Value]) -> String {
    assert_eq!(events[0]["type"], "thread.created", "{events:?}");
    events[0]["thread"]["id"].as_str().expect("a thread has an id").to_owned()
}

/// The text of a message.
pub(crate) fn text(item: &Value) -> &str {
    item["content"][0]["text"].as_str().expect("a message has text")
}
