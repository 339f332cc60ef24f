//! Items: each has its place, and so have pages of them; opinions go with them.

use std::sync::Arc;

use chatkit_server::ids::new_id;
use chatkit_server::protocol::{Feedback, FeedbackKind, Id, Item, Order, Timestamp};
use chatkit_server::store::{Audience, Owner, Store};

use crate::made::{asked, everything, hidden, ids, owner, page, said, stored};
use crate::place::Place;

pub(crate) async fn items_page_in_both_orders_with_every_limit_and_hidden_ones_left_out(
    place: &Place,
) {
    let (store, ada) = (place.open().await, owner("ada"));
    let thread = stored(&*store, &ada, 1).await;
    let mut all = everything(&*store, &ada, &thread.id).await;
    for number in 0..=6_u32 {
        for audience in [Audience::Client, Audience::Model] {
            for order in [Order::Asc, Order::Desc] {
                let mut expected = all.clone();
                expected.retain(|item| audience == Audience::Model || !item.is_hidden());
                if order == Order::Desc {
                    expected.reverse();
                }
                for limit in 1..=number + 3 {
                    assert_eq!(
                        walk(&*store, &ada, &thread.id, (limit, order, audience)).await,
                        expected
                    );
                }
            }
        }
        // Ids don't go up, times are all the same: the place decides.
        let item = if number % 3 == 1 {
            hidden(&thread.id)
        } else {
            said(&thread.id, &number.to_string())
        };
        assert!(store.save_item(&ada, &item).await.unwrap());
        all.push(item);
    }
}

/// All items, page by page.
async fn walk(
    store: &dyn Store,
    ada: &Owner,
    thread_id: &Id,
    (limit, order, audience): (u32, Order, Audience),
) -> Vec<Item> {
    let mut seen: Vec<Item> = Vec::new();
    let mut after = None;
    loop {
        let query = page(limit, order, after.as_ref());
        let part = store.items(ada, thread_id, &query, audience).await.unwrap().unwrap();
        assert!(part.data.len() == limit as usize || !part.has_more, "pages are full");
        assert!(!part.data.is_empty() || after.is_none(), "what follows is not empty");
        seen.extend(part.data);
        assert_eq!(part.after, part.has_more.then(|| seen.last().unwrap().id.clone()));
        if !part.has_more {
            return seen;
        }
        after = part.after;
    }
}

pub(crate) async fn a_cursor_must_be_one_of_the_threads_items(place: &Place) {
    let (store, ada, bob) = (place.open().await, owner("ada"), owner("bob"));
    let mine = stored(&*store, &ada, 1).await;
    let own = everything(&*store, &ada, &mine.id).await[0].id.clone();
    let mut unknown = vec![new_id("msg_")];
    for (user, thread) in
        [(&ada, stored(&*store, &ada, 1).await), (&bob, stored(&*store, &bob, 1).await)]
    {
        unknown.push(everything(&*store, user, &thread.id).await[0].id.clone());
    }
    for order in [Order::Asc, Order::Desc] {
        let list = async |id: &Id, thread: &str| {
            store.items(&ada, thread, &page(5, order, Some(id)), Audience::Client).await.unwrap()
        };
        assert!(list(&own, &mine.id).await.is_some());
        assert_eq!(list(&own, &new_id("thr_")).await, None, "no such thread");
        for id in &unknown {
            assert_eq!(list(id, &mine.id).await, None);
        }
    }
    let first_page = page(5, Order::Asc, None);
    let nowhere = store.items(&ada, &new_id("thr_"), &first_page, Audience::Client).await.unwrap();
    assert_eq!(nowhere, None);
}

pub(crate) async fn an_item_that_is_saved_again_keeps_its_place(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let thread = stored(&*store, &ada, 1).await;
    let mut all = everything(&*store, &ada, &thread.id).await;
    for text in ["a", "b", "c"] {
        all.push(said(&thread.id, text));
        assert!(store.save_item(&ada, all.last().unwrap()).await.unwrap());
    }
    all[2] = Item { id: all[2].id.clone(), ..said(&thread.id, "b, and more") };
    assert!(store.save_item(&ada, &all[2]).await.unwrap());
    assert_eq!(everything(&*store, &ada, &thread.id).await, all);
    assert_eq!(store.item(&ada, &thread.id, &all[2].id).await.unwrap().as_ref(), Some(&all[2]));

    all[1] = Item { id: all[1].id.clone(), ..hidden(&thread.id) };
    assert!(store.save_item(&ada, &all[1]).await.unwrap());
    let shown =
        store.items(&ada, &thread.id, &page(9, Order::Asc, None), Audience::Client).await.unwrap();
    all.remove(1);
    assert_eq!(shown.unwrap().data, all, "it is hidden from now on");
}

pub(crate) async fn fifty_at_once_get_fifty_places(place: &Place) {
    let (stores, ada) = ([place.open().await, place.open().await], owner("ada"));
    let thread = stored(&*stores[0], &ada, 1).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (store, ada) = (Arc::clone(&stores[number % 2]), ada.clone());
        let item = said(&thread.id, &number.to_string());
        tasks.spawn(async move {
            assert!(store.save_item(&ada, &item).await.unwrap());
            item.id
        });
    }
    let mut saved = tasks.join_all().await;
    let all = everything(&*stores[0], &ada, &thread.id).await;
    let mut backwards = page(100, Order::Desc, None);
    backwards.after = Some(all[50].id.clone());
    let before =
        stores[1].items(&ada, &thread.id, &backwards, Audience::Model).await.unwrap().unwrap();
    assert_eq!(before.data.len(), 50, "each has a place of its own");
    let mut found = ids(&all[1..]);
    found.sort();
    saved.sort();
    assert_eq!(found, saved);
}

pub(crate) async fn replacing_what_follows_happens_in_one_step(place: &Place) {
    let (store, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let thread = stored(&*store, &ada, 1).await;
    for text in ["kept", "old 1", "old 2"] {
        assert!(store.save_item(&ada, &said(&thread.id, text)).await.unwrap());
    }
    let before = everything(&*store, &ada, &thread.id).await;
    let kept = before[1].id.clone();
    let new = [said(&thread.id, "new 1"), said(&thread.id, "new 2"), said(&thread.id, "new 3")];

    assert!(!store.replace_after(&ada, &thread.id, "msg_none", &new).await.unwrap());
    assert!(!store.replace_after(&ada, "thr_none", &kept, &new).await.unwrap());
    assert_eq!(everything(&*store, &ada, &thread.id).await, before);

    let after = [&before[..2], &new[..]].concat();
    let watch = async {
        let mut states = 0;
        while states < 1000 {
            states += 1;
            let seen = everything(&*other, &ada, &thread.id).await;
            assert!(seen == before || seen == after, "it is there whole, or not at all: {seen:?}");
            if seen == after {
                break;
            }
        }
    };
    let (replaced, ()) = tokio::join!(store.replace_after(&ada, &thread.id, &kept, &new), watch);
    assert!(replaced.unwrap());
    assert_eq!(everything(&*store, &ada, &thread.id).await, after);
    let last = said(&thread.id, "last");
    assert!(store.save_item(&ada, &last).await.unwrap());
    assert_eq!(everything(&*store, &ada, &thread.id).await, [after, vec![last]].concat());

    assert!(store.replace_after(&ada, &thread.id, &before[0].id, &[]).await.unwrap());
    assert_eq!(everything(&*store, &ada, &thread.id).await, before[..1]);
}

pub(crate) async fn items_are_removed_and_strangers_passed_over(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let (thread, other) = (stored(&*store, &ada, 1).await, stored(&*store, &ada, 1).await);
    for text in ["a", "b"] {
        assert!(store.save_item(&ada, &said(&thread.id, text)).await.unwrap());
    }
    let all = everything(&*store, &ada, &thread.id).await;
    let others = everything(&*store, &ada, &other.id).await;
    let removed = [all[1].id.clone(), new_id("msg_"), others[0].id.clone()];
    store.remove_items(&ada, &thread.id, &removed).await.unwrap();
    store.remove_items(&ada, "thr_none", &removed).await.unwrap();
    assert_eq!(everything(&*store, &ada, &thread.id).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(everything(&*store, &ada, &other.id).await, others);
    assert!(store.save_item(&ada, &all[1]).await.unwrap());
    assert_eq!(
        ids(&everything(&*store, &ada, &thread.id).await).last(),
        Some(&all[1].id),
        "it is new again"
    );
}

pub(crate) async fn an_opinion_replaces_the_one_before_and_goes_with_its_item(place: &Place) {
    use FeedbackKind::{Negative, Positive};
    let (store, ada) = (place.open().await, owner("ada"));
    let thread = stored(&*store, &ada, 1).await;
    for text in ["a", "b"] {
        assert!(store.save_item(&ada, &said(&thread.id, text)).await.unwrap());
    }
    let all = ids(&everything(&*store, &ada, &thread.id).await);
    let say = async |items: &[&Id], kind| {
        let item_ids = items.iter().map(|id| Id::clone(id)).collect();
        let feedback = Feedback { thread_id: thread.id.clone(), item_ids, kind };
        store.save_feedback(&ada, &feedback, Timestamp(3)).await.unwrap()
    };
    let said = async || store.feedback(&ada, &thread.id).await.unwrap();
    assert_eq!(said().await, []);
    assert!(say(&[&all[2], &all[0]], Positive).await);
    assert!(say(&[&all[0], &all[0]], Negative).await, "the same item twice is one item");
    assert_eq!(said().await, [(all[0].clone(), Negative), (all[2].clone(), Positive)]);

    assert!(!say(&[&all[1], &new_id("msg_")], Positive).await, "one of them is not there");
    assert_eq!(said().await.len(), 2, "then nothing is noted");

    store.remove_items(&ada, &thread.id, &all[..1]).await.unwrap();
    assert_eq!(said().await, [(all[2].clone(), Positive)]);
    let replaced = crate::made::said(&thread.id, "again");
    assert!(store.replace_after(&ada, &thread.id, &all[1], &[replaced]).await.unwrap());
    assert_eq!(said().await, []);
}

pub(crate) async fn a_deleted_thread_stays_deleted(place: &Place) {
    let (stores, ada) = ([place.open().await, place.open().await], owner("ada"));
    for _ in 0..10 {
        let thread = stored(&*stores[0], &ada, 1).await;
        let late: Vec<Item> = (0..4).map(|_| asked(&thread.id, "late", &[])).collect();
        let save = async |item| stores[1].save_item(&ada, item).await.unwrap();
        let (deleted, ..) = tokio::join!(
            stores[0].delete_thread(&ada, &thread.id),
            save(&late[0]),
            save(&late[1]),
            save(&late[2]),
            save(&late[3])
        );
        assert_eq!(deleted.unwrap(), Some(vec![]));
        assert!(!save(&late[0]).await, "nothing is saved in a thread that is gone");
        assert_eq!(stores[0].thread(&ada, &thread.id).await.unwrap(), None);
        let listed =
            stores[1].items(&ada, &thread.id, &page(5, Order::Asc, None), Audience::Model).await;
        assert_eq!(listed.unwrap(), None);
        assert_eq!(stores[0].item(&ada, &thread.id, &late[0].id).await.unwrap(), None);
    }
}
