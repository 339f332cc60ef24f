//! Does a program answer with an agent of its own? The example's agent in the whole service, over a
//! socket.

#[path = "../../examples/assistant/agent.rs"]
mod agent;

use std::collections::HashMap;
use std::sync::Arc;

use chatkit_server::agent::Agent;
use chatkit_server::config::Config;
use chatkit_server::service::{Own, Service};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const SECRET: &str = "a secret of the site with thirty-two bytes or more";

/// The service with the example's agent, and somebody who is signed in.
struct Site {
    address: String,
    token: String,
    http: reqwest::Client,
    _running: JoinSet<()>,
}

impl Site {
    async fn start() -> Self {
        let config = Config::from_vars(&|name| {
            let value = match name {
                "CHATKIT_MODE" => "self-hosted",
                "CHATKIT_MODEL" => "none",
                "OPENAI_BASE_URL" => "http://127.0.0.1:9/v1",
                "DATABASE_URL" => "sqlite::memory:",
                "CHATKIT_SIGNING_KEY" => "a key of this service with thirty-two bytes or more",
                "JWT_SECRET" => SECRET,
                "HOST" => "127.0.0.1",
                "PORT" => "0",
                _ => return None,
            };
            Some(value.to_owned())
        });
        let config = config.unwrap_or_else(|problems| panic!("{problems:?}"));
        let assistant: Arc<dyn Agent> = Arc::new(agent::Assistant);
        let agents = HashMap::from([("default".to_owned(), assistant)]);
        let service =
            Service::bind(config, Own { agents, ..Own::default() }).await.expect("it starts");
        let address = format!("http://{}/api/chatkit", service.local_addr());
        let mut running = JoinSet::new();
        running.spawn(async move {
            service.run(std::future::pending::<()>).await;
        });
        let claims = json!({"sub": "ada", "exp": jsonwebtoken::get_current_timestamp() + 600});
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        let token =
            jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("a token");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { address, token, http, _running: running }
    }

    async fn ask(&self, kind: &str, params: Value) -> String {
        let body = json!({"type": kind, "params": params});
        let request = self.http.post(&self.address).bearer_auth(&self.token).json(&body);
        request.send().await.expect("an answer").text().await.expect("a text")
    }

    async fn events(&self, kind: &str, params: Value) -> Vec<Value> {
        let stream = self.ask(kind, params).await;
        let events = stream.lines().filter_map(|line| line.strip_prefix("data: "));
        events.map(|event| serde_json::from_str(event).expect("JSON")).collect()
    }
}

#[tokio::test]
async fn the_example_speaks_shows_a_widget_and_counts_clicks() {
    let site = Site::start().await;
    let input = json!({"content": [{"type": "input_text", "text": "hi"}], "attachments": [], "inference_options": {}});
    let events = site.events("threads.create", json!({"input": input})).await;
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| {
            event["update"]["type"].as_str().or(event["type"].as_str()).unwrap_or_default()
        })
        .collect();
    let part = "assistant_message.content_part.";
    let [added, delta, done] = ["added", "text_delta", "done"].map(|word| format!("{part}{word}"));
    assert_eq!(
        kinds,
        [
            "thread.created",
            "thread.item.done",
            "stream_options",
            "thread.item.added",
            &added,
            &delta,
            &delta,
            &done,
            "thread.item.done",
            "thread.item.added",
            "widget.streaming_text.value_delta",
            "thread.item.done",
            "thread.updated",
        ]
    );
    assert_eq!(events[8]["item"]["content"][0]["text"], "You said: hi");
    assert_eq!(events[12]["thread"]["title"], "hi");
    let (thread_id, widget) = (&events[0]["thread"]["id"], &events[11]["item"]);
    let button = |item: &Value| item["widget"]["children"][1]["onClickAction"].clone();

    let click =
        |action: Value| json!({"thread_id": thread_id, "item_id": widget["id"], "action": action});
    let events = site.events("threads.custom_action", click(button(widget))).await;
    assert_eq!(events.last().expect("an event")["item"]["content"][0]["text"], "That was a click.");
    let replaced = &events[1];
    assert_eq!(
        (&replaced["type"], &replaced["item"]["id"]),
        (&json!("thread.item.replaced"), &widget["id"])
    );
    assert_eq!(replaced["item"]["widget"]["children"][0]["value"], "Clicks: 1");

    let now = site.ask("threads.sync_custom_action", click(button(&replaced["item"]))).await;
    let now: Value = serde_json::from_str(&now).expect("JSON");
    assert_eq!(now["updated_item"]["widget"]["children"][0]["value"], "Clicks: 2");

    let events = site.events("threads.custom_action", click(json!({"type": "fly"}))).await;
    assert_eq!(events[1], json!({"type": "error", "code": "stream.error", "allow_retry": false}));
}
