//! What one client may hold before it has said anything worth an answer: connections, heads, and
//! answers that it does not take.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::metrics::{free_port, scrape, value};
use crate::support::server::{PATIENCE, TestServer, command};

const NOWHERE: &str = "http://127.0.0.1:9";

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("the system accepts");
    stream.set_read_timeout(Some(Duration::from_secs(45))).expect("a deadline");
    stream
}

/// Asks on this connection; nothing when it was closed without an answer.
fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    let mut chunk = [0; 4096];
    while !answer.ends_with('}') {
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => answer.push_str(&String::from_utf8_lossy(&chunk[..read])),
            Ok(0) | Err(_) => break,
        }
    }
    (!answer.is_empty()).then_some(answer)
}

/// What a server answers to this head, as far as it says anything.
fn answer_to(addr: SocketAddr, head: &str) -> String {
    let mut stream = connect(addr);
    // It may close before it has read everything.
    let _ = stream.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn head_of(bytes: usize) -> String {
    let start = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-pad: ";
    format!("{start}{}\r\n\r\n", "a".repeat(bytes - start.len() - 4))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_has_too_many_connections_gets_no_further_one_until_one_ends() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let vars = [("CONNECTIONS_PER_ADDRESS", "3"), ("METRICS_ADDR", metrics.as_str())];
    let server = TestServer::hosted(NOWHERE, &vars);
    let mut open: Vec<_> = (0..3).map(|_| connect(server.addr())).collect();
    for stream in &mut open {
        assert!(ask(stream).is_some(), "one of the first three");
    }
    for _ in 0..2 {
        assert_eq!(ask(&mut connect(server.addr())), None, "closed without an answer");
    }
    let text = scrape(&metrics).await;
    assert_eq!(value(&text, "chatkit_connections_open"), Some(3.0));
    assert_eq!(value(&text, "chatkit_connections_refused_total"), Some(2.0));
    assert!(server.logs().contains("TRUSTED_PROXIES"), "{}", server.logs());
    assert!(ask(&mut open[0]).is_some(), "those that are open go on");

    open.pop();
    let deadline = Instant::now() + PATIENCE;
    while ask(&mut connect(server.addr())).is_none() {
        assert!(Instant::now() < deadline, "one has ended, another one may come");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_has_as_many_connections_as_it_likes_and_0_is_no_limit() {
    let trusting = [("CONNECTIONS_PER_ADDRESS", "1"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    for vars in [&trusting[..], &[("CONNECTIONS_PER_ADDRESS", "0")]] {
        let server = TestServer::hosted(NOWHERE, vars);
        let mut open: Vec<_> = (0..20).map(|_| connect(server.addr())).collect();
        assert_eq!(open.iter_mut().filter_map(ask).count(), 20, "{vars:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed_after_10_seconds_and_one_that_did_is_kept() {
    let server = TestServer::hosted(NOWHERE, &[]);
    let began = Instant::now();
    let (mut silent, mut spoke) = (connect(server.addr()), connect(server.addr()));
    assert!(ask(&mut spoke).is_some());
    assert_eq!(silent.read(&mut [0]).expect("it is closed"), 0, "without an answer");
    let took = began.elapsed();
    assert!((9..20).contains(&took.as_secs()), "{took:?}");
    assert!(ask(&mut spoke).is_some(), "30 seconds may pass between two requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_beside_the_metrics_while_the_front_door_is_full() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let vars = [("CONNECTIONS_PER_ADDRESS", "2"), ("METRICS_ADDR", metrics.as_str())];
    let server = TestServer::self_hosted(&vars);
    let open = [connect(server.addr()), connect(server.addr())];
    assert_eq!(ask(&mut connect(server.addr())), None, "the front door is full");
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    for (path, status, body) in [
        ("healthz", 200, r#"{"status":"ok"}"#),
        ("readyz", 200, r#"{"status":"ready"}"#),
        ("nothing", 404, "not_found"),
    ] {
        let url = format!("http://{metrics}/{path}");
        let answer = client.get(&url).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert!(answer.headers().contains_key("x-request-id"));
        assert!(answer.text().await.expect("text").contains(body), "{path}");
        let head = client.head(&url).send().await.expect("an answer");
        assert_eq!(
            (head.status().as_u16(), head.text().await.expect("text")),
            (status, String::new())
        );
    }
    let posted = client.post(format!("http://{metrics}/readyz")).send().await.expect("an answer");
    assert_eq!(posted.status(), 405);

    let port = server.addr().port().to_string();
    let healthy = |vars: &[(&str, &str)]| {
        command(&["healthcheck"], vars).output().expect("it runs").status.code() == Some(0)
    };
    assert!(healthy(&[("PORT", &port), ("METRICS_ADDR", &metrics)]), "the container is well");
    assert!(!healthy(&[("PORT", &port)]), "the front door does not answer");
    drop(open);
    let nobody = format!("127.0.0.1:{}", free_port());
    let deadline = Instant::now() + PATIENCE;
    while !healthy(&[("PORT", &port), ("METRICS_ADDR", &nobody)]) {
        assert!(
            Instant::now() < deadline,
            "the front door is asked where nothing listens for metrics"
        );
    }
}

#[test]
fn a_head_of_40_kib_is_served_and_one_over_64_kib_is_431() {
    let server = TestServer::hosted(NOWHERE, &[]);
    for bytes in [100, 40 * 1024, 63 * 1024] {
        let answer = answer_to(server.addr(), &head_of(bytes));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{bytes}: {answer}");
    }
    let line = |start: &str| start.to_owned() + &"a".repeat(65 * 1024);
    for head in [
        head_of(64 * 1024 + 1),
        head_of(100 * 1024),
        line("GET /"),
        line("GET / HTTP/1.1\r\nhost: x\r\nx-pad: "),
    ] {
        let answer = answer_to(server.addr(), &head);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{}: {answer}", head.len());
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["error"]["code"], "head_too_large");
        server.log_line(|line| {
            line["status"] == 431 && line["request_id"] == body["error"]["request_id"]
        });
    }
}

#[test]
fn a_head_that_is_no_head_is_400_in_json() {
    let server = TestServer::hosted(NOWHERE, &[]);
    for head in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nho st: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = answer_to(server.addr(), head);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["error"]["code"], "invalid_request", "{head}");
    }
}

/// Resident memory of a process in bytes (proc(5): the second number of statm, in pages).
fn resident(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("it runs");
    statm.split_whitespace().nth(1).expect("pages").parse::<usize>().expect("a number") * 4096
}

#[test]
fn an_unfinished_head_takes_no_more_than_64_kib() {
    const HEADS: usize = 300;
    let server = TestServer::hosted(NOWHERE, &[("LOG_FORMAT", "json")]);
    let head = head_of(380 * 1024);
    let before = resident(server.pid());
    let open: Vec<_> = (0..HEADS)
        .map(|number| {
            let mut stream = connect(server.addr());
            // Half of them keep as much as is taken, half of them more.
            let sent = if number % 2 == 0 { 63 * 1024 } else { head.len() - 4 };
            let _ = stream.write_all(&head.as_bytes()[..sent]);
            stream
        })
        .collect();
    // What was written has been read by now: the last answer comes after all of it.
    assert!(ask(&mut connect(server.addr())).is_some());
    let each = resident(server.pid()).saturating_sub(before) / HEADS;
    assert!(each < 80 * 1024, "{each} bytes each");
    drop(open);
}

/// More than the buffers of both systems hold.
const LARGE: u64 = 64 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_an_answer_drop_by_drop_is_dropped() {
    let folder = std::env::temp_dir().join(format!("chatkit-drops-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::File::create(folder.join("large.bin"))
        .expect("a file")
        .set_len(LARGE)
        .expect("a large one");
    let metrics = format!("127.0.0.1:{}", free_port());
    let folder_text = folder.to_str().expect("UTF-8");
    let vars = [("STATIC_DIR", folder_text), ("METRICS_ADDR", metrics.as_str())];
    let server = TestServer::hosted(NOWHERE, &vars);

    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be set");
    let mut slow = socket.connect(server.addr()).await.expect("a connection");
    slow.write_all(b"GET /large.bin HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it is read");
    let mut drops = [0; 2048];
    let began = Instant::now();
    loop {
        // Twice a second: a server that waits for any progress at all waits for ever.
        tokio::time::sleep(Duration::from_millis(500)).await;
        if slow.read(&mut drops).await.unwrap_or(0) == 0 {
            break;
        }
        if value(&scrape(&metrics).await, "chatkit_connections_open") == Some(0.0) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
    }
    assert!(began.elapsed() > Duration::from_secs(25), "everybody has half a minute");
    std::fs::remove_dir_all(folder).expect("it is ours");
}
