//! Whatever a stranger sends, in headers, cookies, paths and bodies: an answer in our own words,
//! and never a 500.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::support::server::{PATIENCE, TestServer};
use crate::support::tokens;

/// How many requests are made up; `PROPTEST_CASES` sets another number.
const REQUESTS: u32 = 4000;

/// A request in parts: method, path, headers, body.
#[derive(Debug, Clone)]
struct Stranger {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
    // Everything that may stand in a header's value: no control characters but the tab, anything
    // above 0x7f.
    let any =
        prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..200);
    let good = tokens::hs256("ada");
    let token = prop_oneof![
        Just(format!("Bearer {good}")),
        Just(format!("bearer  {good} ")),
        Just(format!("Bearer {good}.x")),
        "Bearer [A-Za-z0-9_=.-]{0,120}",
        "(Basic|Bearer|cks_) ?[ -~]{0,40}",
    ];
    let forwarded = prop_oneof![
        "([0-9]{1,4}\\.){3}[0-9]{1,4}(:[0-9]{0,6})?(, ?[0-9a-f:.\\[\\]]{0,40}){0,5}",
        "(for=\"?\\[?[0-9a-zA-Z_:.]{0,40}\\]?\"?;?(proto=[a-z]{0,6})?,? ?){0,5}",
    ];
    let cookie = "((chatkit_visitor|session)=[!-~]{0,80}; ?){0,3}";
    let origin = "(https?://|null|)[a-z.*-]{0,30}(:[0-9]{0,6})?";
    let texts = prop_oneof![token, forwarded, cookie, origin];
    prop_oneof![1 => any, 4 => texts.prop_map(String::into_bytes)]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = prop_oneof![
        Just("{}".to_owned()),
        Just(format!("{}1{}", "[".repeat(2000), "]".repeat(2000))),
        Just("{\"workflow\":{\"id\":{}},\"user\":[],\"workflowId\":1e999}".to_owned()),
        "\\{\"(workflow|workflowId|user|currentClientSecret)\":(null|\"\\\\u0000\"|-?[0-9]{1,30}|\\{\"id\":\"[a-z_]{0,9}\"\\}|\"[^\"\\\\]{0,40}\")\\}",
    ];
    prop_oneof![prop::collection::vec(any::<u8>(), 0..300), json.prop_map(String::into_bytes)]
}

fn stranger() -> impl Strategy<Value = Stranger> {
    let method = prop::sample::select(vec!["GET", "POST", "DELETE", "PUT", "OPTIONS", "PATCH"]);
    let paths = prop_oneof![
        prop::sample::select(vec![
            "/api/chatkit/session",
            "/api/chatkit/start",
            "/api/chatkit/refresh"
        ])
        .prop_map(str::to_owned),
        "/(api/chatkit|api/chatkit/assets|\\.env|%2e%2e|static)?(/[!-\"$-;=@-_a-z~]{0,20}){0,4}",
    ];
    let names = vec![
        "authorization",
        "authorization",
        "cookie",
        "origin",
        "x-forwarded-for",
        "x-forwarded-proto",
        "forwarded",
        "content-type",
        "x-request-id",
        "sec-fetch-site",
        "access-control-request-method",
        "access-control-request-headers",
    ];
    let headers = prop::collection::vec((prop::sample::select(names), header_bytes()), 0..6);
    (method, paths, headers, body()).prop_map(|(method, path, mut headers, body)| {
        if headers.iter().all(|(name, _)| *name != "content-type") {
            headers.push(("content-type", b"application/json".to_vec()));
        }
        Stranger { method, path, headers, body }
    })
}

fn ask(addr: SocketAddr, request: &Stranger) -> (u16, Vec<u8>) {
    let mut bytes =
        format!("{} {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n", request.method, request.path)
            .into_bytes();
    for (name, value) in &request.headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", request.body.len()).as_bytes());
    bytes.extend_from_slice(&request.body);
    let mut stream = TcpStream::connect(addr).expect("the server lives");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream.write_all(&bytes).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let status = std::str::from_utf8(&answer[9..12])
        .ok()
        .and_then(|status| status.parse().ok())
        .expect("a status");
    (status, answer[head_end + 4..].to_vec())
}

#[test]
fn nothing_a_stranger_sends_makes_it_panic_or_answer_in_other_words_than_ours() {
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let vars = [
        ("JWT_COOKIE", "session"),
        ("AUTH_ANONYMOUS", "on"),
        ("CHATKIT_COOKIE_KEY", "0123456789abcdef0123456789abcdef"),
        ("CORS_ALLOWED_ORIGINS", "https://*.example.com"),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
        ("RATE_LIMIT_IP_PER_MINUTE", "0"),
        ("RATE_LIMIT_USER_PER_MINUTE", "0"),
        ("RUST_LOG", "warn"),
    ];
    let servers = ["x-forwarded-for", "forwarded"].map(|header| {
        let vars = [&vars[..], &[("FORWARDED_HEADER", header)]].concat();
        TestServer::hosted(&format!("http://{}", sandbox.addr()), &vars)
    });
    let cases = std::env::vars()
        .find(|(name, _)| name == "PROPTEST_CASES")
        .and_then(|(_, cases)| cases.parse().ok());
    let config =
        Config { cases: cases.unwrap_or(REQUESTS), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(stranger(), 0..2_usize), |(request, which)| {
        let (status, body) = ask(servers[which].addr(), &request);
        prop_assert!(status < 500, "{status}: {}", String::from_utf8_lossy(&body));
        if status >= 400 {
            let body: Value = serde_json::from_slice(&body)
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(
                body["error"]["code"].is_string() && body["message"].is_string(),
                "{body}"
            );
        }
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    for server in servers {
        assert!(!server.logs().contains("panic"), "{}", server.logs());
    }
}
