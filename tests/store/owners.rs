//! Owners: what is somebody else's is not there, in any call.

use chatkit_server::ids::new_id;
use chatkit_server::protocol::{Feedback, FeedbackKind, Id, Item, Order, Thread, Timestamp};
use chatkit_server::store::{
    Added, Audience, Claimed, Owner, Store, StoredAttachment, ThreadChange, TitleChange, TurnClaim,
};

use crate::made::{asked, claim, everything, file, lasting, owner, page, said};
use crate::place::Place;

/// What Ada has.
struct Things {
    thread: Thread,
    items: Vec<Item>,
    file: StoredAttachment,
    turn: TurnClaim,
    feedback: Vec<(Id, FeedbackKind)>,
}

pub(crate) async fn two_owners_never_meet(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let things = make(&*store, &ada).await;
    for stranger in [owner("bob"), owner("Ada"), Owner { workflow: "sales".into(), ..ada.clone() }]
    {
        strangers_see_nothing(&*store, &stranger, &things).await;
        strangers_change_nothing(&*store, &stranger, &things).await;
        assert_eq!(
            store.threads(&stranger, &page(9, Order::Asc, None)).await.unwrap().unwrap().data,
            []
        );
        assert!(is_as_it_was(&*store, &ada, &things).await);
        the_same_request_of_another_is_another(&*store, &stranger, &things).await;
        assert!(is_as_it_was(&*store, &ada, &things).await);
    }
    let found = store.linked_attachment(&things.file.attachment.id).await.unwrap();
    assert_eq!(found.map(|(owner, _)| owner), Some(ada), "a link knows whose the file is");
}

async fn make(store: &dyn Store, ada: &Owner) -> Things {
    let (thread, mut file, turn) = (crate::made::thread(1), file(1), claim("key", "holder"));
    store.save_attachment(ada, &file).await.unwrap();
    let first = asked(&thread.id, "look", &[&file]);
    assert_eq!(store.create_thread(ada, &thread, &first, &turn).await.unwrap(), Claimed::Yes);
    let second = said(&thread.id, "I see");
    assert!(store.save_item(ada, &second).await.unwrap());
    let opinion = Feedback {
        thread_id: thread.id.clone(),
        item_ids: vec![second.id.clone()],
        kind: FeedbackKind::Positive,
    };
    assert!(store.save_feedback(ada, &opinion, Timestamp(1)).await.unwrap());
    file.attachment.thread_id = Some(thread.id.clone());
    let feedback = vec![(second.id.clone(), FeedbackKind::Positive)];
    Things { thread, items: vec![first, second], file, turn, feedback }
}

async fn is_as_it_was(store: &dyn Store, ada: &Owner, things: &Things) -> bool {
    let id = &things.thread.id;
    assert_eq!(store.thread(ada, id).await.unwrap().as_ref(), Some(&things.thread));
    assert_eq!(everything(store, ada, id).await, things.items);
    assert_eq!(store.feedback(ada, id).await.unwrap(), things.feedback);
    let file = store.attachment(ada, &things.file.attachment.id).await.unwrap();
    assert_eq!(file.as_ref(), Some(&things.file));
    store.keep_turn(ada, id, &things.turn).await.unwrap()
}

async fn strangers_see_nothing(store: &dyn Store, stranger: &Owner, things: &Things) {
    let (id, item) = (&things.thread.id, &things.items[0].id);
    assert_eq!(store.thread(stranger, id).await.unwrap(), None);
    assert_eq!(store.item(stranger, id, item).await.unwrap(), None);
    assert_eq!(store.threads(stranger, &page(5, Order::Asc, Some(id))).await.unwrap(), None);
    for audience in [Audience::Client, Audience::Model] {
        for after in [None, Some(item)] {
            let query = page(5, Order::Desc, after);
            assert_eq!(store.items(stranger, id, &query, audience).await.unwrap(), None);
        }
    }
    assert_eq!(store.feedback(stranger, id).await.unwrap(), []);
    assert_eq!(store.attachment(stranger, &things.file.attachment.id).await.unwrap(), None);
}

async fn strangers_change_nothing(store: &dyn Store, stranger: &Owner, things: &Things) {
    let (id, item) = (&things.thread.id, &things.items[0].id);
    let late = lasting(&things.turn, 20_000);
    for claim in [&things.turn, &late] {
        assert_eq!(store.take_turn(stranger, id, claim).await.unwrap(), Claimed::NotFound);
        assert!(!store.keep_turn(stranger, id, claim).await.unwrap());
        store.end_turn(stranger, id, claim, true).await.unwrap();
        store.end_turn(stranger, id, claim, false).await.unwrap();
    }
    let title = Some(TitleChange::Set("stolen".to_owned()));
    let change = ThreadChange { title, ..ThreadChange::default() };
    assert_eq!(store.change_thread(stranger, id, &change).await.unwrap(), None);
    assert_eq!(store.delete_thread(stranger, id).await.unwrap(), None);
    assert!(!store.save_item(stranger, &things.items[0]).await.unwrap());
    assert!(!store.save_item(stranger, &said(id, "stolen")).await.unwrap());
    let message = asked(id, "stolen", &[]);
    assert_eq!(store.add_message(stranger, &message).await.unwrap(), Added::ThreadGone);
    store.remove_items(stranger, id, std::slice::from_ref(item)).await.unwrap();
    assert!(!store.replace_after(stranger, id, item, &[said(id, "stolen")]).await.unwrap());
    let opinion = Feedback {
        thread_id: id.clone(),
        item_ids: vec![item.clone()],
        kind: FeedbackKind::Negative,
    };
    assert!(!store.save_feedback(stranger, &opinion, Timestamp(2)).await.unwrap());
    let stolen = StoredAttachment { size: 1, ..things.file.clone() };
    assert!(store.save_attachment(stranger, &stolen).await.is_err(), "the id is taken");
    assert!(!store.delete_attachment(stranger, &things.file.attachment.id).await.unwrap());
}

/// Keys are the owner's, too; and a file that a stranger names in a message stays where it is.
async fn the_same_request_of_another_is_another(
    store: &dyn Store,
    stranger: &Owner,
    things: &Things,
) {
    let thread = crate::made::thread(1);
    let stolen = asked(&thread.id, "mine now", &[&things.file]);
    let turn = TurnClaim { holder: new_id("").to_string(), ..things.turn.clone() };
    assert_eq!(
        store.create_thread(stranger, &thread, &stolen, &turn).await.unwrap(),
        Claimed::FileGone
    );
    let first = asked(&thread.id, "my own", &[]);
    assert_eq!(store.create_thread(stranger, &thread, &first, &turn).await.unwrap(), Claimed::Yes);
    assert_eq!(store.delete_thread(stranger, &thread.id).await.unwrap(), Some(vec![]));
}
