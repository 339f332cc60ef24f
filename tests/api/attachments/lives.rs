//! How long files live: until they are deleted, until nobody has sent them for a day, until their
//! thread goes.

use std::time::Duration;

use chatkit_server::chatkit::uploads::sweep::sweep;
use chatkit_server::chatkit::uploads::{
    check_attachments, create_attachment, delete_attachment, refuse_sent,
};
use chatkit_server::error::{Error, render};
use chatkit_server::protocol::{CreateAttachment, Id};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::room::{PNG, Room, form, id_of, owner};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn uploaded(room: &Room, user: &str, name: &str) -> Id {
    id_of(&room.uploaded(user, form(name, "text/plain", name.to_owned())).await)
}

async fn announced(room: &Room) -> Id {
    let params = CreateAttachment { name: "a".to_owned(), size: 1, mime_type: String::new() };
    let made = create_attachment(&room.uploads, &owner("ada"), &params, &room.base()).await;
    made.expect("it can be announced").id
}

/// Code and message of a refusal.
async fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (String, String) {
    let error = outcome.expect_err("it is refused");
    let mut response = axum::response::IntoResponse::into_response(error);
    render(&mut response, "r", false);
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&body["error"]["code"]), text(&body["message"]))
}

#[tokio::test]
async fn a_message_carries_what_is_its_senders_and_uploaded() {
    let room = Room::new(&[("CHATKIT_FILE_UPLOAD", "on,max_files=2")]).await;
    let ada = owner("ada");
    let (one, two) = (uploaded(&room, "ada", "1").await, uploaded(&room, "ada", "2").await);
    let checked = check_attachments(&room.uploads, &ada, &[two.clone(), one.clone()]).await;
    let names: Vec<_> =
        checked.expect("they can be sent").into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["2", "1"], "in the order of the message");
    assert_eq!(check_attachments(&room.uploads, &ada, &[]).await.expect("no files"), []);

    let (foreign, unsent) = (uploaded(&room, "grace", "3").await, announced(&room).await);
    let nobody: Id = "atc_00000000000000000000000000000000".into();
    let check = async |ids: &[&Id]| {
        let ids: Vec<Id> = ids.iter().map(|id| Id::clone(id)).collect();
        refusal(check_attachments(&room.uploads, &ada, &ids).await).await
    };
    for (ids, code, named) in [
        (&[&one, &nobody][..], "not_found", &nobody),
        (&[&one, &foreign], "not_found", &foreign),
        (&[&one, &unsent], "invalid_request", &unsent),
        (&[&one, &one], "invalid_request", &one),
    ] {
        let (said, message) = check(ids).await;
        assert_eq!(said, code, "{message}");
        assert!(message.contains(&**named), "{message}");
    }
    let of_nobody = check(&[&nobody]).await.1.replace(&*nobody, "");
    assert_eq!(
        check(&[&foreign]).await.1.replace(&*foreign, ""),
        of_nobody,
        "foreign and missing alike"
    );
    assert_eq!(check(&[&"atc_\0\n".into()]).await.0, "not_found", "whatever it is called");
    let (code, message) = check(&[&one, &two, &one]).await;
    assert_eq!(code, "invalid_request");
    assert!(message.contains("at most 2 files"), "{message}");
}

#[tokio::test]
async fn what_a_message_carries_is_neither_sent_again_nor_deleted() {
    let room = Room::new(&[]).await;
    let ada = owner("ada");
    let file = uploaded(&room, "ada", "1").await;
    let thread = room.send(&ada, std::slice::from_ref(&file)).await;
    let checked = check_attachments(&room.uploads, &ada, std::slice::from_ref(&file)).await;
    let checked = checked.expect("it is the owner's, and uploaded");
    assert_eq!(checked[0].thread_id.as_deref(), Some(&*thread), "who asks can tell a repeat");
    let (code, message) = refusal(refuse_sent(&checked)).await;
    assert_eq!(code, "conflict");
    assert!(message.contains(&*file), "{message}");
    assert_eq!(refusal(delete_attachment(&room.uploads, &ada, &file).await).await.0, "conflict");
    assert_eq!(room.names(), [&*file]);
}

#[tokio::test]
async fn a_file_that_was_not_sent_can_be_deleted_by_its_owner() {
    let room = Room::new(&[]).await;
    let file = uploaded(&room, "ada", "1").await;
    let foreign = refusal(delete_attachment(&room.uploads, &owner("grace"), &file).await).await;
    assert_eq!(foreign.0, "not_found");
    assert_eq!(room.names(), [&*file]);
    delete_attachment(&room.uploads, &owner("ada"), &file).await.expect("it is deleted");
    assert_eq!(room.names(), [""; 0]);
    let gone = refusal(delete_attachment(&room.uploads, &owner("ada"), &file).await).await;
    assert_eq!(gone, foreign, "foreign and missing alike");
    let waiting = announced(&room).await;
    delete_attachment(&room.uploads, &owner("ada"), &waiting).await.expect("without bytes as well");
}

#[tokio::test]
async fn a_user_has_so_many_files_unsent_and_no_more() {
    let room = Room::new(&[]).await;
    let ada = owner("ada");
    let sent = uploaded(&room, "ada", "sent").await;
    room.send(&ada, std::slice::from_ref(&sent)).await;
    let first = uploaded(&room, "ada", "first").await;
    for _ in 1..100 {
        announced(&room).await;
    }
    let params = CreateAttachment { name: "a".to_owned(), size: 1, mime_type: String::new() };
    let more = async || create_attachment(&room.uploads, &ada, &params, &room.base()).await;
    let (code, message) = refusal(more().await).await;
    assert_eq!(code, "conflict");
    assert!(message.contains("100 files"), "{message}");
    let refused = room.upload("ada", form("a.txt", "text/plain", "a")).await;
    assert_eq!(refused.status(), 409);
    assert_eq!(room.names().len(), 2, "nothing is kept of it");
    uploaded(&room, "grace", "another user's").await;

    delete_attachment(&room.uploads, &ada, &first).await.expect("it is deleted");
    let last = uploaded(&room, "ada", "last").await;
    assert_eq!(refusal(more().await).await.0, "conflict");
    room.send(&ada, std::slice::from_ref(&last)).await;
    more().await.expect("what was sent makes room");
}

#[tokio::test]
async fn files_that_nobody_sent_are_swept_after_a_day_with_what_never_came_to_its_end() {
    let room = Room::new(&[]).await;
    let ada = owner("ada");
    let going = CancellationToken::new();
    let sent = uploaded(&room, "ada", "1").await;
    room.send(&ada, std::slice::from_ref(&sent)).await;
    let unsent = id_of(&room.uploaded("ada", form("a.png", "image/png", PNG)).await);
    let waiting = announced(&room).await;
    let stray = room.uploads.files.begin().await.expect("a file");
    room.clock.advance(Duration::from_secs(59 * 60));
    sweep(&room.uploads, None, &going).await;
    assert_eq!(room.names().len(), 3, "all may still come to something");
    room.clock.advance(Duration::from_secs(2 * 60));
    sweep(&room.uploads, None, &going).await;
    let mut files = [sent.to_string(), unsent.to_string()];
    files.sort();
    assert_eq!(room.names(), files, "an hour without a byte is too long");
    drop(stray);

    room.clock.advance(DAY - Duration::from_secs(62 * 60));
    sweep(&room.uploads, None, &going).await;
    assert_eq!(room.names(), files, "a day is not over");
    room.clock.advance(Duration::from_secs(2 * 60));
    sweep(&room.uploads, None, &going).await;
    assert_eq!(room.names(), [&*sent]);
    for id in [&unsent, &waiting] {
        let found = room.uploads.store.attachment(&ada, id).await.expect("the store answers");
        assert_eq!(found, None);
    }
}

#[tokio::test]
async fn bytes_that_nobody_knows_are_swept_after_a_day() {
    let room = Room::new(&[]).await;
    let ada = owner("ada");
    let going = CancellationToken::new();
    let sent = uploaded(&room, "ada", "1").await;
    room.send(&ada, std::slice::from_ref(&sent)).await;
    for number in 0..250 {
        room.uploads
            .files
            .save(&format!("atc_{number:032}"), b"left over")
            .await
            .expect("it is written");
    }
    let folder = room.uploads.files.path("atc_0").expect("it is an id");
    std::fs::write(folder.with_file_name("readme.txt"), "not ours").expect("it is written");
    room.clock.advance(DAY - Duration::from_secs(60));
    sweep(&room.uploads, None, &going).await;
    assert_eq!(room.names().len(), 252, "somebody may be about to delete them");
    room.clock.advance(Duration::from_secs(2 * 60));
    sweep(&room.uploads, None, &going).await;
    assert_eq!(room.names(), [&*sent, "readme.txt"]);
}

#[tokio::test]
async fn a_folder_of_which_the_database_knows_nothing_is_left_alone() {
    let room = Room::new(&[]).await;
    room.uploads.files.save("atc_1", b"another database's").await.expect("it is written");
    room.clock.advance(2 * DAY);
    sweep(&room.uploads, None, &CancellationToken::new()).await;
    assert_eq!(room.names(), ["atc_1"]);
}

#[tokio::test]
async fn threads_that_were_kept_long_enough_go_with_their_files() {
    let room = Room::new(&[]).await;
    let ada = owner("ada");
    let going = CancellationToken::new();
    let old = uploaded(&room, "ada", "old").await;
    let old_thread = room.send(&ada, std::slice::from_ref(&old)).await;
    room.clock.advance(20 * DAY);
    let new = uploaded(&room, "ada", "new").await;
    let new_thread = room.send(&ada, std::slice::from_ref(&new)).await;
    room.clock.advance(11 * DAY);
    sweep(&room.uploads, None, &going).await;
    assert_eq!(room.names().len(), 2, "threads are kept unless somebody says for how long");
    sweep(&room.uploads, Some(30 * DAY), &going).await;
    assert_eq!(room.names(), [&*new]);
    let thread =
        async |id: &Id| room.uploads.store.thread(&ada, id).await.expect("the store answers");
    assert!(thread(&old_thread).await.is_none() && thread(&new_thread).await.is_some());
}
