//! What goes out: to whoever has a link or owns the file, and in a way that nothing of it runs.

use std::time::Duration;

use reqwest::Response;
use serde_json::Value;

use super::room::{PNG, Room, form, id_of, owner, plain};
use crate::support::server::TestServer;
use crate::support::tokens;

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().expect("text"))
}

fn preview(attachment: &Value) -> String {
    attachment["preview_url"].as_str().expect("an image has a preview").to_owned()
}

async fn get(room: &Room, url: &str) -> Response {
    room.request("GET", url).send().await.expect("an answer")
}

#[tokio::test]
async fn an_image_is_shown_by_its_link_and_nothing_in_it_runs() {
    let room = Room::new(&[]).await;
    let image = room.uploaded("ada", form("a b.png", "image/png", PNG)).await;
    let answer = get(&room, &preview(&image)).await;
    assert_eq!(answer.status(), 200);
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-disposition", "inline; filename=\"a b.png\""),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("content-length", &PNG.len().to_string()),
    ] {
        assert_eq!(header(&answer, name), Some(value), "{name}");
    }
    let cache = header(&answer, "cache-control").expect("it says how long");
    let seconds = cache.strip_prefix("private, max-age=").and_then(|seconds| seconds.parse().ok());
    assert!(seconds.is_some_and(|seconds: u32| (3300..=3600).contains(&seconds)), "{cache}");
    assert_eq!(answer.bytes().await.expect("a body"), PNG);

    let head = room.request("HEAD", &preview(&image)).send().await.expect("an answer");
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, Some("24")));
    assert_eq!(head.bytes().await.expect("no body"), "");
}

#[tokio::test]
async fn any_other_file_is_only_ever_saved() {
    let room = Room::new(&[]).await;
    for (name, media_type, bytes, served_as, disposition) in [
        (
            "a.html",
            "text/html",
            "<script>alert(1)</script>",
            "application/octet-stream",
            "filename=\"a.html\"",
        ),
        ("a.svg", "image/svg+xml", "<svg/>", "application/octet-stream", "filename=\"a.svg\""),
        (
            "Grüße.pdf",
            "application/pdf",
            "%PDF-1.7",
            "application/pdf",
            "filename=\"Gr__e.pdf\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.pdf",
        ),
    ] {
        let file = room.uploaded("ada", form(name, media_type, bytes)).await;
        let path = format!("/api/chatkit/attachments/{}", id_of(&file));
        let request = room.request("GET", &path).bearer_auth(tokens::hs256("ada"));
        let answer = request.send().await.expect("an answer");
        assert_eq!(header(&answer, "content-type"), Some(served_as), "{name}");
        assert_eq!(
            header(&answer, "content-disposition"),
            Some(&*format!("attachment; {disposition}"))
        );
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&answer, "content-security-policy"), Some("sandbox; default-src 'none'"));
        assert_eq!(
            header(&answer, "cache-control"),
            Some("private, no-cache"),
            "no link says how long"
        );
        assert_eq!(answer.text().await.expect("a body"), bytes);
    }
}

#[tokio::test]
async fn a_part_of_a_file_can_be_asked_for() {
    let room = Room::new(&[]).await;
    let image = room.uploaded("ada", form("a.png", "image/png", PNG)).await;
    let ranged = async |range: &str| {
        let request = room.request("GET", &preview(&image)).header("range", range);
        request.send().await.expect("an answer")
    };
    let part = ranged("bytes=1-3").await;
    assert_eq!(
        (part.status().as_u16(), header(&part, "content-range")),
        (206, Some("bytes 1-3/24"))
    );
    assert_eq!(header(&part, "content-security-policy"), Some("sandbox; default-src 'none'"));
    assert_eq!(part.bytes().await.expect("a body"), "PNG");
    let beyond = ranged("bytes=100-").await;
    assert_eq!(header(&beyond, "content-range"), Some("bytes */24"));
    let (status, refusal) = plain(beyond).await;
    assert_eq!((status, refusal["error"]["code"].as_str()), (416, Some("range_not_satisfiable")));
}

#[tokio::test]
async fn what_is_missing_or_foreign_or_behind_a_bad_link_is_the_same_404() {
    let room = Room::new(&[]).await;
    let image = room.uploaded("ada", form("a.png", "image/png", PNG)).await;
    let (id, link) = (id_of(&image), preview(&image));
    let path = format!("/api/chatkit/attachments/{id}");
    let as_user = async |user: &str, path: &str| {
        let request = room.request("GET", path).bearer_auth(tokens::hs256(user));
        plain(request.send().await.expect("an answer")).await
    };
    let missing =
        as_user("ada", "/api/chatkit/attachments/atc_00000000000000000000000000000000").await;
    assert_eq!((missing.0, missing.1["error"]["code"].as_str()), (404, Some("not_found")));
    assert_eq!(as_user("grace", &path).await, missing, "foreign");
    for odd in ["atc_%00", "%ff", "..%2f..%2fetc%2fpasswd", "atc_zz", ".part_0"] {
        assert_eq!(
            as_user("ada", &format!("/api/chatkit/attachments/{odd}")).await,
            missing,
            "{odd}"
        );
    }
    let (_, query) = link.split_once('?').expect("it is signed");
    for bad in [
        format!("/api/chatkit/attachments/atc_00000000000000000000000000000000?{query}"),
        format!("{path}?{}", query.replace("expires=1", "expires=2")),
        format!("{path}?{}", query.split('&').next().expect("an end")),
        format!("{path}?expires=&signature="),
        format!("{link}x"),
    ] {
        assert_eq!(plain(get(&room, &bad).await).await, missing, "{bad}");
    }
    assert_eq!(get(&room, &path).await.status(), 401, "without link and credential");
    room.clock.advance(Duration::from_secs(54 * 60));
    assert_eq!(get(&room, &link).await.status(), 200, "it is good for nearly an hour");
    room.clock.advance(Duration::from_secs(6 * 60));
    assert_eq!(plain(get(&room, &link).await).await, missing, "expired");
    room.uploads.files.remove(&id).await.expect("it is removed");
    assert_eq!(as_user("ada", &path).await, missing, "the bytes are gone");
}

#[tokio::test]
async fn links_say_what_the_client_typed() {
    let room = Room::new(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let request = room.request("POST", "/api/chatkit/upload").bearer_auth(tokens::hs256("ada"));
    let request = request.header("host", "chat.example").header("x-forwarded-proto", "https");
    let answer =
        request.multipart(form("a.png", "image/png", PNG)).send().await.expect("an answer");
    let image: Value = answer.json().await.expect("JSON");
    assert!(
        preview(&image).starts_with("https://chat.example/api/chatkit/attachments/"),
        "{image}"
    );
}

#[tokio::test]
async fn an_item_goes_out_with_fresh_links_and_none_is_stored() {
    let room = Room::new(&[]).await;
    let ada = owner("ada");
    let image = id_of(&room.uploaded("ada", form("a.png", "image/png", PNG)).await);
    let file = id_of(&room.uploaded("ada", form("a.txt", "text/plain", "a")).await);
    let thread = room.send(&ada, &[image.clone(), file]).await;
    let page = chatkit_server::store::PageQuery {
        limit: 1,
        order: chatkit_server::protocol::Order::Asc,
        after: None,
    };
    let audience = chatkit_server::store::Audience::Client;
    let items =
        room.uploads.store.items(&ada, &thread, &page, audience).await.expect("the store answers");
    let mut item = items.expect("the thread is there").data.remove(0);
    let stored = serde_json::to_value(&item).expect("JSON");
    assert_eq!(stored["attachments"][0]["preview_url"], "", "a link would expire");
    room.uploads.present_item(&mut item, &room.base());
    let shown = serde_json::to_value(&item).expect("JSON");
    assert_eq!(get(&room, &preview(&shown["attachments"][0])).await.status(), 200);
    assert_eq!(shown["attachments"][0]["thread_id"], &*thread);
    assert_eq!(shown["attachments"][1].get("preview_url"), None, "a file has none");
}

#[tokio::test]
async fn the_widget_may_read_attachments_from_its_own_origin_and_nothing_else() {
    let cookie = ("JWT_COOKIE", "session");
    let server = TestServer::hosted("http://127.0.0.1:9", &[cookie]);
    let allowed = async |path: &str, origin: &str| {
        let answer = server.get(path).header("origin", origin).send().await.expect("an answer");
        assert_eq!(
            header(&answer, "access-control-allow-credentials"),
            None,
            "a link needs no cookie"
        );
        header(&answer, "access-control-allow-origin").map(str::to_owned)
    };
    let widget = "https://cdn.platform.openai.com";
    assert_eq!(allowed("/api/chatkit/attachments/atc_1", widget).await.as_deref(), Some(widget));
    assert_eq!(allowed("/api/chatkit/attachments", widget).await, None);
    assert_eq!(allowed("/api/chatkit/config", widget).await, None);
    assert_eq!(allowed("/api/chatkit/attachments/atc_1", "https://openai.com").await, None);
}
