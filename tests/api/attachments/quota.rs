//! How much may one user keep, and send at once? Files of messages count, and so do bytes on their
//! way.

use bytes::Bytes;
use chatkit_server::chatkit::uploads::{create_attachment, delete_attachment};
use chatkit_server::error::Error;
use chatkit_server::protocol::{Attachment, CreateAttachment};
use futures_util::stream;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Response};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::room::{Room, form, id_of, owner, plain};
use crate::support::server::{PATIENCE, send_meanwhile};
use crate::support::tokens;

async fn announce(room: &Room, size: usize) -> Result<Attachment, Error> {
    let params = CreateAttachment {
        name: "a.txt".to_owned(),
        size: size as u64,
        mime_type: "text/plain".to_owned(),
    };
    create_attachment(&room.uploads, &owner("ada"), &params, &room.base()).await
}

fn link_of(attachment: &Attachment) -> String {
    attachment.upload_descriptor.as_ref().expect("it tells where to send the bytes").url.clone()
}

fn text(length: usize) -> Form {
    form("a.txt", "text/plain", vec![b'a'; length])
}

/// An upload that sends what it is given.
struct Upload {
    pieces: mpsc::UnboundedSender<Bytes>,
    answer: JoinHandle<reqwest::Result<Response>>,
}

impl Upload {
    /// Of ada's, with a link or with her token, of so many bytes. It is under way when this
    /// returns.
    async fn begin(room: &Room, link: Option<&str>, length: usize) -> Self {
        let (pieces, given) = mpsc::unbounded_channel();
        let given = stream::unfold(given, async |mut given: mpsc::UnboundedReceiver<Bytes>| {
            given.recv().await.map(|piece| (Ok::<_, std::io::Error>(piece), given))
        });
        let part =
            Part::stream_with_length(Body::wrap_stream(given), length as u64).file_name("a.txt");
        let request = match link {
            Some(link) => room.request("POST", link),
            None => room.request("POST", "/api/chatkit/upload").bearer_auth(tokens::hs256("ada")),
        };
        let answer = send_meanwhile(request.multipart(Form::new().part("file", part)));
        let upload = Self { pieces, answer };
        let before = room.names().len();
        upload.send(1);
        let begun = async {
            while room.names().len() == before {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begun).await.expect("it begins");
        upload
    }

    fn send(&self, length: usize) {
        self.pieces.send(Bytes::from(vec![b'1'; length])).expect("it is read");
    }

    async fn answer(self) -> Response {
        // The file ends when nobody has more of it.
        drop(self.pieces);
        self.answer.await.expect("no panic").expect("an answer")
    }
}

#[tokio::test]
async fn a_user_keeps_so_much_and_what_is_deleted_is_free_at_once() {
    let vars = [("CHATKIT_UPLOAD_QUOTA_BYTES", "100"), ("RATE_LIMIT_USER_PER_MINUTE", "0")];
    let room = Room::new(&vars).await;
    let ada = owner("ada");
    let sent = id_of(&room.uploaded("ada", text(60)).await);
    let thread = room.send(&ada, std::slice::from_ref(&sent)).await;
    for _ in 0..2 {
        let (status, refusal) = plain(room.upload("ada", text(41)).await).await;
        assert_eq!((status, &refusal["error"]["code"]), (413, &json!("quota_exceeded")));
        assert!(
            refusal["message"].as_str().is_some_and(|text| text.contains("100 bytes")),
            "{refusal}"
        );
        assert_eq!(
            announce(&room, 41).await.expect_err("too much").kind().parts().2,
            "quota_exceeded"
        );
        assert_eq!(room.names(), [&*sent], "nothing is kept of it");
    }
    let announced = announce(&room, 40).await.expect("it fits");
    let (status, _) = plain(room.upload("ada", text(1)).await).await;
    assert_eq!(status, 413, "what is announced counts");
    room.uploaded("bob", text(100)).await;

    delete_attachment(&room.uploads, &ada, &announced.id).await.expect("it is deleted");
    room.uploaded("ada", text(40)).await;
    assert_eq!(room.upload("ada", text(1)).await.status(), 413);
    room.uploads.store.delete_thread(&ada, &thread).await.expect("the store answers");
    room.uploaded("ada", text(60)).await;
    let agent = chatkit_server::store::Owner { workflow: "another".into(), user: ada.user.clone() };
    let kept = room.uploads.store.kept_attachments(&agent).await.expect("the store answers");
    assert_eq!(kept.bytes, 100, "with every agent together");
}

#[tokio::test]
async fn a_quota_of_zero_is_none() {
    let room = Room::new(&[("CHATKIT_UPLOAD_QUOTA_BYTES", "0")]).await;
    room.uploaded("ada", text(100_000)).await;
    announce(&room, 20 * 1024 * 1024).await.expect("it may be announced");
}

#[tokio::test]
async fn bytes_on_their_way_count_before_they_have_arrived() {
    let kibibytes = 1024;
    let quota = (600 * kibibytes).to_string();
    let room = Room::new(&[("CHATKIT_UPLOAD_QUOTA_BYTES", &quota)]).await;
    let first = Upload::begin(&room, None, 400 * kibibytes).await;
    let (status, refusal) = plain(room.upload("ada", text(400 * kibibytes)).await).await;
    assert_eq!((status, &refusal["error"]["code"]), (413, &json!("quota_exceeded")));
    room.uploaded("ada", text(100 * kibibytes)).await;
    first.send(400 * kibibytes - 1);
    assert_eq!(first.answer().await.status(), 200, "it goes on");
    assert_eq!(room.upload("ada", text(101 * kibibytes)).await.status(), 413);
    room.uploaded("ada", text(100 * kibibytes)).await;
}

#[tokio::test]
async fn a_second_upload_to_one_announced_file_is_refused_and_the_first_goes_on() {
    let room = Room::new(&[]).await;
    let announced = announce(&room, 5).await.expect("it may be announced");
    let first = Upload::begin(&room, Some(&link_of(&announced)), 5).await;
    let second =
        room.request("POST", &link_of(&announced)).multipart(form("a.png", "text/plain", "other"));
    let (status, refusal) = plain(second.send().await.expect("an answer")).await;
    assert_eq!((status, &refusal["error"]["code"]), (409, &json!("conflict")));
    first.send(4);
    assert_eq!(first.answer().await.status(), 200);
    let bytes = room.uploads.files.read(&announced.id).await.expect("it can be read");
    assert_eq!(bytes.as_deref(), Some(&b"11111"[..]));
    assert_eq!(room.names(), [&*announced.id], "nothing else is left");

    let given_up = announce(&room, 5).await.expect("it may be announced");
    let first = Upload::begin(&room, Some(&link_of(&given_up)), 5).await;
    first.answer.abort();
    let again = async || {
        let request = room.request("POST", &link_of(&given_up)).multipart(text(5));
        request.send().await.expect("an answer").status()
    };
    let gone = async {
        while again().await == 409 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("one that was given up stands in nobody's way");
}

#[tokio::test]
async fn an_upload_by_a_link_counts_for_its_owner() {
    let room =
        Room::new(&[("RATE_LIMIT_USER_PER_MINUTE", "1"), ("RATE_LIMIT_USER_BURST", "2")]).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        let announced = announce(&room, 5).await.expect("it may be announced");
        let request = room.request("POST", &link_of(&announced)).multipart(text(5));
        let answer = request.send().await.expect("an answer");
        answers.push((answer.status().as_u16(), answer.headers().contains_key("retry-after")));
    }
    assert_eq!(answers, [(200, false), (200, false), (429, true)]);
    assert_eq!(room.upload("ada", text(1)).await.status(), 429, "the same limit as with her token");
    room.uploaded("bob", text(1)).await;
}
