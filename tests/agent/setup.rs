//! An agent, its model, and a thread to answer in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use chatkit_server::agent::model::ModelAgent;
use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::clock::TestClock;
use chatkit_server::config::{Config, Mode};
use chatkit_server::protocol::{Attachment, Item, ItemKind, Thread, Timestamp};
use chatkit_server::store::files::Files;
use chatkit_server::store::{Claimed, Owner, StoredAttachment, TurnClaim, connect};
use chatkit_server::telemetry::metrics::Metrics;
use chatkit_server::telemetry::request::RequestContext;
use chatkit_server::upstream::model::{ModelClient, ModelSettings};
use chatkit_server::user::UserId;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const THREAD: &str = "thr_00000000000000000000000000000001";

/// What a model was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

#[derive(Default)]
struct Script {
    replies: Mutex<VecDeque<(u16, String)>>,
    asked: Mutex<Vec<Asked>>,
}

/// A server of models that answers in order with what it was given.
pub(crate) struct Model {
    pub(crate) base: String,
    script: Arc<Script>,
    _running: JoinSet<()>,
}

impl Model {
    /// Each reply is a status and a body: of a success a stream, of anything else JSON.
    pub(crate) async fn start(replies: impl IntoIterator<Item = (u16, String)>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let replies = Mutex::new(replies.into_iter().collect());
        let script = Arc::new(Script { replies, ..Script::default() });
        let app = Router::new().fallback(reply).with_state(script.clone());
        let mut running = JoinSet::new();
        running.spawn(async { axum::serve(listener, app).await.expect("it serves") });
        Self { base, script, _running: running }
    }

    /// A model that streams these events of the Responses API once, and then that the answer is
    /// complete.
    pub(crate) async fn saying(events: &[Value]) -> Self {
        let completed = json!({"type": "response.completed", "response": {"output": []}});
        let events: String = events.iter().chain([&completed]).map(frame).collect();
        Self::start([(200, events)]).await
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().expect("nobody panics with it").clone()
    }
}

async fn reply(
    State(script): State<Arc<Script>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let body = serde_json::from_slice(&body).expect("the request is JSON");
    script.asked.lock().expect("nobody panics with it").push(Asked {
        path: uri.path().to_owned(),
        headers,
        body,
    });
    let next = script.replies.lock().expect("nobody panics with it").pop_front();
    let (status, body) = next.unwrap_or_else(|| (418, "{}".to_owned()));
    let kind = if status == 200 { "text/event-stream" } else { "application/json" };
    (StatusCode::from_u16(status).expect("a status"), [(header::CONTENT_TYPE, kind)], body)
}

/// An event as it stands in a stream.
pub(crate) fn frame(event: &Value) -> String {
    format!("data: {event}\n\n")
}

/// An agent of these variables, whose model is at this address.
pub(crate) fn agent(base: &str, vars: &[(&str, &str)]) -> ModelAgent {
    let vars: Vec<(&str, &str)> = [
        ("CHATKIT_MODE", "self-hosted"),
        ("CHATKIT_MODEL", "m"),
        ("CHATKIT_SIGNING_KEY", "a key of this service with thirty-two bytes or more"),
        ("OPENAI_BASE_URL", base),
        ("OPENAI_API_KEY", "sk-mine"),
        ("OPENAI_ORG_ID", "org-1"),
        ("JWT_SECRET", "a secret of the site, thirty-two bytes or more"),
    ]
    .into_iter()
    .chain(vars.iter().copied())
    .collect();
    let lookup = |name: &str| {
        vars.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let config = Config::from_vars(&lookup).unwrap_or_else(|problems| panic!("{problems:?}"));
    let Mode::SelfHosted(mode) = config.mode else { panic!("it is self-hosted") };
    let agent = mode.agents.by_name[&mode.agents.default].clone();
    let settings = ModelSettings { retries: 0, ..ModelSettings::default() };
    let (metrics, _) = Metrics::new(false);
    let models = ModelClient::new(settings, Arc::new(TestClock::at(1)), metrics).expect("a client");
    ModelAgent::new(agent, Arc::new(models), &config.upstream)
}

/// An agent that a file describes, below `[agents.main]`.
pub(crate) fn agent_of(base: &str, name: &str, toml: &str) -> ModelAgent {
    let path =
        std::env::temp_dir().join(format!("chatkit-agent-{name}-{}.toml", std::process::id()));
    std::fs::write(&path, format!("[agents.main]\nmodel = \"m\"\n{toml}"))
        .expect("it can be written");
    let agent = agent(base, &[("CHATKIT_AGENTS", path.to_str().expect("a path"))]);
    std::fs::remove_file(&path).expect("it was written");
    agent
}

/// A user's message with these inference options.
pub(crate) fn message(text: &str, inference_options: &Value) -> Value {
    json!({"type": "user_message", "content": [{"type": "input_text", "text": text}],
        "inference_options": inference_options})
}

/// A turn in a thread of these items, that answers the last one, and what is said in it.
pub(crate) async fn turn(kinds: &[Value]) -> (Turn, mpsc::Receiver<Box<AgentEvent>>) {
    let clock = Arc::new(TestClock::at(1));
    let store = connect("sqlite::memory:", clock.clone()).await.expect("a store");
    let owner = Owner { workflow: "default".into(), user: UserId::parse("ada").expect("a user") };
    let thread = Thread::new(THREAD.into(), Timestamp(1));
    let items: Vec<Item> =
        kinds.iter().enumerate().map(|(number, kind)| item(number, kind)).collect();
    let claim = TurnClaim {
        key: "k".into(),
        holder: "h".into(),
        body: None,
        about: None,
        lasts: Duration::from_secs(60),
    };
    for attachment in items.iter().flat_map(files_of) {
        let stored = StoredAttachment {
            attachment: attachment.clone(),
            size: 1,
            is_uploaded: true,
            created_at: Timestamp(1),
        };
        store.save_attachment(&owner, &stored).await.expect("it is stored");
    }
    let made = store.create_thread(&owner, &thread, &items[0], &claim).await.expect("it is stored");
    assert_eq!(made, Claimed::Yes);
    for item in &items[1..] {
        store.save_item(&owner, item).await.expect("it is stored");
    }
    let (events, heard) = mpsc::channel(256);
    let files = Arc::new(Files::new(std::env::temp_dir()));
    let message = items.into_iter().next_back();
    let request = RequestContext::shared("r");
    (
        Turn {
            thread,
            owner,
            message,
            locale: None,
            newest: None,
            store,
            files,
            clock,
            request,
            events,
        },
        heard,
    )
}

fn files_of(item: &Item) -> &[Attachment] {
    match &item.kind {
        ItemKind::UserMessage(message) => &message.attachments,
        _ => &[],
    }
}

fn item(number: usize, kind: &Value) -> Item {
    let mut fields = json!({"id": format!("msg_{number:032x}"), "thread_id": THREAD,
        "created_at": "2026-11-20T22:38:48.073893Z"});
    fields.as_object_mut().expect("an object").extend(kind.as_object().expect("an object").clone());
    serde_json::from_value(fields).expect("an item")
}

/// What an agent says in a thread of these items, and how it ends.
pub(crate) async fn answer(
    agent: &ModelAgent,
    kinds: &[Value],
) -> (Vec<AgentEvent>, Result<(), AgentError>) {
    let (turn, mut heard) = turn(kinds).await;
    let outcome = agent.respond(&turn).await;
    drop(turn);
    let mut events = Vec::new();
    while let Some(event) = heard.recv().await {
        events.push(*event);
    }
    (events, outcome)
}
