//! Turns: one holder at a time, and a request is known again.

use std::sync::Arc;

use chatkit_server::protocol::{Id, Thread};
use chatkit_server::store::{Claimed, Owner, Store, TurnAbout, TurnClaim};

use crate::made::{asked, at, claim, everything, owner, stored, thread};
use crate::place::Place;

/// Two minutes.
const LOST: u64 = 120_000_000;

fn repeat(thread_id: &Id, is_running: bool) -> Claimed {
    Claimed::Repeat { thread_id: thread_id.clone(), is_running, about: None }
}

fn abandoned() -> Claimed {
    Claimed::Abandoned { about: None }
}

pub(crate) async fn one_of_many_claims_wins(place: &Place) {
    let (stores, ada) = ([place.open().await, place.open().await], owner("ada"));
    for round in 0..10 {
        let thread = stored(&*stores[0], &ada, 1).await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (store, ada, id) = (Arc::clone(&stores[number % 2]), ada.clone(), thread.id.clone());
            // In every other round all of them ask the same.
            let key = if round % 2 == 0 { number.to_string() } else { "same".to_owned() };
            let claim = claim(&key, &number.to_string());
            tasks.spawn(async move { store.take_turn(&ada, &id, &claim).await.unwrap() });
        }
        let mut answers = tasks.join_all().await;
        let first = answers.iter().position(|answer| *answer == Claimed::Yes).expect("one wins");
        answers.remove(first);
        let lost = if round % 2 == 0 { Claimed::Busy } else { repeat(&thread.id, true) };
        assert_eq!(answers, vec![lost; 7], "and no other does");
    }
}

pub(crate) async fn a_turn_is_claimed_kept_and_given_back(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let thread = stored(&*one, &ada, 1).await;
    let id = &thread.id;
    let (mine, theirs) = (claim("a", "mine"), claim("b", "theirs"));
    assert_eq!(one.take_turn(&ada, "thr_none", &mine).await.unwrap(), Claimed::NotFound);
    assert!(!one.keep_turn(&ada, id, &mine).await.unwrap(), "nobody has it");

    assert_eq!(one.take_turn(&ada, id, &mine).await.unwrap(), Claimed::Yes);
    assert_eq!(other.take_turn(&ada, id, &theirs).await.unwrap(), Claimed::Busy);
    assert!(!other.keep_turn(&ada, id, &theirs).await.unwrap());
    other.end_turn(&ada, id, &theirs, true).await.unwrap();
    assert!(one.keep_turn(&ada, id, &at(&mine, 150, 300)).await.unwrap(), "only its holder ends it");
    assert_eq!(other.take_turn(&ada, id, &at(&theirs, 299, 400)).await.unwrap(), Claimed::Busy);
    let late = at(&theirs, 300, 400);
    assert_eq!(other.take_turn(&ada, id, &late).await.unwrap(), abandoned(), "its time has passed");
    assert!(!one.keep_turn(&ada, id, &at(&mine, 300, 500)).await.unwrap(), "somebody else has it");
    one.end_turn(&ada, id, &mine, true).await.unwrap();
    assert_eq!(one.take_turn(&ada, id, &at(&mine, 301, 500)).await.unwrap(), Claimed::Busy);

    other.end_turn(&ada, id, &late, true).await.unwrap();
    assert!(!other.keep_turn(&ada, id, &late).await.unwrap(), "it has ended");
    let again = TurnClaim { holder: "new".to_owned(), ..at(&late, 301, 500) };
    assert_eq!(one.take_turn(&ada, id, &again).await.unwrap(), Claimed::Yes, "it got through: a new message");
    let same = TurnClaim { holder: "newer".to_owned(), ..again.clone() };
    assert_eq!(one.take_turn(&ada, id, &same).await.unwrap(), repeat(id, true));
    assert_eq!(
        one.take_turn(&ada, id, &at(&same, 500, 600)).await.unwrap(),
        repeat(id, false),
        "its holder is lost, and the request is still known"
    );
    let forgotten = at(&same, 500 + LOST, 600 + LOST);
    assert_eq!(one.take_turn(&ada, id, &forgotten).await.unwrap(), abandoned());
}

pub(crate) async fn a_turn_that_did_not_get_through_is_remembered_for_a_while(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let thread = stored(&*one, &ada, 1).await;
    let id = &thread.id;
    let mine = claim("a", "mine");
    assert_eq!(one.take_turn(&ada, id, &mine).await.unwrap(), Claimed::Yes);
    one.end_turn(&ada, id, &at(&mine, 150, 900), false).await.unwrap();
    assert!(!one.keep_turn(&ada, id, &mine).await.unwrap(), "it has ended");
    let same = claim("a", "same");
    assert_eq!(other.take_turn(&ada, id, &at(&same, 899, 950)).await.unwrap(), repeat(id, false));
    assert_eq!(other.take_turn(&ada, id, &at(&same, 900, 950)).await.unwrap(), Claimed::Yes);
    other.end_turn(&ada, id, &at(&same, 901, 990), false).await.unwrap();
    let else_ = claim("b", "else");
    assert_eq!(
        one.take_turn(&ada, id, &at(&else_, 902, 990)).await.unwrap(),
        Claimed::Yes,
        "another request"
    );
    one.end_turn(&ada, id, &else_, true).await.unwrap();
    assert_eq!(
        one.take_turn(&ada, id, &at(&same, 903, 990)).await.unwrap(),
        Claimed::Yes,
        "the last claim counts"
    );
}

pub(crate) async fn what_a_turn_is_about_stands_with_its_claim(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let thread = stored(&*one, &ada, 1).await;
    let id = &thread.id;
    let asked = |behind: Option<&str>| {
        Some(TurnAbout::Answers { item_id: "msg_\u{0}".into(), behind: behind.map(Into::into) })
    };
    let mine = TurnClaim { about: asked(None), ..claim("a", "mine") };
    assert_eq!(one.take_turn(&ada, id, &mine).await.unwrap(), Claimed::Yes);
    let same = claim("a", "same");
    let repeat = |about, is_running| Claimed::Repeat { thread_id: id.clone(), is_running, about };
    assert_eq!(other.take_turn(&ada, id, &same).await.unwrap(), repeat(asked(None), true));
    let further = TurnClaim { about: asked(Some("msg_1")), ..mine.clone() };
    assert!(one.keep_turn(&ada, id, &further).await.unwrap());
    assert_eq!(
        other.take_turn(&ada, id, &at(&same, 200, 300)).await.unwrap(),
        repeat(further.about.clone(), false)
    );
    let theirs = at(&TurnClaim { about: Some(TurnAbout::Act), ..claim("b", "theirs") }, 200, 300);
    let lost = Claimed::Abandoned { about: further.about };
    assert_eq!(other.take_turn(&ada, id, &theirs).await.unwrap(), lost);
    let theirs_again = TurnClaim { holder: "again".to_owned(), ..theirs };
    assert_eq!(one.take_turn(&ada, id, &theirs_again).await.unwrap(), repeat(Some(TurnAbout::Act), true));
}

async fn create(store: &dyn Store, ada: &Owner, claim: &TurnClaim) -> (Thread, Claimed) {
    let thread = thread(1);
    let first = asked(&thread.id, "first", &[]);
    let claimed = store.create_thread(ada, &thread, &first, claim).await.unwrap();
    let is_there = store.thread(ada, &thread.id).await.unwrap().is_some();
    assert_eq!(is_there, claimed == Claimed::Yes, "it is made, or nothing is");
    (thread, claimed)
}

pub(crate) async fn the_same_request_makes_one_thread(place: &Place) {
    let (stores, ada) = ([place.open().await, place.open().await], owner("ada"));
    for round in 0..10 {
        let key = format!("round {round}");
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..6 {
            let (store, ada) = (Arc::clone(&stores[number % 2]), ada.clone());
            let claim = claim(&key, &number.to_string());
            tasks.spawn(async move { create(&*store, &ada, &claim).await });
        }
        let mut answers = tasks.join_all().await;
        let first = answers.iter().position(|(_, claimed)| *claimed == Claimed::Yes).expect("one is made");
        let (made, _) = answers.remove(first);
        for (_, claimed) in answers {
            assert_eq!(claimed, repeat(&made.id, true));
        }
        assert_eq!(everything(&*stores[0], &ada, &made.id).await.len(), 1);
    }
    let (_, claimed) = create(&*stores[0], &ada, &claim("another", "h")).await;
    assert_eq!(claimed, Claimed::Yes, "another request makes another thread");
}

pub(crate) async fn a_request_that_got_through_or_is_too_old_makes_another_thread(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let mine = claim("k", "first");
    let (made, _) = create(&*one, &ada, &mine).await;
    assert!(one.keep_turn(&ada, &made.id, &at(&mine, 150, 300)).await.unwrap());
    let again = |now, holder| TurnClaim { holder: format!("{holder}"), ..at(&mine, now, now + 100) };
    assert_eq!(create(&*other, &ada, &again(299, 1)).await.1, repeat(&made.id, true), "it was renewed");
    one.end_turn(&ada, &made.id, &at(&mine, 200, 900), false).await.unwrap();
    assert_eq!(
        create(&*other, &ada, &again(899, 2)).await.1,
        repeat(&made.id, false),
        "it did not get through"
    );
    let (second, claimed) = create(&*other, &ada, &again(900, 3)).await;
    assert_eq!(claimed, Claimed::Yes, "that was too long ago");
    assert!(one.thread(&ada, &made.id).await.unwrap().is_some(), "and the first thread stays");

    other.end_turn(&ada, &second.id, &again(950, 3), true).await.unwrap();
    let (third, claimed) = create(&*one, &ada, &again(951, 4)).await;
    assert_eq!(claimed, Claimed::Yes, "its answer got through: a new message");
    one.delete_thread(&ada, &third.id).await.unwrap();
    let (fourth, claimed) = create(&*one, &ada, &again(952, 5)).await;
    assert_eq!(claimed, Claimed::Yes, "the thread was deleted");
    assert_eq!(create(&*one, &ada, &again(1051, 6)).await.1, repeat(&fourth.id, true));
    assert_eq!(create(&*one, &ada, &again(1052, 7)).await.1, repeat(&fourth.id, false), "its holder is lost");
    assert_eq!(create(&*one, &ada, &again(1052 + LOST, 8)).await.1, Claimed::Yes, "that was too long ago");
}

pub(crate) async fn a_later_turn_does_not_hide_the_request_that_made_the_thread(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let mine = claim("k", "first");
    let (made, _) = create(&*store, &ada, &mine).await;
    store.end_turn(&ada, &made.id, &at(&mine, 110, 900), false).await.unwrap();
    let later = at(&claim("later", "second"), 120, 500);
    assert_eq!(store.take_turn(&ada, &made.id, &later).await.unwrap(), Claimed::Yes);
    let again = TurnClaim { holder: "third".to_owned(), ..at(&mine, 130, 500) };
    assert_eq!(
        create(&*store, &ada, &again).await.1,
        repeat(&made.id, false),
        "another answer is being made"
    );
    assert!(store.keep_turn(&ada, &made.id, &at(&later, 140, 5000)).await.unwrap());
    store.end_turn(&ada, &made.id, &later, true).await.unwrap();
    assert_eq!(create(&*store, &ada, &again).await.1, repeat(&made.id, false), "that was another request");
    assert_eq!(create(&*store, &ada, &at(&again, 900, 990)).await.1, Claimed::Yes);
}
