//! A request that is refused before its body was read: the connection goes on, or the answer says
//! that it ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use chatkit_server::lifecycle::Lifecycle;
use chatkit_server::server::Server;
use tokio::sync::Notify;

use crate::support::server::PATIENCE;

/// A connection to a server that refuses each request by its head, and says so to whoever waits.
struct Refused {
    stream: TcpStream,
    refused: Arc<Notify>,
    lifecycle: Lifecycle,
}

impl Refused {
    async fn start() -> Self {
        let (refused, lifecycle) = (Arc::new(Notify::new()), Lifecycle::default());
        let told = Arc::clone(&refused);
        let answer = move |_: Request| {
            told.notify_one();
            async { StatusCode::UNAUTHORIZED.into_response() }
        };
        let server = Server::bind("127.0.0.1", 0).await.expect("a free port");
        let stream = TcpStream::connect(server.local_addr()).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        lifecycle.tasks().spawn(server.serve(answer, 16, lifecycle.clone()));
        Self { stream, refused, lifecycle }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("it is there");
    }

    /// The head of the next answer; empty when the connection has ended.
    fn head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && self.stream.read(&mut byte).is_ok_and(|read| read > 0)
        {
            head.extend(byte);
        }
        String::from_utf8(head).expect("a head is ASCII")
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        self.lifecycle.stopping().cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_that_comes_after_its_refusal_does_not_end_the_connection() {
    let mut client = Refused::start().await;
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n");
        client.refused.notified().await;
        client.send("{}");
        let head = tokio::task::block_in_place(|| client.head());
        assert!(head.starts_with("HTTP/1.1 401 "), "{head:?}");
        assert!(!head.contains("connection: close"), "{head:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_body_does_not_come_the_answer_says_that_the_connection_ends() {
    for rest in
        ["content-length: 2", "content-length: 70000", "content-length: 2\r\nexpect: 100-continue"]
    {
        let mut client = Refused::start().await;
        client.send(&format!("POST / HTTP/1.1\r\nhost: x\r\n{rest}\r\n\r\n"));
        let head = tokio::task::block_in_place(|| client.head());
        assert!(
            head.starts_with("HTTP/1.1 401 ") && head.contains("connection: close"),
            "{rest}: {head:?}"
        );
        assert_eq!(tokio::task::block_in_place(|| client.head()), "", "{rest}: and it ends");
    }
}
