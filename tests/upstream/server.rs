//! A scripted server of models on a real socket: it keeps each request whole, and answers step by
//! step, as it was told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// Method and target, like `POST /v1/responses`.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the request's body is JSON")
    }
}

/// One thing that the server does after the head of its answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// The connection closes in the middle of the body.
    Cut,
    /// Nothing more comes, until the client goes away.
    Hold,
}

/// One answer of the script.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    delay: Duration,
    steps: Vec<Step>,
}

impl Reply {
    /// A stream that does these things and then ends.
    pub(crate) fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        let headers =
            [("content-type", "text/event-stream; charset=utf-8"), ("x-request-id", "req_1")];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        Self { status: 200, headers, delay: Duration::ZERO, steps: steps.into_iter().collect() }
    }

    /// A stream of this text, at once.
    pub(crate) fn stream(text: &str) -> Self {
        Self::steps([Step::Send(text.into())])
    }

    /// An answer that is no stream.
    pub(crate) fn plain(status: u16, kind: &str, body: &str) -> Self {
        Self { status, ..Self::stream(body).header("content-type", kind) }
    }

    /// An error in OpenAI's shape.
    pub(crate) fn error(status: u16, r#type: &str, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"error": {"message": message, "type": r#type, "param": null, "code": code}});
        Self::plain(status, "application/json", &body.to_string())
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

#[derive(Default)]
struct Story {
    script: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<Recorded>>,
    /// Bytes of bodies that were written.
    written: Mutex<usize>,
    connections: Mutex<usize>,
    left: Notify,
}

/// The server. It stops when it is dropped.
pub(crate) struct ModelServer {
    address: SocketAddr,
    story: Arc<Story>,
    _running: JoinSet<()>,
}

impl ModelServer {
    /// Listens on a free port and answers with the script, in order; after its end with 418.
    pub(crate) async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let story = Arc::new(Story {
            script: Mutex::new(script.into_iter().collect()),
            ..Story::default()
        });
        let mut running = JoinSet::new();
        running.spawn(accept(listener, story.clone()));
        Self { address, story, _running: running }
    }

    /// `http://127.0.0.1:PORT/v1`
    pub(crate) fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        lock(&self.story.requests).clone()
    }

    pub(crate) fn written(&self) -> usize {
        *lock(&self.story.written)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        *lock(&self.story.connections)
    }

    /// Waits until a client has left while [`Step::Hold`] held it.
    pub(crate) async fn client_left(&self) {
        let left = self.story.left.notified();
        tokio::time::timeout(Duration::from_secs(5), left)
            .await
            .expect("the client leaves within 5 s");
    }
}

async fn accept(listener: TcpListener, story: Arc<Story>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let story = story.clone();
        *lock(&story.connections) += 1;
        connections.spawn(async move {
            // A client that goes away in the middle is part of the play.
            let _ = converse(stream, &story).await;
        });
    }
}

async fn converse(mut stream: TcpStream, story: &Story) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        // The next reply is taken with the request, so that the order of arrival is the order of
        // the script.
        let reply = {
            let mut requests = lock(&story.requests);
            requests.push(request);
            let reply = lock(&story.script).pop_front();
            reply.unwrap_or_else(|| Reply::plain(418, "text/plain", "the script has ended"))
        };
        tokio::time::sleep(reply.delay).await;
        if !write_reply(&mut stream, &reply, story).await? {
            return Ok(());
        }
    }
    Ok(())
}

async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Recorded>> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
    while buffer.len() < head_end + 4 + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer[head_end + 4..head_end + 4 + length].to_vec();
    buffer.drain(..head_end + 4 + length);
    Ok(Some(Recorded { line, headers, body }))
}

/// Writes the reply, and says whether the connection goes on.
async fn write_reply(
    stream: &mut TcpStream,
    reply: &Reply,
    story: &Story,
) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} Scripted\r\ntransfer-encoding: chunked\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    for step in &reply.steps {
        match step {
            Step::Send(bytes) if bytes.is_empty() => {}
            Step::Send(bytes) => {
                stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
                stream.write_all(bytes).await?;
                stream.write_all(b"\r\n").await?;
                stream.flush().await?;
                *lock(&story.written) += bytes.len();
            }
            Step::Pause(pause) => tokio::time::sleep(*pause).await,
            Step::Cut => return Ok(false),
            Step::Hold => {
                let _ = stream.read(&mut [0; 1]).await;
                story.left.notify_one();
                return Ok(false);
            }
        }
    }
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds this lock")
}
