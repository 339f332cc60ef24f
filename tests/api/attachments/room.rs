//! The endpoints of files behind the door to the chat, on a real socket, with a database and a
//! folder of their own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use chatkit_server::auth::{Authenticator, ClientSecrets};
use chatkit_server::chatkit::links::{Base, Links};
use chatkit_server::chatkit::uploads::Uploads;
use chatkit_server::chatkit::uploads::http::{UploadDesk, router};
use chatkit_server::chatkit::uploads::under_way::UnderWay;
use chatkit_server::clock::{Clock, SystemClock, TestClock};
use chatkit_server::config::{Config, Mode};
use chatkit_server::door::{ChatDoor, Door};
use chatkit_server::ids::new_id;
use chatkit_server::layers::observe::Observed;
use chatkit_server::lifecycle::Lifecycle;
use chatkit_server::limits::Limits;
use chatkit_server::limits::client_ip::Client;
use chatkit_server::protocol::{Id, Item, ItemKind, Thread, Timestamp, UserMessage};
use chatkit_server::server::Server;
use chatkit_server::store::files::Files;
use chatkit_server::store::revoked::Revoked;
use chatkit_server::store::{Claimed, Owner, TurnClaim, connect};
use chatkit_server::telemetry::metrics::Metrics;
use chatkit_server::user::UserId;
use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::server::{PATIENCE, SELF_HOSTED};
use crate::support::tokens;

/// A PNG, as far as its first bytes tell.
pub(crate) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01";

/// The endpoints, until it is dropped.
pub(crate) struct Room {
    pub(crate) uploads: Uploads,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) addr: SocketAddr,
    folder: PathBuf,
    client: reqwest::Client,
    lifecycle: Lifecycle,
}

impl Room {
    /// With [`SELF_HOSTED`] and these variables.
    pub(crate) async fn new(vars: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(&*new_id("chatkit-uploads-"));
        let dir = folder.to_str().expect("text");
        let vars: HashMap<&str, &str> = SELF_HOSTED
            .iter()
            .chain(&[("CHATKIT_UPLOADS_DIR", dir)])
            .chain(vars)
            .copied()
            .collect();
        let config = Config::from_vars(&|name| vars.get(name).map(|value| (*value).to_owned()));
        let config = config.unwrap_or_else(|problems| panic!("{problems:?}"));
        let Mode::SelfHosted(own) = &config.mode else { panic!("the mode is self-hosted") };
        let clock = Arc::new(TestClock::at(u64::try_from(tokens::now()).expect("after 1970")));
        let links_clock: Arc<dyn Clock> = clock.clone();
        let lifecycle = Lifecycle::default();
        let uploads = Uploads {
            store: connect("sqlite::memory:", clock.clone()).await.expect("a database"),
            files: Arc::new(Files::new(&own.uploads.dir)),
            links: Arc::new(Links::new(&own.signing_keys, links_clock).expect("there is a key")),
            clock: clock.clone(),
            config: own.uploads.clone(),
            under_way: UnderWay::new(own.uploads.max_bytes),
            tasks: lifecycle.tasks().clone(),
        };
        let (metrics, _) = Metrics::new(false);
        let desk = UploadDesk {
            door: Arc::new(chat_door(config, &uploads, &metrics, &lifecycle)),
            uploads: uploads.clone(),
        };
        let addr = serve(desk, metrics, &lifecycle).await;
        let client =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { uploads, clock, addr, folder, client, lifecycle }
    }

    pub(crate) fn request(&self, method: &str, url: &str) -> RequestBuilder {
        let url = if url.starts_with('/') {
            format!("http://{}{url}", self.addr)
        } else {
            url.to_owned()
        };
        self.client.request(method.parse().expect("a method"), url)
    }

    /// A direct upload of this user.
    pub(crate) async fn upload(&self, user: &str, form: Form) -> Response {
        let request = self.request("POST", "/api/chatkit/upload").bearer_auth(tokens::hs256(user));
        request.multipart(form).send().await.expect("an answer")
    }

    /// The attachment that such an upload makes.
    pub(crate) async fn uploaded(&self, user: &str, form: Form) -> Value {
        let answer = self.upload(user, form).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }

    /// Where clients find the room.
    pub(crate) fn base(&self) -> Base {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, self.addr.to_string().parse().expect("a header"));
        let client = Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST), https: false };
        Base::of(client, &headers).expect("a host")
    }

    /// The names of the files on disk.
    pub(crate) fn names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let names =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Waits until the folder is empty.
    pub(crate) async fn emptied(&self) {
        let waiting = async {
            while !self.names().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("nothing is left");
    }

    /// Sends a message with these files: the thread that carries them.
    pub(crate) async fn send(&self, owner: &Owner, ids: &[Id]) -> Id {
        let now = Timestamp::from_epoch(self.clock.now());
        let thread: Thread = serde_json::from_value(
            json!({"id": new_id("thr_"), "created_at": now, "status": {"type": "active"}}),
        )
        .expect("a thread");
        let mut attachments =
            chatkit_server::chatkit::uploads::check_attachments(&self.uploads, owner, ids)
                .await
                .expect("they can be sent");
        for attachment in &mut attachments {
            attachment.thread_id = Some(thread.id.clone());
        }
        let message: UserMessage = serde_json::from_value(
            json!({"content": [], "attachments": attachments, "inference_options": {}}),
        )
        .expect("a message");
        let first = Item {
            id: new_id("msg_"),
            thread_id: thread.id.clone(),
            created_at: now,
            kind: ItemKind::UserMessage(message),
        };
        let claim = TurnClaim {
            key: thread.id.to_string(),
            holder: "h".to_owned(),
            body: None,
            about: None,
            lasts: Duration::ZERO,
        };
        let made = self.uploads.store.create_thread(owner, &thread, &first, &claim).await;
        assert_eq!(made.expect("the store answers"), Claimed::Yes);
        thread.id
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.lifecycle.stopping().cancel();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A user of the default agent.
pub(crate) fn owner(user: &str) -> Owner {
    Owner { workflow: "default".into(), user: UserId::parse(user).expect("a name") }
}

/// A form with one file.
pub(crate) fn form(name: &str, media_type: &str, bytes: impl Into<Vec<u8>>) -> Form {
    let part = Part::bytes(bytes.into()).file_name(name.to_owned());
    Form::new().part("file", part.mime_str(media_type).expect("a media type"))
}

/// The id of an attachment on the wire.
pub(crate) fn id_of(attachment: &Value) -> Id {
    attachment["id"].as_str().expect("an id").into()
}

/// Status and body of an answer; of an error without its request id.
pub(crate) async fn plain(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let mut body: Value = answer.json().await.expect("JSON");
    if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
        error.remove("request_id").expect("errors have an id");
    }
    (status, body)
}

fn chat_door(
    config: Config,
    uploads: &Uploads,
    metrics: &Metrics,
    lifecycle: &Lifecycle,
) -> ChatDoor {
    let Mode::SelfHosted(own) = config.mode else { panic!("the mode is self-hosted") };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (tasks, stop) = (lifecycle.tasks(), lifecycle.stopping().clone());
    let limits = Arc::new(Limits::new(&config.limits, None, metrics));
    let authenticator =
        Authenticator::new(&config.auth, Arc::clone(&clock), metrics.clone(), tasks, stop);
    let door = Door {
        authenticator: authenticator.expect("it needs no client"),
        proxies: config.limits,
        origins: Arc::new(config.service.origins),
    };
    ChatDoor {
        door: Arc::new(door),
        limits,
        secrets: Arc::new(ClientSecrets::new(&own.signing_keys, clock)),
        revoked: Arc::new(Revoked::new(Arc::clone(&uploads.store))),
        agents: own.agents,
    }
}

/// The layers that matter here: the client's address, errors as JSON.
async fn serve(desk: UploadDesk, metrics: Metrics, lifecycle: &Lifecycle) -> SocketAddr {
    let door = Arc::clone(&desk.door);
    let routes = router(desk);
    let answer = move |mut request: Request| {
        let (door, routes, metrics) = (Arc::clone(&door), Router::clone(&routes), metrics.clone());
        async move {
            let observed = Observed::begin(&mut request, &metrics);
            door.door.identify(IpAddr::V4(Ipv4Addr::LOCALHOST), &mut request);
            let Ok(response) = routes.oneshot(request).await;
            observed.end(response)
        }
    };
    let server = Server::bind("127.0.0.1", 0).await.expect("a free port");
    let addr = server.local_addr();
    lifecycle.tasks().spawn(server.serve(answer, 100, lifecycle.clone()));
    addr
}
