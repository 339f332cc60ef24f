//! Threads: kept whole, changed in steps, listed in pages, swept when nobody writes to them.

use std::time::Duration;

use chatkit_server::ids::new_id;
use chatkit_server::protocol::{Id, Order, Page, Thread, ThreadStatus, Timestamp};
use chatkit_server::store::{Claimed, Owner, Store, ThreadChange, TitleChange};
use serde_json::json;

use crate::made::{asked, claim, file, owner, page, recent, said, stored, thread};
use crate::place::Place;

pub(crate) async fn a_thread_is_kept_whole_and_changes_in_steps(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let mut thread = thread(5);
    thread.metadata.insert("response".to_owned(), json!({"id": [1, null, "x"]}));
    let first = asked(&thread.id, "hello", &[]);
    let made = store.create_thread(&ada, &thread, &first, &claim("k", "h")).await.unwrap();
    assert_eq!(made, Claimed::Yes);
    assert_eq!(store.thread(&ada, &thread.id).await.unwrap().as_ref(), Some(&thread));
    assert_eq!(store.item(&ada, &thread.id, &first.id).await.unwrap(), Some(first));

    let nothing = store.change_thread(&ada, &thread.id, &ThreadChange::default()).await.unwrap();
    assert_eq!(nothing.as_ref(), Some(&thread));
    let status = ThreadStatus::Locked { reason: Some("later".to_owned()) };
    let change = ThreadChange { status: Some(status.clone()), ..<_>::default() };
    thread.status = status;
    assert_eq!(
        store.change_thread(&ada, &thread.id, &change).await.unwrap().as_ref(),
        Some(&thread)
    );
    let change = ThreadChange {
        allowed_image_domains: Some(vec!["img.example".to_owned()]),
        ..<_>::default()
    };
    thread.allowed_image_domains = Some(vec!["img.example".to_owned()]);
    assert_eq!(
        store.change_thread(&ada, &thread.id, &change).await.unwrap().as_ref(),
        Some(&thread)
    );
    assert_eq!(store.thread(&ada, &thread.id).await.unwrap(), Some(thread));
}

pub(crate) async fn a_title_that_is_there_is_never_suggested_away(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let change = |title| ThreadChange { title: Some(title), ..<_>::default() };
    let title = async |store: &dyn Store, thread: &Thread, change: &ThreadChange| {
        store.change_thread(&ada, &thread.id, change).await.unwrap().unwrap().title.unwrap()
    };
    let set = change(TitleChange::Set("mine".to_owned()));
    let suggest = change(TitleChange::Suggest("theirs".to_owned()));

    let thread = stored(&*one, &ada, 1).await;
    assert_eq!(title(&*one, &thread, &suggest).await, "theirs", "there was none");
    assert_eq!(title(&*one, &thread, &set).await, "mine");
    assert_eq!(title(&*one, &thread, &suggest).await, "mine");

    for _ in 0..20 {
        let thread = stored(&*one, &ada, 1).await;
        tokio::join!(title(&*one, &thread, &set), title(&*other, &thread, &suggest));
        let thread = one.thread(&ada, &thread.id).await.unwrap().unwrap();
        assert_eq!(thread.title.as_deref(), Some("mine"), "whichever comes first");
    }
}

pub(crate) async fn threads_page_in_both_orders_with_every_limit(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let mut expected: Vec<Thread> = Vec::new();
    for count in 0..=6_u32 {
        for limit in 1..=count + 2 {
            for order in [Order::Asc, Order::Desc] {
                let all = async |after: Option<Id>| {
                    store.threads(&ada, &page(limit, order, after.as_ref())).await.unwrap().unwrap()
                };
                assert_eq!(walk(all, limit).await, sorted(&expected, order));
            }
        }
        // Two at a time have the same age.
        expected.push(stored(&*store, &ada, 10 + u64::from(count / 2)).await);
        stored(&*store, &owner("bob"), 10).await;
    }
}

pub(crate) async fn the_newest_threads_page_as_if_there_were_no_others(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let mut all = Vec::new();
    for number in 0..6 {
        // Two at a time have the same age.
        all.push(stored(&*store, &ada, 10 + number / 2).await);
        stored(&*store, &owner("bob"), 10).await;
    }
    let by_age = sorted(&all, Order::Asc);
    for most in 1..=7_usize {
        let (older, newest) = by_age.split_at(by_age.len().saturating_sub(most));
        for order in [Order::Asc, Order::Desc] {
            let mut expected = newest.to_vec();
            if order == Order::Desc {
                expected.reverse();
            }
            let part = async |limit, after: Option<&Id>| {
                let most = u32::try_from(most).unwrap();
                recent(&*store, &ada, &page(limit, order, after), most).await
            };
            for limit in 1..=8 {
                let walked =
                    walk(async |after| part(limit, after.as_ref()).await.unwrap(), limit).await;
                assert_eq!(walked, expected, "{limit} at a time of the newest {most}");
            }
            for outside in older {
                let data = part(9, Some(outside)).await.unwrap().data;
                let behind: Vec<Id> = data.into_iter().map(|thread| thread.id).collect();
                let expected = if order == Order::Asc { newest } else { &[] };
                assert_eq!(behind, expected, "behind one that is no longer shown, {order:?}");
            }
            assert_eq!(part(9, Some(&new_id("thr_"))).await, None, "behind nobody's");
        }
    }
}

/// The ids of all threads of a list, page by page.
async fn walk(list: impl AsyncFn(Option<Id>) -> Page<Thread>, limit: u32) -> Vec<Id> {
    let mut seen: Vec<Id> = Vec::new();
    let mut after = None;
    loop {
        let part = list(after.clone()).await;
        seen.extend(part.data.iter().map(|thread| thread.id.clone()));
        assert_eq!(part.after.is_some(), part.has_more, "there is a cursor when something follows");
        assert!(part.data.len() == limit as usize || !part.has_more, "pages are full");
        assert!(!part.data.is_empty() || after.is_none(), "what follows is not empty");
        if !part.has_more {
            return seen;
        }
        assert_eq!(part.after.as_ref(), seen.last());
        after = part.after;
    }
}

fn sorted(threads: &[Thread], order: Order) -> Vec<Id> {
    let mut keys: Vec<(Timestamp, Id)> =
        threads.iter().map(|one| (one.created_at, one.id.clone())).collect();
    keys.sort();
    if order == Order::Desc {
        keys.reverse();
    }
    keys.into_iter().map(|(_, id)| id).collect()
}

pub(crate) async fn a_cursor_must_be_one_of_the_owners_threads(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let mine = stored(&*store, &ada, 1).await;
    let other_workflow = Owner { workflow: "sales".into(), ..ada.clone() };
    let foreign =
        [stored(&*store, &owner("bob"), 2).await, stored(&*store, &other_workflow, 2).await];
    for order in [Order::Asc, Order::Desc] {
        let after = |id: &Id| page(5, order, Some(id));
        assert!(store.threads(&ada, &after(&mine.id)).await.unwrap().is_some(), "one's own");
        assert_eq!(store.threads(&ada, &after(&new_id("thr_"))).await.unwrap(), None, "nobody's");
        for thread in &foreign {
            assert_eq!(
                store.threads(&ada, &after(&thread.id)).await.unwrap(),
                None,
                "somebody else's"
            );
        }
    }
    store.delete_thread(&ada, &mine.id).await.unwrap();
    assert_eq!(
        store.threads(&ada, &page(5, Order::Asc, Some(&mine.id))).await.unwrap(),
        None,
        "a deleted one"
    );
}

pub(crate) async fn old_threads_are_swept_in_batches_with_their_files(place: &Place) {
    let (store, ada, bob) = (place.open().await, owner("ada"), owner("bob"));
    let mut old = Vec::new();
    let mut files = Vec::new();
    for user in [&ada, &bob, &ada, &bob, &ada] {
        let thread = stored(&*store, user, 1).await;
        let file = file(1);
        store.save_attachment(user, &file).await.unwrap();
        assert!(store.save_item(user, &asked(&thread.id, "look", &[&file])).await.unwrap());
        files.push(file.attachment.id);
        old.push((user, thread));
    }
    let start = Timestamp(1_000_000_000_000);
    assert_eq!(
        store.sweep_threads(start, 10).await.unwrap(),
        (0, vec![]),
        "nothing is older than that"
    );

    place.clock.advance(Duration::from_secs(10));
    let written = stored(&*store, &ada, 1).await;
    assert!(store.save_item(&bob, &said(&old[3].1.id, "fresh")).await.unwrap());
    let kept = old.remove(3);
    let kept_file = files.remove(3);

    let before = Timestamp(start.0 + 1);
    let mut swept = Vec::new();
    for expected in [3, 1, 0] {
        let (threads, files) = store.sweep_threads(before, 3).await.unwrap();
        assert_eq!((threads, files.len()), (expected, usize::try_from(expected).unwrap()));
        swept.extend(files);
    }
    swept.sort();
    files.sort();
    assert_eq!(swept, files);
    for (user, thread) in old {
        assert_eq!(store.thread(user, &thread.id).await.unwrap(), None);
    }
    assert!(store.thread(&ada, &written.id).await.unwrap().is_some());
    assert!(store.thread(&bob, &kept.1.id).await.unwrap().is_some(), "its last item is fresh");
    assert!(store.attachment(&bob, &kept_file).await.unwrap().is_some());
}
