//! Requests that are framed badly: too slow, in a coding that is not read, without a host.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::Value;

use crate::support::server::{PATIENCE, TestServer};
use crate::support::tokens;

const SESSION: &str = "/api/chatkit/session";
const NOWHERE: &str = "http://127.0.0.1:9";

/// The deadlines of a head and a body are 30 seconds: this one test takes as long.
#[tokio::test]
async fn a_head_or_a_body_that_takes_over_30_seconds_is_408_and_a_silent_connection_is_closed() {
    let server = TestServer::hosted(NOWHERE, &[]);
    let addr = server.addr();
    let token = tokens::hs256("ada");
    let body = format!(
        "POST {SESSION} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: \
         application/json\r\ncontent-length: 9\r\n\r\n{{"
    );
    let talk = move |sent: String| {
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(addr).expect("it accepts");
            stream.set_read_timeout(Some(Duration::from_secs(40))).expect("a deadline");
            stream.write_all(sent.as_bytes()).expect("it reads");
            let mut answer = String::new();
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut chunk) {
                answer.push_str(&String::from_utf8_lossy(&chunk[..read]));
                if answer.ends_with('}') {
                    break;
                }
            }
            answer
        })
    };
    let (silent, head, body) =
        (talk(String::new()), talk("GET / HTTP/1.1\r\nhost:".into()), talk(body));
    assert_eq!(
        silent.await.expect("no panic"),
        "",
        "a connection that never sends a head is closed"
    );
    for answer in [head.await.expect("no panic"), body.await.expect("no panic")] {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["error"]["code"], "request_timeout", "{body}");
        assert_eq!(body["message"], body["error"]["message"]);
    }
}

#[tokio::test]
async fn a_body_in_a_transfer_coding_that_nobody_here_reads_is_400() {
    let server = TestServer::hosted(NOWHERE, &[]);
    for (codings, status) in [
        ("transfer-encoding: chunked\r\n", 401),
        ("transfer-encoding: Chunked\r\n", 401),
        ("transfer-encoding: gzip, chunked\r\n", 400),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", 400),
    ] {
        let mut stream = std::net::TcpStream::connect(server.addr()).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let head = format!(
            "POST {SESSION} HTTP/1.1\r\nhost: x\r\n{codings}connection: close\r\n\r\n0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{codings}: {answer}");
    }
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_400() {
    let server = TestServer::hosted(NOWHERE, &[]);
    for hosts in ["", "host: a\r\nhost: b\r\n"] {
        let mut stream = std::net::TcpStream::connect(server.addr()).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let head = format!("GET /healthz HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_request"),
            "{answer}"
        );
    }
}
