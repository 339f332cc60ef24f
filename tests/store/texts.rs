//! Texts: whatever Unicode has, NUL among it, comes back as it was.

use std::time::Duration;

use chatkit_server::ids::new_id;
use chatkit_server::protocol::{
    Attachment, AttachmentKind, ClientToolCall, ClientToolCallStatus, Feedback, FeedbackKind, Id,
    Item, ItemKind, Order, Tag, Thread, ThreadStatus, Timestamp, UserContent, UserMessage,
};
use chatkit_server::store::{
    Audience, Claimed, Owner, Store, StoredAttachment, ThreadChange, TitleChange, TurnClaim,
};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::made::{file, item, owner, page, stored, thread};
use crate::place::Place;

/// Texts of any characters, more often of those that databases and JSON trip over.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let awkward = select(vec![
        '\u{0}',
        '\u{FFFF}',
        '\u{FFFD}',
        '"',
        '\\',
        '\'',
        '0',
        '1',
        '\u{2028}',
        '\u{10FFFF}',
    ]);
    let character = prop_oneof![any::<char>(), awkward];
    let text = proptest::collection::vec(character, 0..12).prop_map(String::from_iter);
    proptest::collection::vec(text, 12)
}

pub(crate) async fn every_text_comes_back_as_it_was(place: &Place) {
    let store = place.open().await;
    let mut runner =
        TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    tokio::task::block_in_place(|| {
        let outcome =
            runner.run(&(texts(), any::<f64>(), any::<i64>()), |(texts, float, number)| {
                tokio::runtime::Handle::current().block_on(round_trip(
                    &*store,
                    &texts,
                    &json!([float, number]),
                ));
                Ok(())
            });
        outcome.unwrap();
    });
}

async fn round_trip(store: &dyn Store, texts: &[String], numbers: &Value) {
    let id = |number: usize| -> Id { format!("{}{}", new_id("x"), texts[number]).into() };
    let ada = Owner { workflow: texts[0].as_str().into(), ..owner("ada") };
    let thread = Thread {
        id: id(1),
        title: Some(texts[2].clone()),
        status: ThreadStatus::Closed { reason: Some(texts[3].clone()) },
        allowed_image_domains: Some(texts.to_vec()),
        metadata: Map::from_iter([(texts[4].clone(), numbers.clone())]),
        ..thread(1)
    };
    let file = StoredAttachment {
        attachment: Attachment {
            id: id(5),
            name: texts[6].clone(),
            mime_type: texts[7].clone(),
            kind: AttachmentKind::Image { preview_url: texts[8].clone() },
            ..file(1).attachment
        },
        ..file(1)
    };
    store.save_attachment(&ada, &file).await.unwrap();
    let items = items(&thread.id, texts, numbers, &file);
    let claim = TurnClaim {
        key: id(9).to_string(),
        holder: id(10).to_string(),
        body: None,
        about: None,
        lasts: Duration::from_secs(60),
    };
    assert_eq!(store.create_thread(&ada, &thread, &items[0], &claim).await.unwrap(), Claimed::Yes);
    for item in &items[1..] {
        assert!(store.save_item(&ada, item).await.unwrap());
    }
    assert!(store.keep_turn(&ada, &thread.id, &claim).await.unwrap());
    assert_eq!(store.thread(&ada, &thread.id).await.unwrap().as_ref(), Some(&thread));
    let query = page(10, Order::Asc, None);
    let listed = store.items(&ada, &thread.id, &query, Audience::Model).await.unwrap().unwrap();
    assert_eq!(listed.data, items);
    let feedback = Feedback {
        thread_id: thread.id.clone(),
        item_ids: vec![items[1].id.clone()],
        kind: FeedbackKind::Negative,
    };
    assert!(store.save_feedback(&ada, &feedback, Timestamp(1)).await.unwrap());
    let opinions = store.feedback(&ada, &thread.id).await.unwrap();
    assert_eq!(opinions, [(items[1].id.clone(), FeedbackKind::Negative)]);
    let (owner, found) = store.linked_attachment(&file.attachment.id).await.unwrap().unwrap();
    assert_eq!((owner, found.attachment.thread_id), (ada.clone(), Some(thread.id.clone())));
    assert_eq!(found.attachment.name, file.attachment.name);
    let gone = store.delete_thread(&ada, &thread.id).await.unwrap();
    assert_eq!(gone, Some(vec![file.attachment.id]));
}

/// An item of each kind that carries text, with these in every place.
fn items(thread_id: &Id, texts: &[String], numbers: &Value, file: &StoredAttachment) -> Vec<Item> {
    let text = |number: usize| texts[number].clone();
    let data = Map::from_iter([(text(1), json!(text(2)))]);
    let tag = Tag { id: text(3), text: text(4), data, group: Some(text(5)), interactive: true };
    let message = UserMessage {
        content: vec![UserContent::InputText { text: text(6) }, UserContent::InputTag(tag)],
        attachments: vec![file.attachment.clone()],
        quoted_text: Some(text(7)),
        inference_options: <_>::default(),
    };
    let call = ClientToolCall {
        status: ClientToolCallStatus::Completed,
        call_id: text(8),
        name: text(9),
        arguments: json!({text(10): text(11)}),
        output: json!([text(0), numbers]),
    };
    let widget =
        ItemKind::Widget { widget: json!({text(1): [numbers, text(2)]}), copy_text: Some(text(3)) };
    let hidden = ItemKind::HiddenContextItem { content: json!({text(4): numbers}) };
    let kinds = [ItemKind::UserMessage(message), ItemKind::ClientToolCall(call), widget, hidden];
    let item = |(number, kind): (usize, ItemKind)| {
        let made = item(thread_id, kind);
        Item { id: format!("{}{}", made.id, texts[number]).into(), ..made }
    };
    kinds.into_iter().enumerate().map(item).collect()
}

pub(crate) async fn an_id_with_a_nul_is_simply_not_there(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let thread = stored(&*store, &ada, 1).await;
    for id in ["\u{0}", &format!("{}\u{0}", thread.id), "\u{FFFF}", &"x".repeat(100_000)] {
        let after = page(1, Order::Asc, Some(&id.into()));
        assert_eq!(store.thread(&ada, id).await.unwrap(), None);
        assert_eq!(store.threads(&ada, &after).await.unwrap(), None);
        assert_eq!(store.item(&ada, &thread.id, id).await.unwrap(), None);
        assert_eq!(store.items(&ada, &thread.id, &after, Audience::Client).await.unwrap(), None);
        assert_eq!(store.delete_thread(&ada, id).await.unwrap(), None);
        let change =
            ThreadChange { title: Some(TitleChange::Set("t".to_owned())), ..<_>::default() };
        assert_eq!(store.change_thread(&ada, id, &change).await.unwrap(), None);
        assert_eq!(store.attachment(&ada, id).await.unwrap(), None);
        assert_eq!(store.linked_attachment(id).await.unwrap(), None);
        assert!(!store.delete_attachment(&ada, id).await.unwrap());
        store.remove_items(&ada, &thread.id, &[id.into()]).await.unwrap();
        let thread_id = thread.id.clone();
        let opinion =
            Feedback { thread_id, item_ids: vec![id.into()], kind: FeedbackKind::Positive };
        assert!(!store.save_feedback(&ada, &opinion, Timestamp(1)).await.unwrap());
    }
}
