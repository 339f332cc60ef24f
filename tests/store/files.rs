//! Files: which thread has them, and which are swept.

use chatkit_server::ids::new_id;
use chatkit_server::protocol::{GeneratedImage, Id, ItemKind, Timestamp};
use chatkit_server::store::{Added, Claimed, Kept, Owner, StoredAttachment};

use crate::made::{asked, claim, everything, file, item, owner, stored, thread};
use crate::place::Place;

pub(crate) async fn a_file_belongs_to_the_thread_of_its_message(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let files: Vec<StoredAttachment> = (1..=4).map(file).collect();
    for one in &files {
        store.save_attachment(&ada, one).await.unwrap();
        assert_eq!(store.attachment(&ada, &one.attachment.id).await.unwrap().as_ref(), Some(one));
    }
    let thread_of = async |number: usize| {
        let found = store.attachment(&ada, &files[number].attachment.id).await.unwrap();
        found.expect("it is there").attachment.thread_id
    };
    let (mine, turn) = (thread(1), claim("k", "h"));
    store.create_thread(&ada, &mine, &asked(&mine.id, "a", &[&files[0]]), &turn).await.unwrap();
    let second = asked(&mine.id, "b", &[&files[1]]);
    assert_eq!(store.add_message(&ada, &second).await.unwrap(), Added::Yes);
    let last = everything(&*store, &ada, &mine.id).await[1].id.clone();
    let replaced = asked(&mine.id, "c", &[&files[2]]);
    assert!(store.replace_after(&ada, &mine.id, &last, &[replaced]).await.unwrap());
    for number in 0..3 {
        assert_eq!(thread_of(number).await.as_ref(), Some(&mine.id));
    }
    assert_eq!(thread_of(3).await, None);

    // The upload ends after the message was sent, and the description still says nothing of a
    // thread.
    let uploaded = StoredAttachment { is_uploaded: true, size: 12, ..files[0].clone() };
    store.save_attachment(&ada, &uploaded).await.unwrap();
    assert_eq!(thread_of(0).await.as_ref(), Some(&mine.id), "it stays the thread's");
    let (_, found) = store.linked_attachment(&files[0].attachment.id).await.unwrap().unwrap();
    assert_eq!((found.is_uploaded, found.size), (true, 12));
    assert_eq!(store.linked_attachment("atc_none").await.unwrap(), None);

    let gone = file(5);
    store.save_attachment(&ada, &gone).await.unwrap();
    assert!(store.delete_attachment(&ada, &gone.attachment.id).await.unwrap());
    assert!(!store.delete_attachment(&ada, &gone.attachment.id).await.unwrap(), "it is gone");
    assert!(
        !store.delete_attachment(&ada, &files[1].attachment.id).await.unwrap(),
        "a message has it"
    );

    let mut gone = store.delete_thread(&ada, &mine.id).await.unwrap().unwrap();
    let mut expected: Vec<Id> = files[..3].iter().map(|file| file.attachment.id.clone()).collect();
    gone.sort();
    expected.sort();
    assert_eq!(gone, expected);
    assert_eq!(store.attachment(&ada, &files[0].attachment.id).await.unwrap(), None);
    assert_eq!(thread_of(3).await, None, "a file that was never sent stays");
    assert_eq!(store.delete_thread(&ada, &mine.id).await.unwrap(), None);
}

pub(crate) async fn a_message_takes_files_that_are_free_or_none(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let (free, foreign) = (file(1), file(2));
    store.save_attachment(&ada, &free).await.unwrap();
    store.save_attachment(&owner("bob"), &foreign).await.unwrap();
    let (mine, other) = (stored(&*store, &ada, 1).await, thread(2));
    let before = everything(&*store, &ada, &mine.id).await;
    for missing in [&file(3), &foreign] {
        let message = asked(&mine.id, "a", &[&free, missing]);
        assert_eq!(store.add_message(&ada, &message).await.unwrap(), Added::FileGone);
        let first = asked(&other.id, "b", &[&free, missing]);
        let made = store.create_thread(&ada, &other, &first, &claim("k", "h")).await.unwrap();
        assert_eq!(made, Claimed::FileGone);
    }
    assert_eq!(everything(&*store, &ada, &mine.id).await, before, "nothing was stored");
    assert_eq!(store.thread(&ada, &other.id).await.unwrap(), None, "nor made");
    assert_eq!(store.attachment(&ada, &free.attachment.id).await.unwrap().as_ref(), Some(&free));

    let message = asked(&mine.id, "c", &[&free]);
    assert_eq!(store.add_message(&ada, &message).await.unwrap(), Added::Yes);
    assert!(store.save_item(&ada, &message).await.unwrap(), "it may be stored again over itself");
    let again = asked(&mine.id, "d", &[&free]);
    assert_eq!(
        store.add_message(&ada, &again).await.unwrap(),
        Added::FileGone,
        "in the same thread too"
    );
    let nowhere = asked(&other.id, "e", &[]);
    assert_eq!(store.add_message(&ada, &nowhere).await.unwrap(), Added::ThreadGone);
}

pub(crate) async fn of_many_messages_one_takes_a_file(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let threads = (stored(&*one, &ada, 1).await, stored(&*one, &ada, 2).await);
    for _ in 0..20 {
        let files = (file(1), file(2));
        one.save_attachment(&ada, &files.0).await.unwrap();
        one.save_attachment(&ada, &files.1).await.unwrap();
        let messages = (
            asked(&threads.0.id, "a", &[&files.0, &files.1]),
            asked(&threads.1.id, "b", &[&files.1, &files.0]),
        );
        let (first, second) =
            tokio::join!(one.add_message(&ada, &messages.0), other.add_message(&ada, &messages.1));
        let outcomes = [first.unwrap(), second.unwrap()];
        assert!(
            outcomes.contains(&Added::Yes) && outcomes.contains(&Added::FileGone),
            "{outcomes:?}"
        );
    }
}

pub(crate) async fn a_generated_image_belongs_to_the_thread_that_shows_it(place: &Place) {
    let (store, ada, grace) = (place.open().await, owner("ada"), owner("grace"));
    let mine = stored(&*store, &ada, 1).await;
    let drawn = |file: &StoredAttachment| {
        let image = GeneratedImage::kept("ig_1".to_owned(), &file.attachment.id);
        item(&mine.id, ItemKind::GeneratedImage { image: Some(image) })
    };
    let files: Vec<StoredAttachment> = (1..=3).map(file).collect();
    for one in &files[..2] {
        store.save_attachment(&ada, one).await.unwrap();
    }
    store.save_attachment(&grace, &files[2]).await.unwrap();
    let first = drawn(&files[0]);
    assert!(store.save_item(&ada, &first).await.unwrap());
    let behind = [
        drawn(&files[1]),
        drawn(&files[2]),
        item(&mine.id, ItemKind::GeneratedImage { image: None }),
    ];
    assert!(store.replace_after(&ada, &mine.id, &first.id, &behind).await.unwrap());
    assert_eq!(everything(&*store, &ada, &mine.id).await[1..], [&[first][..], &behind].concat());

    let swept = store.sweep_attachments(Timestamp(100), 10).await.unwrap();
    assert_eq!(
        swept,
        [files[2].attachment.id.clone()],
        "the file of somebody else is not the thread's"
    );
    let mut gone = store.delete_thread(&ada, &mine.id).await.unwrap().unwrap();
    let mut expected = vec![files[0].attachment.id.clone(), files[1].attachment.id.clone()];
    gone.sort();
    expected.sort();
    assert_eq!(gone, expected);
}

pub(crate) async fn what_a_user_keeps_is_counted_over_all_agents(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let elsewhere = Owner { workflow: "sales".into(), user: ada.user.clone() };
    let kept = async || {
        let Kept { unsent, bytes } = store.kept_attachments(&ada).await.unwrap();
        (unsent, bytes)
    };
    assert_eq!(kept().await, (0, 0));
    let (sent, waiting) = (file(1), file(2));
    for one in [&sent, &waiting] {
        store.save_attachment(&ada, one).await.unwrap();
    }
    let uploaded = StoredAttachment { is_uploaded: true, size: 5_000_000_000, ..waiting.clone() };
    store.save_attachment(&ada, &uploaded).await.unwrap();
    store.save_attachment(&elsewhere, &file(3)).await.unwrap();
    store.save_attachment(&owner("bob"), &file(4)).await.unwrap();
    assert_eq!(kept().await, (3, 5_000_000_022));
    let thread = stored(&*store, &ada, 1).await;
    let message = asked(&thread.id, "a", &[&sent]);
    assert_eq!(store.add_message(&ada, &message).await.unwrap(), Added::Yes);
    assert_eq!(kept().await, (2, 5_000_000_022), "what was sent is kept");
    store.delete_thread(&ada, &thread.id).await.unwrap();
    store.delete_attachment(&ada, &waiting.attachment.id).await.unwrap();
    assert_eq!(kept().await, (1, 11), "what is deleted is not");
}

pub(crate) async fn a_user_gets_no_file_that_is_more_than_they_may_keep(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let of = |size| StoredAttachment { size, ..file(1) };
    assert!(one.add_attachment(&ada, &of(60), 100).await.unwrap());
    assert!(!one.add_attachment(&ada, &of(41), 100).await.unwrap());
    assert!(one.add_attachment(&owner("bob"), &of(100), 100).await.unwrap(), "another user");
    assert!(one.add_attachment(&ada, &of(40), 100).await.unwrap());
    assert!(one.add_attachment(&ada, &of(1000), u64::MAX).await.unwrap(), "there may be no quota");
    for round in 0..20 {
        let grace = owner(&format!("grace{round}"));
        let files = (of(60), of(60));
        let added = tokio::join!(
            one.add_attachment(&grace, &files.0, 100),
            other.add_attachment(&grace, &files.1, 100)
        );
        let added = [added.0.unwrap(), added.1.unwrap()];
        assert!(added[0] != added[1], "of two at once one fits: {added:?}");
    }
}

pub(crate) async fn of_several_uploads_of_a_file_one_is_kept(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    for _ in 0..20 {
        let announced = StoredAttachment { is_uploaded: false, ..file(1) };
        one.save_attachment(&ada, &announced).await.unwrap();
        let of = |size| StoredAttachment { size, is_uploaded: true, ..announced.clone() };
        let (first, second) = (of(3), of(4));
        let (is_first, is_second) = tokio::join!(
            one.complete_attachment(&ada, &first),
            other.complete_attachment(&ada, &second)
        );
        let (is_first, is_second) = (is_first.unwrap(), is_second.unwrap());
        assert!(is_first != is_second);
        let found = one.attachment(&ada, &announced.attachment.id).await.unwrap();
        assert_eq!(found, Some(if is_first { first } else { second }));
        let foreign = one.complete_attachment(&owner("bob"), &of(5)).await.unwrap();
        assert!(!foreign, "somebody else's is not there");
    }
    assert!(
        !one.complete_attachment(&ada, &file(2)).await.unwrap(),
        "nor is one that nobody announced"
    );
}

pub(crate) async fn of_many_files_the_known_ones_are_told_apart(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let (known, other) = (file(1), file(2));
    store.save_attachment(&ada, &known).await.unwrap();
    store.save_attachment(&owner("bob"), &other).await.unwrap();
    let mut ids: Vec<Id> = (0..98).map(|_| new_id("atc_")).collect();
    assert_eq!(store.known_attachments(&ids).await.unwrap(), [] as [Id; 0]);
    let mut expected = vec![known.attachment.id, other.attachment.id];
    ids.extend(expected.iter().cloned());
    let mut found = store.known_attachments(&ids).await.unwrap();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(store.known_attachments(&[]).await.unwrap(), [] as [Id; 0]);
}

pub(crate) async fn files_that_no_message_carries_are_swept_in_batches(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let mut stray: Vec<Id> = Vec::new();
    for created_at in [3, 1, 2, 4, 5] {
        let file = file(created_at);
        store.save_attachment(&ada, &file).await.unwrap();
        stray.push(file.attachment.id);
    }
    let sent = file(1);
    store.save_attachment(&ada, &sent).await.unwrap();
    let thread = stored(&*store, &ada, 1).await;
    assert!(store.save_item(&ada, &asked(&thread.id, "a", &[&sent])).await.unwrap());

    let mut swept = store.sweep_attachments(Timestamp(5), 3).await.unwrap();
    swept.sort();
    let mut oldest = stray[..3].to_vec();
    oldest.sort();
    assert_eq!(swept, oldest, "the oldest come first");
    assert_eq!(store.sweep_attachments(Timestamp(5), 3).await.unwrap(), [stray[3].clone()]);
    assert!(store.sweep_attachments(Timestamp(5), 3).await.unwrap().is_empty());
    assert!(store.attachment(&ada, &stray[4]).await.unwrap().is_some(), "it is not old enough");
    assert!(
        store.attachment(&ada, &sent.attachment.id).await.unwrap().is_some(),
        "a message carries it"
    );
    assert_eq!(store.attachment(&ada, &new_id("atc_")).await.unwrap(), None);
}
