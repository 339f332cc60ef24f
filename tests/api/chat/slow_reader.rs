//! A client that stays and doesn't read: it is dropped, and its turn is not.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::client::{create, text};
use super::model::Pausing;
use super::setting::{server, until, until_within, user};
use crate::metrics::{free_port, scrape, value};
use crate::support::server::TestServer;
use crate::support::tokens;

/// More than every buffer on the way holds.
const PIECES: usize = 128;
const PIECE: usize = 64 * 1024;

/// Sends a request with the least that a system gives for what comes back.
async fn deaf(server: &TestServer, body: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be set");
    let mut connection = socket.connect(server.addr()).await.expect("a connection");
    let head = format!(
        "POST /api/chatkit HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: \
         application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        tokens::hs256("ada"),
        body.len()
    );
    connection.write_all(head.as_bytes()).await.expect("it is read");
    let mut beginning = [0; 1024];
    let read = connection.read(&mut beginning).await.expect("it answers");
    assert!(beginning[..read].starts_with(b"HTTP/1.1 200"), "the stream begins");
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_dropped_and_its_turn_is_not() {
    let pieces = vec!["x".repeat(PIECE); PIECES];
    let model = Pausing::start(pieces.clone()).await;
    let metrics = format!("127.0.0.1:{}", free_port());
    let server = server(&model.base, &[("METRICS_ADDR", &metrics)]);
    let client = deaf(&server, &create("hello").to_string()).await;
    let ada = user(&server, "ada");
    let (_, threads) = ada.ask("threads.list", json!({})).await;
    let thread = threads["data"][0]["id"].as_str().expect("a thread").to_owned();
    let measured = async |metric: &str| value(&scrape(&metrics).await, metric);
    assert_eq!(measured("chatkit_streams_open").await, Some(1.0));
    let dropped = async || measured("chatkit_streams_open").await == Some(0.0);
    until_within(Duration::from_secs(45), "the client is dropped", dropped).await;
    assert_eq!(
        measured("chatkit_turns_running").await,
        Some(1.0),
        "its turn is not:\n{}",
        server.logs()
    );

    model.go_on.send(()).expect("the model was not given up");
    let done = async || measured(r#"chatkit_turns_total{outcome="done"}"#).await == Some(1.0);
    until("the turn comes to its end", done).await;
    let items = ada.items(&thread).await;
    assert!(text(&items[1]) == pieces.concat(), "the answer is there as a whole");
    drop(client);
}
