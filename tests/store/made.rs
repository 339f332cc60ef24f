//! What do the tests store? Owners, threads, items, files and claims, made in a line.

use std::ops::ControlFlow;
use std::time::Duration;

use chatkit_server::ids::new_id;
use chatkit_server::protocol::{
    Attachment, AttachmentKind, Id, Item, ItemKind, Order, OutputText, Page, Thread, Timestamp,
    UserContent, UserMessage,
};
use chatkit_server::store::{
    Audience, Claimed, Owner, PageQuery, Store, StoredAttachment, TurnClaim,
};
use chatkit_server::user::UserId;

/// A user of the workflow `support`.
pub(crate) fn owner(user: &str) -> Owner {
    Owner { workflow: "support".into(), user: UserId::parse(user).unwrap() }
}

/// A thread that was made at this time, with an id of its own.
pub(crate) fn thread(created_at: u64) -> Thread {
    Thread::new(new_id("thr_"), Timestamp(created_at))
}

/// What the model wrote.
pub(crate) fn said(thread_id: &Id, text: &str) -> Item {
    let content = vec![OutputText { annotations: vec![], text: text.to_owned() }];
    item(thread_id, ItemKind::AssistantMessage { content })
}

/// What the person wrote, with files.
pub(crate) fn asked(thread_id: &Id, text: &str, files: &[&StoredAttachment]) -> Item {
    let message = UserMessage {
        content: vec![UserContent::InputText { text: text.to_owned() }],
        attachments: files.iter().map(|file| file.attachment.clone()).collect(),
        quoted_text: None,
        inference_options: <_>::default(),
    };
    item(thread_id, ItemKind::UserMessage(message))
}

/// What only the model sees.
pub(crate) fn hidden(thread_id: &Id) -> Item {
    item(thread_id, ItemKind::SdkHiddenContext { content: "hidden".to_owned() })
}

/// An item with an id of its own.
pub(crate) fn item(thread_id: &Id, kind: ItemKind) -> Item {
    Item { id: new_id("msg_"), thread_id: thread_id.clone(), created_at: Timestamp(7), kind }
}

/// A file that was made at this time.
pub(crate) fn file(created_at: u64) -> StoredAttachment {
    let attachment = Attachment {
        id: new_id("atc_"),
        name: "a.pdf".to_owned(),
        mime_type: "application/pdf".to_owned(),
        upload_descriptor: None,
        thread_id: None,
        kind: AttachmentKind::File,
    };
    StoredAttachment { attachment, size: 11, is_uploaded: false, created_at: Timestamp(created_at) }
}

/// A claim that holds for a hundred seconds.
pub(crate) fn claim(key: &str, holder: &str) -> TurnClaim {
    let lasts = Duration::from_secs(100);
    TurnClaim { key: key.to_owned(), holder: holder.to_owned(), body: None, about: None, lasts }
}

/// The same claim, for so many seconds.
pub(crate) fn lasting(claim: &TurnClaim, seconds: u64) -> TurnClaim {
    TurnClaim { lasts: Duration::from_secs(seconds), ..claim.clone() }
}

/// Stores a thread that was made at this time, with one item, and nobody's turn.
pub(crate) async fn stored(store: &dyn Store, owner: &Owner, created_at: u64) -> Thread {
    let thread = thread(created_at);
    let claim = claim(&thread.id, &thread.id);
    let first = asked(&thread.id, "first", &[]);
    assert_eq!(store.create_thread(owner, &thread, &first, &claim).await.unwrap(), Claimed::Yes);
    store.end_turn(owner, &thread.id, &claim, true).await.unwrap();
    thread
}

/// A part of a list.
pub(crate) fn page(limit: u32, order: Order, after: Option<&Id>) -> PageQuery {
    PageQuery { limit, order, after: after.cloned() }
}

/// All items of a thread, oldest first.
pub(crate) async fn everything(store: &dyn Store, owner: &Owner, thread_id: &str) -> Vec<Item> {
    let all = page(10_000, Order::Asc, None);
    store
        .items(owner, thread_id, &all, Audience::Model)
        .await
        .unwrap()
        .expect("the thread is there")
        .data
}

/// The ids of items.
pub(crate) fn ids(items: &[Item]) -> Vec<Id> {
    items.iter().map(|item| item.id.clone()).collect()
}

/// A page of threads as if there were none but the newest `most`.
pub(crate) async fn recent(
    store: &dyn Store,
    owner: &Owner,
    page: &PageQuery,
    most: u32,
) -> Option<Page<Thread>> {
    let mut data: Vec<Thread> = Vec::new();
    let mut take = |thread, _| {
        data.push(thread);
        ControlFlow::Continue(())
    };
    let has_more = store.each_thread(owner, page, Some(most), &mut take).await.unwrap()?;
    let after = data.last().filter(|_| has_more).map(|last| last.id.clone());
    Some(Page { data, has_more, after })
}
