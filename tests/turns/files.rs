//! What if a file goes away, or is sent elsewhere, after its message was checked and before the
//! message is stored?

use std::sync::Arc;

use chatkit_server::clock::SystemClock;
use chatkit_server::protocol::{Attachment, AttachmentKind, Id, Timestamp};
use chatkit_server::store::{Owner, Store, StoredAttachment, connect};
use chatkit_server::user::UserId;
use serde_json::{Value, json};

use crate::support::client::{Client, add, create, thread_of};
use crate::support::parrot::{Parrot, parrot};
use crate::support::server::{Server, Setup};

/// A thread in which an answer is under way, and whatever comes next waits.
struct Busy {
    store: Arc<dyn Store>,
    parrot: Arc<Parrot>,
    server: Server,
    thread: String,
}

impl Busy {
    async fn new() -> Self {
        let store =
            connect("sqlite::memory:", Arc::new(SystemClock)).await.expect("memory is there");
        let parrot = parrot();
        let setup = Setup {
            agent: Some(parrot.clone()),
            store: Some(Arc::clone(&store)),
            ..Setup::default()
        };
        let server = Server::start(setup).await;
        let thread = thread_of(&server.user("ada").events(&create("hi")).await);
        Self { store, parrot, server, thread }
    }

    /// A file of ada's that was uploaded, and not sent.
    async fn file(&self, digit: char) -> Id {
        let id: Id = format!("atc_{digit}").into();
        let attachment = Attachment {
            id: id.clone(),
            name: "a.txt".to_owned(),
            mime_type: "text/plain".to_owned(),
            upload_descriptor: None,
            thread_id: None,
            kind: AttachmentKind::File,
        };
        let stored = StoredAttachment {
            attachment,
            size: 1,
            is_uploaded: true,
            created_at: Timestamp(u64::MAX / 4),
        };
        let owner =
            Owner { workflow: "default".into(), user: UserId::parse("ada").expect("a name") };
        self.store.save_attachment(&owner, &stored).await.expect("the store answers");
        id
    }

    /// Says something that takes its time, sends this body behind it, lets `meanwhile` happen, and
    /// then both go on.
    async fn behind_another(
        &self,
        ada: &Client,
        body: &Value,
        meanwhile: impl AsyncFnOnce(),
    ) -> Vec<Value> {
        let begun = self.parrot.begun();
        let first = ada.stream(&add(&self.thread, "step")).await;
        self.parrot.until_begun(begun + 1).await;
        let second = ada.stream(body).await;
        meanwhile().await;
        self.parrot.steps.add_permits(100);
        first.rest().await;
        let events = second.rest().await;
        self.parrot.steps.forget_permits(usize::MAX);
        events
    }
}

fn with_files(mut body: Value, files: &[&Id]) -> Value {
    body["params"]["input"]["attachments"] = json!(files);
    body
}

fn refused() -> Vec<Value> {
    let message = "A file of this message was deleted or sent meanwhile. Upload it again, and send \
                   the message again.";
    vec![json!({"type": "error", "code": "custom", "message": message, "allow_retry": false})]
}

#[tokio::test]
async fn a_message_whose_file_was_deleted_meanwhile_is_refused_whole() {
    let busy = Busy::new().await;
    let ada = busy.server.user("ada");
    let (kept, gone) = (busy.file('1').await, busy.file('2').await);
    let message = with_files(add(&busy.thread, "look"), &[&kept, &gone]);
    let events = busy
        .behind_another(&ada, &message, async || {
            let deleted = ada.ask("attachments.delete", json!({"attachment_id": gone})).await;
            assert_eq!(deleted, (200, json!({})));
        })
        .await;
    assert_eq!(events, refused());
    assert_eq!(ada.items(&busy.thread).await.len(), 4, "nothing of it was stored");
    let sent = ada.events(&with_files(add(&busy.thread, "look"), &[&kept])).await;
    assert_eq!(
        sent[0]["item"]["attachments"][0]["id"], *kept,
        "the other file is as free as before"
    );
}

#[tokio::test]
async fn a_file_that_two_messages_name_is_sent_with_the_first() {
    let busy = Busy::new().await;
    let ada = busy.server.user("ada");
    let file = busy.file('1').await;
    let late = with_files(add(&busy.thread, "too late"), &[&file]);
    let mut sent = Vec::new();
    let events = busy
        .behind_another(&ada, &late, async || {
            sent = ada.events(&with_files(create("in time"), &[&file])).await;
        })
        .await;
    assert_eq!(sent[1]["item"]["attachments"][0]["id"], *file);
    assert_eq!(events, refused());
    assert_eq!(ada.items(&busy.thread).await.len(), 4, "nothing of it was stored");
}
