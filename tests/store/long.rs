//! Long lists and large elements: read in batches, handed over one by one, and cut where a page is
//! full.

use std::ops::ControlFlow;

use chatkit_server::protocol::{Id, Item, Order};
use chatkit_server::store::{Audience, Owner, PAGE_BYTES, Store};

use crate::made::{everything, hidden, ids, owner, page, said, stored};
use crate::place::Place;

/// Around the ends of batches: 21, 63, 147.
const LIMITS: [u32; 10] = [20, 21, 22, 62, 63, 64, 146, 147, 148, 10_000];

pub(crate) async fn lists_that_take_several_batches_are_whole_and_in_order(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let thread = stored(&*store, &ada, 1).await;
    for number in 0..155 {
        let item = if number % 5 == 1 { hidden(&thread.id) } else { said(&thread.id, "x") };
        assert!(store.save_item(&ada, &item).await.unwrap());
        stored(&*store, &ada, 10 + number / 3).await;
    }
    let all = everything(&*store, &ada, &thread.id).await;
    assert_eq!(all.len(), 156);
    for order in [Order::Asc, Order::Desc] {
        for audience in [Audience::Client, Audience::Model] {
            let mut expected = all.clone();
            expected.retain(|item| audience == Audience::Model || !item.is_hidden());
            if order == Order::Desc {
                expected.reverse();
            }
            for limit in LIMITS {
                let query = page(limit, order, None);
                let part = store.items(&ada, &thread.id, &query, audience).await.unwrap().unwrap();
                let wanted = expected.len().min(limit as usize);
                assert_eq!(
                    ids(&part.data),
                    ids(&expected[..wanted]),
                    "{limit} {order:?} {audience:?}"
                );
                assert_eq!(
                    part.has_more,
                    wanted < expected.len(),
                    "{limit} {order:?} {audience:?}"
                );
            }
        }
        let whole = store.threads(&ada, &page(10_000, order, None)).await.unwrap().unwrap();
        assert_eq!((whole.data.len(), whole.has_more), (156, false));
        let times: Vec<u64> = whole.data.iter().map(|thread| thread.created_at.0).collect();
        assert!(if order == Order::Asc {
            times.is_sorted()
        } else {
            times.iter().rev().is_sorted()
        });
        for limit in LIMITS {
            let part = store.threads(&ada, &page(limit, order, None)).await.unwrap().unwrap();
            let wanted = whole.data.len().min(limit as usize);
            assert_eq!(part.data, whole.data[..wanted], "{limit} {order:?}");
            assert_eq!(part.has_more, wanted < whole.data.len(), "{limit} {order:?}");
        }
    }
}

pub(crate) async fn a_page_ends_at_a_mebibyte_and_the_rest_follows(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let thread = stored(&*store, &ada, 1).await;
    for size in [300_000, 300_000, 300_000, 300_000, 2_000_000, 300_000] {
        assert!(store.save_item(&ada, &said(&thread.id, &"x".repeat(size))).await.unwrap());
    }
    let pages = walk(&*store, &ada, &thread.id).await;
    let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 1, 1, 1], "the first item is small; a large one has a page of its own");
    let first: usize = pages[0].iter().map(|item| serde_json::to_string(item).unwrap().len()).sum();
    assert!(first <= PAGE_BYTES, "{first}");
}

/// All items, page by page.
async fn walk(store: &dyn Store, ada: &Owner, thread_id: &Id) -> Vec<Vec<Item>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let query = page(10_000, Order::Asc, after.as_ref());
        let part = store.items(ada, thread_id, &query, Audience::Model).await.unwrap().unwrap();
        assert_eq!(
            part.after.as_ref(),
            part.data.last().map(|last| &last.id).filter(|_| part.has_more)
        );
        pages.push(part.data);
        if !part.has_more {
            return pages;
        }
        after = part.after;
    }
}

pub(crate) async fn whoever_has_enough_is_handed_nothing_more(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let thread = stored(&*store, &ada, 1).await;
    for _ in 0..60 {
        assert!(store.save_item(&ada, &said(&thread.id, &"x".repeat(50_000))).await.unwrap());
        stored(&*store, &ada, 2).await;
    }
    for enough in [1, 2, 21, 22, 40] {
        let (mut items, mut threads) = (0, 0);
        let query = page(10_000, Order::Desc, None);
        let mut each = |_, bytes| {
            assert!(bytes > 50_000, "{bytes}");
            items += 1;
            if items == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store
            .each_item(&ada, &thread.id, &query, Audience::Model, &mut each)
            .await
            .unwrap()
            .unwrap();
        let mut each = |_, _| {
            threads += 1;
            if threads == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store.each_thread(&ada, &query, None, &mut each).await.unwrap().unwrap();
        assert_eq!((items, threads), (enough, enough));
    }
    // The connections that were left in the middle of an answer are good.
    assert_eq!(
        store.threads(&ada, &page(10_000, Order::Asc, None)).await.unwrap().unwrap().data.len(),
        61
    );
}
