//! A scripted upstream on a real socket: it keeps each request whole, and answers as it was told,
//! also badly.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Method and target, like `POST /v1/chatkit/sessions`.
    pub(crate) line: String,
    /// Names in lower case, sorted.
    pub(crate) headers: Vec<(String, String)>,
    /// What came after the head.
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body, which must be JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the request's body is JSON")
    }
}

/// One answer of the script.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    ending: Ending,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Whole,
    /// The connection closes before the head.
    HangUp,
    /// The connection closes after so many bytes of the body.
    Cut(usize),
    /// One byte of the body at a time, with this pause.
    Drip(Duration),
    /// The body's length is not announced.
    Chunked,
}

impl Reply {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, &body.to_string()).header("content-type", "application/json")
    }

    /// An answer with this body.
    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
            ending: Ending::Whole,
        }
    }

    /// A session as OpenAI describes one.
    pub(crate) fn session(id: &str, secret: &str) -> Self {
        let body = json!({
            "id": id, "object": "chatkit.session", "client_secret": secret, "expires_at": 1_712_349_876,
            "user": "ada", "status": "active", "max_requests_per_1_minute": 10,
            "rate_limits": {"max_requests_per_1_minute": 10},
            "workflow": {"id": "wf_1", "version": null, "state_variables": null, "tracing": {"enabled": true}},
        });
        Self::json(200, &body)
    }

    /// An error in OpenAI's shape.
    pub(crate) fn error(status: u16, r#type: &str, code: &str, message: &str) -> Self {
        Self::json(
            status,
            &json!({"error": {"message": message, "type": r#type, "param": null, "code": code}}),
        )
    }

    /// No answer at all: the connection closes.
    pub(crate) fn hang_up() -> Self {
        Self { ending: Ending::HangUp, ..Self::text(200, "") }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// After a pause.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The connection closes after so many bytes of the body.
    pub(crate) fn cut_after(self, bytes: usize) -> Self {
        Self { ending: Ending::Cut(bytes), ..self }
    }

    /// The body comes one byte at a time.
    pub(crate) fn dripping(self, pause: Duration) -> Self {
        Self { ending: Ending::Drip(pause), ..self }
    }

    /// The body comes without a word about its length.
    pub(crate) fn chunked(self) -> Self {
        Self { ending: Ending::Chunked, ..self }
    }
}

#[derive(Default)]
struct Story {
    script: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<Recorded>>,
    connections: Mutex<usize>,
    arrived: Notify,
}

/// The upstream. It stops when it is dropped.
pub(crate) struct ScriptedUpstream {
    address: SocketAddr,
    story: Arc<Story>,
    _running: JoinSet<()>,
}

impl ScriptedUpstream {
    /// Listens on a free port and answers with the script, in order. What comes after its end is
    /// answered with 418.
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

    /// `http://127.0.0.1:PORT`
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds to the script.
    pub(crate) fn then(&self, reply: Reply) {
        lock(&self.story.script).push_back(reply);
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        lock(&self.story.requests).clone()
    }

    /// The request lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        *lock(&self.story.connections)
    }

    /// Waits until so many requests have come.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Recorded> {
        let come = async {
            loop {
                let arrived = self.story.arrived.notified();
                let requests = self.requests();
                if requests.len() >= count {
                    return requests;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), come)
            .await
            .expect("the requests come within 5 s")
    }
}

async fn accept(listener: TcpListener, story: Arc<Story>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        *lock(&story.connections) += 1;
        let story = story.clone();
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
            lock(&story.script)
                .pop_front()
                .unwrap_or_else(|| Reply::text(418, "the script has ended"))
        };
        story.arrived.notify_waiters();
        tokio::time::sleep(reply.delay).await;
        if !write_reply(&mut stream, &reply).await? {
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
    let mut headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    headers.sort();
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
async fn write_reply(stream: &mut TcpStream, reply: &Reply) -> std::io::Result<bool> {
    if matches!(reply.ending, Ending::HangUp) {
        return Ok(false);
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.ending {
        Ending::Chunked => head.push_str("transfer-encoding: chunked\r\n\r\n"),
        _ => head.push_str(&format!("content-length: {}\r\n\r\n", reply.body.len())),
    }
    stream.write_all(head.as_bytes()).await?;
    match reply.ending {
        Ending::Whole => stream.write_all(&reply.body).await?,
        Ending::Cut(bytes) => {
            stream.write_all(&reply.body[..bytes]).await?;
            return Ok(false);
        }
        Ending::Drip(pause) => {
            for byte in &reply.body {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(pause).await;
            }
        }
        Ending::Chunked => {
            for piece in reply.body.chunks(16 * 1024) {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
                stream.write_all(piece).await?;
                stream.write_all(b"\r\n").await?;
            }
            stream.write_all(b"0\r\n\r\n").await?;
        }
        Ending::HangUp => {}
    }
    Ok(true)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds this lock")
}
