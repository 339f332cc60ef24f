//! What is said to forms that are too large, too slow, broken, or none.

use std::time::Duration;

use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::room::{Room, form, plain};
use crate::support::server::PATIENCE;
use crate::support::tokens;

const MEBIBYTE: usize = 1024 * 1024;

/// The head of an upload of a form, and the form's beginning.
fn beginning(room: &Room, length: usize) -> String {
    let token = tokens::hs256("ada");
    format!(
        "POST /api/chatkit/upload HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         content-type: multipart/form-data; boundary=x\r\ncontent-length: {length}\r\n\r\n\
         --x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n",
        room.addr
    )
}

#[tokio::test]
async fn a_file_may_have_as_many_bytes_as_are_allowed_and_not_one_more() {
    let room = Room::new(&[("CHATKIT_UPLOAD_MAX_BYTES", "1048576")]).await;
    let kept = room.uploaded("ada", form("a.txt", "text/plain", vec![b'a'; MEBIBYTE])).await;
    for size in [MEBIBYTE + 1, MEBIBYTE + 100_000, 3 * MEBIBYTE] {
        let announced = form("a.txt", "text/plain", vec![b'a'; size]);
        let chunks = vec![b'a'; size].chunks(10_000).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let chunks = Body::wrap_stream(futures_util::stream::iter(
            chunks.into_iter().map(std::io::Result::Ok),
        ));
        let streamed = Form::new().part("file", Part::stream(chunks).file_name("a.txt"));
        for form in [announced, streamed] {
            let (status, refusal) = plain(room.upload("ada", form).await).await;
            assert_eq!(
                (status, &refusal["error"]["code"]),
                (413, &json!("body_too_large")),
                "{size}"
            );
        }
    }
    assert_eq!(room.names(), [kept["id"].as_str().expect("an id")]);
}

#[tokio::test]
async fn a_form_has_one_file() {
    let room = Room::new(&[]).await;
    let part = || Part::text("hello").file_name("a.txt");
    for (form, expected) in [
        (Form::new().part("file", part()).part("file", part()), "one file"),
        (Form::new().part("image", part()), "`file`"),
        (Form::new().text("note", "a".repeat(100_000)).part("file", part()), "64 KiB"),
    ] {
        let (status, refusal) = plain(room.upload("ada", form).await).await;
        assert_eq!(status, 400);
        assert!(
            refusal["message"].as_str().is_some_and(|text| text.contains(expected)),
            "{refusal}"
        );
    }
    assert_eq!(room.names(), [""; 0]);
    let more = Form::new().text("note", "a").part("file", part()).text("note", "b");
    assert_eq!(room.upload("ada", more).await.status(), 200, "other fields are passed over");
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let room = Room::new(&[]).await;
    let request = room.request("POST", "/api/chatkit/upload").bearer_auth(tokens::hs256("ada"));
    let answer = request.json(&json!({"file": "hello"})).send().await.expect("an answer");
    let (status, refusal) = plain(answer).await;
    assert_eq!((status, &refusal["error"]["code"]), (415, &json!("unsupported_media_type")));
    for body in ["", "--x\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nhello", "hello"] {
        let request = room.request("POST", "/api/chatkit/upload").bearer_auth(tokens::hs256("ada"));
        let request = request.header("content-type", "multipart/form-data; boundary=x").body(body);
        assert_eq!(request.send().await.expect("an answer").status(), 400, "{body:?}");
    }
    assert_eq!(room.names(), [""; 0]);
}

#[tokio::test]
async fn a_head_of_a_field_that_never_ends_is_not_kept_in_memory() {
    let room = Room::new(&[]).await;
    let mut stream = TcpStream::connect(room.addr).await.expect("it listens");
    // A field's head goes on, and a third of the body has come: enough to see that nothing can be
    // made of it.
    let body = format!("{}x-note: {}", beginning(&room, 9 * MEBIBYTE), "a".repeat(3 * MEBIBYTE));
    stream.write_all(body.as_bytes()).await.expect("it reads");
    let mut answer = vec![0; 12];
    let reading = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await;
    reading.expect("it does not wait for more").expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 400");
}

#[tokio::test]
async fn of_a_client_that_leaves_in_the_middle_nothing_is_kept() {
    let room = Room::new(&[]).await;
    let mut stream = TcpStream::connect(room.addr).await.expect("it listens");
    let body = format!("{}\r\n{}", beginning(&room, 10 * MEBIBYTE), "a".repeat(MEBIBYTE));
    stream.write_all(body.as_bytes()).await.expect("it reads");
    let begun = async {
        while room.names().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the file begins");
    drop(stream);
    room.emptied().await;
}

#[tokio::test]
async fn a_client_that_falls_silent_is_told_so_after_30_seconds() {
    let room = Room::new(&[]).await;
    let mut stream = TcpStream::connect(room.addr).await.expect("it listens");
    let begun = std::time::Instant::now();
    let body = format!("{}\r\nhello", beginning(&room, 1000));
    stream.write_all(body.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("connection: close") && answer.contains("\"request_timeout\""),
        "{answer}"
    );
    assert!((30..60).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(room.names(), [""; 0]);
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends_anything() {
    let room = Room::new(&[("CHATKIT_UPLOAD_MAX_BYTES", "1000")]).await;
    let mut stream = TcpStream::connect(room.addr).await.expect("it listens");
    let head = beginning(&room, MEBIBYTE);
    let head = head.split("\r\n\r\n").next().expect("a head");
    stream
        .write_all(format!("{head}\r\nexpect: 100-continue\r\n\r\n").as_bytes())
        .await
        .expect("it reads");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
}
