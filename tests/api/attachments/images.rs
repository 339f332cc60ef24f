//! Images that the model made: kept as files, and shown by links. The real binary, in front of a
//! sandbox that is listened to.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use chatkit_server::clock::SystemClock;
use chatkit_server::sandbox;
use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::process::TempFolder;
use crate::support::server::TestServer;
use crate::support::tokens;

const PICTURE: &[u8] = include_bytes!("../../../src/sandbox/picture.png");

/// A sandbox, and everything that its model was asked.
struct Model {
    base: String,
    asked: Arc<Mutex<Vec<Value>>>,
    _running: JoinSet<()>,
}

impl Model {
    async fn start() -> Self {
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let heard = Arc::clone(&asked);
        let listen = from_fn(move |request: Request, next: Next| {
            let heard = Arc::clone(&heard);
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.expect("the request comes whole");
                heard
                    .lock()
                    .expect("nobody panicked")
                    .push(serde_json::from_slice(&body).expect("JSON"));
                next.run(Request::from_parts(parts, Body::from(body))).await
            }
        });
        let router: Router = sandbox::router(Arc::new(SystemClock)).layer(listen);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let mut running = JoinSet::new();
        running.spawn(async { axum::serve(listener, router).await.expect("it serves") });
        Self { base, asked, _running: running }
    }

    fn last_asked(&self) -> Value {
        self.asked.lock().expect("nobody panicked").last().expect("it was asked").clone()
    }
}

/// What a service leaves on disk.
struct Disk {
    folder: TempFolder,
    database: String,
}

impl Disk {
    fn new() -> Self {
        let folder = TempFolder::new("images");
        let agents = "[agents.default]\nmodel = \"m\"\n[[agents.default.tools]]\ntype = \
                      \"image_generation\"\npartial_images = 1\n";
        folder.write("agents.toml", agents);
        let database = format!("sqlite://{}?mode=rwc", folder.path("chat.db"));
        Self { folder, database }
    }

    fn serve(&self, model: &Model, vars: &[(&str, &str)]) -> TestServer {
        let (agents, uploads) = (self.folder.path("agents.toml"), self.folder.path("uploads"));
        let own = [
            ("OPENAI_BASE_URL", &*model.base),
            ("CHATKIT_MODEL", ""),
            ("CHATKIT_AGENTS", &agents),
            ("CHATKIT_UPLOADS_DIR", &uploads),
            ("DATABASE_URL", &self.database),
        ];
        TestServer::self_hosted(&[&own, vars].concat())
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path("uploads")).expect("the folder is there").count()
    }
}

async fn ask(server: &TestServer, kind: &str, params: &Value) -> String {
    let request = server.post("/api/chatkit").bearer_auth(tokens::hs256("ada"));
    let answer =
        request.json(&json!({"type": kind, "params": params})).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{kind}");
    answer.text().await.expect("it comes to its end")
}

fn events(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn input(text: &str) -> Value {
    json!({"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}})
}

/// Follows the link of an image without any credential.
async fn seen(server: &TestServer, item: &Value) -> (u16, String, Vec<u8>) {
    let url = item["image"]["url"].as_str().expect("an image has a link");
    let path = url.strip_prefix(&server.url("")).expect("the link leads to this service");
    let answer = server.get(path).send().await.expect("an answer");
    let (status, kind) = (answer.status().as_u16(), answer.headers()["content-type"].clone());
    (status, kind.to_str().expect("text").to_owned(), answer.bytes().await.expect("bytes").to_vec())
}

#[tokio::test]
async fn an_image_of_the_model_is_a_file_that_links_lead_to_until_its_thread_is_deleted() {
    let (model, disk) = (Model::start().await, Disk::new());
    let picture = (200, "image/png".to_owned(), PICTURE.to_vec());
    let server = disk.serve(&model, &[]);
    let events =
        events(&ask(&server, "threads.create", &json!({"input": input("image please")})).await);
    let done = events.iter().filter(|event| event["type"] == "thread.item.done");
    let shown = done.map(|event| &event["item"]).find(|item| item["type"] == "generated_image");
    let shown = shown.expect("an image was made");
    assert_eq!(seen(&server, shown).await, picture);
    let updated = events.iter().find(|event| event["update"]["type"] == "generated_image.updated");
    let sketch = &updated.expect("a sketch came first")["update"];
    assert_eq!((&sketch["image"]["id"], &sketch["progress"]), (&shown["image"]["id"], &json!(0.0)));
    assert!(sketch["image"]["url"].as_str().expect("a URL").starts_with("data:image/png;base64,"));
    assert_eq!(disk.files(), 1, "sketches are not kept");
    drop(server);

    let server = disk.serve(&model, &[("CHATKIT_FILE_UPLOAD", "off")]);
    let thread = json!({"thread_id": events[0]["thread"]["id"]});
    for (kind, of) in [("items.list", ""), ("threads.get_by_id", "/items")] {
        let answer: Value = serde_json::from_str(&ask(&server, kind, &thread).await).expect("JSON");
        let listed =
            &answer.pointer(of).expect("items")["data"].as_array().expect("a list").clone();
        let listed =
            listed.iter().find(|item| item["id"] == shown["id"]).expect("the image is listed");
        assert_eq!(
            seen(&server, listed).await,
            picture,
            "{kind} makes a link to where the service is now"
        );
    }
    let path =
        shown["image"]["url"].as_str().and_then(|url| url.split_once("/api/")).expect("a path").1;
    let stolen = format!("/api/{}", path.split('?').next().expect("a path"));
    assert_eq!(
        server.get(&stolen).send().await.expect("an answer").status(),
        404,
        "only a link shows it"
    );

    let more = json!({"thread_id": thread["thread_id"], "input": input("What is it?")});
    ask(&server, "threads.add_user_message", &more).await;
    let url = format!("data:image/png;base64,{}", BASE64.encode(PICTURE));
    assert_eq!(
        model.last_asked()["input"][1]["content"],
        json!([
            {"type": "input_text", "text": "The following image was generated by the agent."},
            {"type": "input_image", "detail": "auto", "image_url": url},
        ]),
        "the model sees what it made"
    );

    let database = std::fs::read(disk.folder.path("chat.db")).expect("it can be read");
    let words = ["data:image", "/api/chatkit/attachments/"];
    for word in words {
        let is_there = database.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        assert!(!is_there, "{word} is not stored");
    }
    ask(&server, "threads.delete", &thread).await;
    assert_eq!(disk.files(), 0);
}
