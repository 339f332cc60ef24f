//! What all these tests share: a client with short patience, a request, and an answer read to its
//! end.

use std::sync::Arc;
use std::time::Duration;

use chatkit_server::clock::TestClock;
use chatkit_server::config::env::Secret;
use chatkit_server::telemetry::metrics::Metrics;
use chatkit_server::upstream::model::{
    InputItem, InputPart, ModelApi, ModelClient, ModelEndpoint, ModelError, ModelEvent,
    ModelRequest, ModelSettings, ModelStream, Role,
};
use serde_json::Value;

use crate::server::{ModelServer, Reply};

/// The key of every call: none of its letters may show up in an error.
pub(crate) const KEY: &str = "sk-own-canary-key";

pub(crate) const PATIENCE: Duration = Duration::from_millis(400);

pub(crate) fn client() -> ModelClient {
    client_with(ModelSettings {
        answer_head: Duration::from_secs(5),
        idle: PATIENCE,
        ..ModelSettings::default()
    })
}

pub(crate) fn client_with(settings: ModelSettings) -> ModelClient {
    let clock = Arc::new(TestClock::at(1_795_000_000));
    ModelClient::new(settings, clock, Metrics::new(false).0).expect("a client")
}

pub(crate) fn endpoint(server: &ModelServer, api: ModelApi) -> ModelEndpoint {
    endpoint_at(&server.base(), api)
}

pub(crate) fn endpoint_at(base: &str, api: ModelApi) -> ModelEndpoint {
    ModelEndpoint {
        base_url: base.parse().expect("an address"),
        api_key: Some(Secret::new(KEY)),
        api,
        organization: None,
        project: None,
    }
}

pub(crate) fn message(role: Role, text: &str) -> InputItem {
    InputItem::Message { role, parts: vec![InputPart::Text(text.to_owned())] }
}

pub(crate) fn hello() -> ModelRequest {
    ModelRequest {
        model: "gpt-5.1".to_owned(),
        input: vec![message(Role::User, "hi")],
        ..ModelRequest::default()
    }
}

/// Asks for an answer over this API.
pub(crate) async fn ask(server: &ModelServer, api: ModelApi) -> Result<ModelStream, ModelError> {
    client().stream(&endpoint(server, api), &hello(), None).await
}

/// The events of an answer, and how it ended.
pub(crate) async fn read(mut stream: ModelStream) -> (Vec<ModelEvent>, Option<ModelError>) {
    let mut events = Vec::new();
    let reading = async {
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => events.push(event),
                Err(error) => {
                    assert!(stream.next().await.is_none(), "nothing follows an error");
                    return Some(error);
                }
            }
        }
        assert!(stream.next().await.is_none(), "an end stays the end");
        None
    };
    let error =
        tokio::time::timeout(Duration::from_secs(10), reading).await.expect("an end within 10 s");
    (events, error)
}

/// The events of a stream of this text, and how it ended.
pub(crate) async fn events_of(api: ModelApi, text: &str) -> (Vec<ModelEvent>, Option<ModelError>) {
    let server = ModelServer::start([Reply::stream(text)]).await;
    read(ask(&server, api).await.expect("a stream")).await
}

/// Frames as the Responses API writes them.
pub(crate) fn frames(events: &[Value]) -> String {
    let frame = |event: &Value| {
        format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("?"))
    };
    events.iter().map(frame).collect()
}

/// Frames as chat completions write them.
pub(crate) fn chunks(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}
