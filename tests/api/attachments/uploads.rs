//! What comes in: directly, and announced first.

use chatkit_server::chatkit::uploads::create_attachment;
use chatkit_server::protocol::{Attachment, CreateAttachment};
use reqwest::Response;
use serde_json::{Value, json};

use super::room::{PNG, Room, form, id_of, owner, plain};

fn announcement(name: &str, size: usize, mime_type: &str) -> CreateAttachment {
    CreateAttachment { name: name.to_owned(), size: size as u64, mime_type: mime_type.to_owned() }
}

async fn announce(room: &Room, params: &CreateAttachment) -> Attachment {
    let made = create_attachment(&room.uploads, &owner("ada"), params, &room.base()).await;
    made.unwrap_or_else(|error| panic!("{error:?}"))
}

fn link_of(attachment: &Attachment) -> String {
    attachment.upload_descriptor.as_ref().expect("it tells where to send the bytes").url.clone()
}

/// What a browser sends to the link: no credential.
async fn complete(room: &Room, link: &str, bytes: &[u8]) -> Response {
    let form = form("other.bin", "application/octet-stream", bytes);
    room.request("POST", link).multipart(form).send().await.expect("an answer")
}

#[tokio::test]
async fn a_direct_upload_answers_with_the_attachment_and_nothing_that_is_null() {
    let room = Room::new(&[]).await;
    let mut image = room.uploaded("ada", form("../dot.png", "image/png", PNG)).await;
    let preview = image["preview_url"].take();
    let id = id_of(&image);
    assert_eq!(
        image,
        json!({"id": &*id, "name": "dot.png", "mime_type": "image/png", "type": "image", "preview_url": null})
    );
    let link = format!("http://{}/api/chatkit/attachments/{id}?expires=", room.addr);
    assert!(preview.as_str().is_some_and(|preview| preview.starts_with(&link)), "{preview}");

    let file = room.uploaded("ada", form("a.txt", "text/plain", "hello")).await;
    let other = id_of(&file);
    assert_eq!(
        file,
        json!({"id": &*other, "name": "a.txt", "mime_type": "text/plain", "type": "file"})
    );
    let stored =
        room.uploads.store.attachment(&owner("ada"), &other).await.expect("the store answers");
    let stored = stored.expect("it is stored");
    assert_eq!((stored.size, stored.is_uploaded), (5, true));
    let mut names = [id.to_string(), other.to_string()];
    names.sort();
    assert_eq!(room.names(), names);
}

#[tokio::test]
async fn the_content_decides_what_an_image_is() {
    let room = Room::new(&[]).await;
    let page = "<html><script>alert(1)</script></html>";
    let (status, refusal) = plain(room.upload("ada", form("a.png", "image/png", page)).await).await;
    assert_eq!((status, &refusal["error"]["code"]), (415, &json!("unsupported_media_type")));
    assert_eq!(room.names(), [""; 0], "nothing is kept of it");

    let svg =
        room.uploaded("ada", form("a.svg", "image/svg+xml", "<svg onload='alert(1)'/>")).await;
    assert_eq!(
        (&svg["type"], &svg["mime_type"]),
        (&json!("file"), &json!("application/octet-stream"))
    );
    let page = room.uploaded("ada", form("a.html", "text/html", page)).await;
    assert_eq!(
        (&page["type"], &page["mime_type"]),
        (&json!("file"), &json!("application/octet-stream"))
    );
    let image = room.uploaded("ada", form("a.txt", "text/plain", PNG)).await;
    assert_eq!((&image["type"], &image["mime_type"]), (&json!("image"), &json!("image/png")));
}

#[tokio::test]
async fn an_announced_file_is_sent_to_a_link_without_a_credential_and_once() {
    let room = Room::new(&[]).await;
    let announced = announce(&room, &announcement("dot.png", PNG.len(), "image/png")).await;
    let wire: Value = serde_json::to_value(&announced).expect("JSON");
    assert_eq!(
        (
            &wire["type"],
            &wire["upload_descriptor"]["method"],
            &wire["upload_descriptor"]["headers"]
        ),
        (&json!("image"), &json!("POST"), &json!({}))
    );
    let preview = wire["preview_url"].as_str().expect("an image has a preview");
    assert_eq!(
        room.request("GET", preview).send().await.expect("an answer").status(),
        404,
        "not yet"
    );

    let (status, body) = plain(complete(&room, &link_of(&announced), PNG).await).await;
    assert_eq!(status, 200);
    assert_eq!((&body["id"], &body["name"]), (&json!(&*announced.id), &json!("dot.png")));
    assert_eq!(body.get("upload_descriptor"), None);
    let shown = room.request("GET", preview).send().await.expect("an answer");
    assert_eq!(shown.bytes().await.expect("a body"), PNG);

    let (status, again) = plain(complete(&room, &link_of(&announced), PNG).await).await;
    assert_eq!((status, &again["error"]["code"]), (409, &json!("conflict")));
    assert_eq!(room.names(), [&*announced.id]);
}

#[tokio::test]
async fn an_upload_that_was_broken_off_at_its_end_can_be_repeated() {
    let room = Room::new(&[]).await;
    // A process that is killed may have placed the bytes, and not noted it; an older one left an
    // empty file.
    for left_over in [&b""[..], b"hello", b"other"] {
        let announced = announce(&room, &announcement("a.txt", 5, "text/plain")).await;
        room.uploads.files.save("atc_0", b"").await.expect("the folder is there");
        let path = room.uploads.files.path(&announced.id).expect("it is an id");
        std::fs::write(path, left_over).expect("it can be written");
        assert_eq!(complete(&room, &link_of(&announced), b"hello").await.status(), 200);
        let bytes = room.uploads.files.read(&announced.id).await.expect("it can be read");
        assert_eq!(bytes.as_deref(), Some(&b"hello"[..]));
        assert_eq!(
            complete(&room, &link_of(&announced), b"again").await.status(),
            409,
            "and no more"
        );
    }
}

#[tokio::test]
async fn no_more_comes_in_than_was_announced_and_no_other_kind() {
    let room = Room::new(&[]).await;
    let announced = announce(&room, &announcement("a.txt", 5, "text/plain")).await;
    assert_eq!(complete(&room, &link_of(&announced), b"hello!").await.status(), 413);
    assert_eq!(room.names(), [""; 0]);
    assert_eq!(
        complete(&room, &link_of(&announced), b"hello").await.status(),
        200,
        "it may be tried again"
    );

    let image = announce(&room, &announcement("a.png", 100, "image/png")).await;
    assert_eq!(complete(&room, &link_of(&image), b"<html>").await.status(), 415);
    assert_eq!(room.names(), [&*announced.id]);
}

#[tokio::test]
async fn a_link_for_an_upload_is_good_for_that_alone_and_not_for_long() {
    let room = Room::new(&[]).await;
    let announced = announce(&room, &announcement("a.txt", 5, "text/plain")).await;
    let link = link_of(&announced);
    let other = link.replace(&*announced.id, "atc_00000000000000000000000000000000");
    let no_name = link.replace("attachment=", "other=");
    let unsigned = link.split("&signature=").next().expect("it is signed").to_owned();
    let preview = link
        .replace("upload?attachment=", "attachments/")
        .replace('&', "?")
        .replacen("?s", "&s", 1);
    for bad in [other, no_name, unsigned, format!("{link}x")] {
        assert_eq!(complete(&room, &bad, b"hello").await.status(), 404, "{bad}");
    }
    assert_eq!(
        room.request("GET", &preview).send().await.expect("an answer").status(),
        404,
        "{preview}"
    );
    room.clock.advance(std::time::Duration::from_secs(10 * 60));
    assert_eq!(complete(&room, &link, b"hello").await.status(), 404, "it has expired");
}

#[tokio::test]
async fn what_is_announced_is_checked_and_cleaned() {
    let room = Room::new(&[("CHATKIT_UPLOAD_MAX_BYTES", "10")]).await;
    let (ada, base) = (owner("ada"), room.base());
    for (size, mime_type, code) in
        [(11, "text/plain", "body_too_large"), (10, "plain", "invalid_request")]
    {
        let refused =
            create_attachment(&room.uploads, &ada, &announcement("a", size, mime_type), &base)
                .await;
        assert_eq!(refused.expect_err("it is refused").kind().parts().2, code);
    }
    let made = announce(&room, &announcement("C:\\x\\..\u{0}", 10, "")).await;
    assert_eq!((&*made.name, &*made.mime_type), ("file", "application/octet-stream"));
}

#[tokio::test]
async fn nobody_uploads_without_a_credential_or_where_there_are_no_uploads() {
    let room = Room::new(&[]).await;
    let sent =
        room.request("POST", "/api/chatkit/upload").multipart(form("a", "text/plain", "a")).send();
    let (status, refusal) = plain(sent.await.expect("an answer")).await;
    assert_eq!((status, &refusal["error"]["code"]), (401, &json!("missing_token")));
    assert_eq!(room.names(), [""; 0]);

    let room = Room::new(&[("CHATKIT_FILE_UPLOAD", "off")]).await;
    assert_eq!(room.upload("ada", form("a", "text/plain", "a")).await.status(), 404);
    let refused =
        create_attachment(&room.uploads, &owner("ada"), &announcement("a", 1, "a/b"), &room.base())
            .await;
    assert_eq!(refused.expect_err("it is refused").kind().parts().2, "not_found");
    let answer =
        room.request("GET", "/api/chatkit/attachments/atc_1").send().await.expect("an answer");
    assert_eq!(answer.status(), 404);
}
