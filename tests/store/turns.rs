//! Turns: one holder at a time, and a request is known again.

use std::sync::Arc;

use chatkit_server::clock::TestClock;
use chatkit_server::protocol::{Id, Thread};
use chatkit_server::store::{Claimed, Owner, Store, TurnAbout, TurnClaim, connect};

use crate::made::{asked, claim, everything, lasting, owner, stored, thread};
use crate::place::Place;

/// For so many seconds a request is known whose holder was lost.
const LOST: i64 = 120;

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
            let (store, ada, id) =
                (Arc::clone(&stores[number % 2]), ada.clone(), thread.id.clone());
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
    place.pass(50).await;
    assert!(
        one.keep_turn(&ada, id, &lasting(&mine, 150)).await.unwrap(),
        "only its holder ends it"
    );
    place.pass(140).await;
    assert_eq!(other.take_turn(&ada, id, &theirs).await.unwrap(), Claimed::Busy);
    place.pass(20).await;
    assert_eq!(
        other.take_turn(&ada, id, &theirs).await.unwrap(),
        abandoned(),
        "its time has passed"
    );
    assert!(!one.keep_turn(&ada, id, &mine).await.unwrap(), "somebody else has it");
    one.end_turn(&ada, id, &mine, true).await.unwrap();
    assert_eq!(one.take_turn(&ada, id, &mine).await.unwrap(), Claimed::Busy);

    other.end_turn(&ada, id, &theirs, true).await.unwrap();
    assert!(!other.keep_turn(&ada, id, &theirs).await.unwrap(), "it has ended");
    let again = TurnClaim { holder: "new".to_owned(), ..theirs };
    assert_eq!(
        one.take_turn(&ada, id, &again).await.unwrap(),
        Claimed::Yes,
        "it got through: a new message"
    );
    let same = TurnClaim { holder: "newer".to_owned(), ..again };
    assert_eq!(one.take_turn(&ada, id, &same).await.unwrap(), repeat(id, true));
    place.pass(110).await;
    let known = "its holder is lost, and the request is still known";
    assert_eq!(one.take_turn(&ada, id, &same).await.unwrap(), repeat(id, false), "{known}");
    place.pass(LOST).await;
    assert_eq!(one.take_turn(&ada, id, &same).await.unwrap(), abandoned());
}

pub(crate) async fn the_clocks_of_replicas_may_differ(place: &Place) {
    let ahead = connect(&place.url, Arc::new(TestClock::at(2_000_000))).await.unwrap();
    let behind = connect(&place.url, Arc::new(TestClock::at(1))).await.unwrap();
    let ada = owner("ada");
    for (one, other) in [(&ahead, &behind), (&behind, &ahead)] {
        let thread = stored(&**one, &ada, 1).await;
        let mine = claim("a", "mine");
        assert_eq!(one.take_turn(&ada, &thread.id, &mine).await.unwrap(), Claimed::Yes);
        let theirs = claim("b", "theirs");
        assert_eq!(other.take_turn(&ada, &thread.id, &theirs).await.unwrap(), Claimed::Busy);
        assert!(one.keep_turn(&ada, &thread.id, &lasting(&mine, 0)).await.unwrap());
        assert_eq!(other.take_turn(&ada, &thread.id, &theirs).await.unwrap(), abandoned());
    }
}

pub(crate) async fn a_turn_that_did_not_get_through_is_remembered_for_a_while(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let thread = stored(&*one, &ada, 1).await;
    let id = &thread.id;
    let mine = claim("a", "mine");
    assert_eq!(one.take_turn(&ada, id, &mine).await.unwrap(), Claimed::Yes);
    one.end_turn(&ada, id, &lasting(&mine, 800), false).await.unwrap();
    assert!(!one.keep_turn(&ada, id, &mine).await.unwrap(), "it has ended");
    let same = claim("a", "same");
    place.pass(790).await;
    assert_eq!(other.take_turn(&ada, id, &same).await.unwrap(), repeat(id, false));
    place.pass(20).await;
    assert_eq!(other.take_turn(&ada, id, &same).await.unwrap(), Claimed::Yes);
    other.end_turn(&ada, id, &same, false).await.unwrap();
    let else_ = claim("b", "else");
    assert_eq!(one.take_turn(&ada, id, &else_).await.unwrap(), Claimed::Yes, "another request");
    one.end_turn(&ada, id, &else_, true).await.unwrap();
    assert_eq!(
        one.take_turn(&ada, id, &same).await.unwrap(),
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
    place.pass(110).await;
    assert_eq!(
        other.take_turn(&ada, id, &same).await.unwrap(),
        repeat(further.about.clone(), false)
    );
    let theirs = TurnClaim { about: Some(TurnAbout::Act), ..claim("b", "theirs") };
    let lost = Claimed::Abandoned { about: further.about };
    assert_eq!(other.take_turn(&ada, id, &theirs).await.unwrap(), lost);
    let theirs_again = TurnClaim { holder: "again".to_owned(), ..theirs };
    assert_eq!(
        one.take_turn(&ada, id, &theirs_again).await.unwrap(),
        repeat(Some(TurnAbout::Act), true)
    );
}

pub(crate) async fn a_claim_that_ran_out_is_renewed_under_the_key_that_it_has_by_then(
    place: &Place,
) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let thread = stored(&*one, &ada, 1).await;
    let id = &thread.id;
    assert_eq!(
        one.take_turn(&ada, id, &claim("a name of its own", "mine")).await.unwrap(),
        Claimed::Yes
    );
    place.pass(110).await;
    assert!(one.keep_turn(&ada, id, &claim("asked", "mine")).await.unwrap(), "nobody took it");
    assert_eq!(other.take_turn(&ada, id, &claim("asked", "same")).await.unwrap(), repeat(id, true));
    assert_eq!(other.take_turn(&ada, id, &claim("b", "theirs")).await.unwrap(), Claimed::Busy);
}

pub(crate) async fn a_key_is_good_for_one_body_alone(place: &Place) {
    let (one, other, ada) = (place.open().await, place.open().await, owner("ada"));
    let with =
        |body: &str, holder: &str| TurnClaim { body: Some(body.to_owned()), ..claim("k", holder) };
    let is_reused = async |thread: Option<&Id>, body: &str| {
        let thread = thread.map(|id| &**id);
        other.is_key_reused(&ada, thread, "k", body).await.unwrap()
    };
    assert!(!is_reused(None, "a").await, "nobody knows it");
    let (made, _) = create(&*one, &ada, &with("a", "1")).await;
    assert_eq!((is_reused(None, "a").await, is_reused(None, "b").await), (false, true));
    assert_eq!(create(&*other, &ada, &with("b", "2")).await.1, Claimed::Reused);
    assert_eq!(create(&*other, &ada, &with("a", "3")).await.1, repeat(&made.id, true));
    assert!(!other.is_key_reused(&owner("bob"), Some(&made.id), "k", "b").await.unwrap());
    one.end_turn(&ada, &made.id, &with("a", "1"), true).await.unwrap();
    assert!(!is_reused(Some(&made.id), "b").await, "its answer got through");

    assert_eq!(one.take_turn(&ada, &made.id, &with("c", "4")).await.unwrap(), Claimed::Yes);
    let id = Some(&made.id);
    assert_eq!(
        (is_reused(id, "c").await, is_reused(id, "d").await, is_reused(None, "d").await),
        (false, true, false)
    );
    assert_eq!(other.take_turn(&ada, &made.id, &with("d", "5")).await.unwrap(), Claimed::Reused);
    place.pass(110).await;
    assert!(is_reused(id, "d").await, "its holder is lost, and the key is still known");
    place.pass(LOST).await;
    assert!(!is_reused(id, "d").await, "that was too long ago");
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
        let first =
            answers.iter().position(|(_, claimed)| *claimed == Claimed::Yes).expect("one is made");
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
    place.pass(50).await;
    assert!(one.keep_turn(&ada, &made.id, &lasting(&mine, 150)).await.unwrap());
    let again = |holder: &str| claim("k", holder);
    place.pass(140).await;
    assert_eq!(
        create(&*other, &ada, &again("1")).await.1,
        repeat(&made.id, true),
        "it was renewed"
    );
    one.end_turn(&ada, &made.id, &lasting(&mine, 700), false).await.unwrap();
    place.pass(690).await;
    let known = repeat(&made.id, false);
    assert_eq!(create(&*other, &ada, &again("2")).await.1, known, "it did not get through");
    place.pass(20).await;
    let (second, claimed) = create(&*other, &ada, &again("3")).await;
    assert_eq!(claimed, Claimed::Yes, "that was too long ago");
    assert!(one.thread(&ada, &made.id).await.unwrap().is_some(), "and the first thread stays");

    other.end_turn(&ada, &second.id, &again("3"), true).await.unwrap();
    let (third, claimed) = create(&*one, &ada, &again("4")).await;
    assert_eq!(claimed, Claimed::Yes, "its answer got through: a new message");
    one.delete_thread(&ada, &third.id).await.unwrap();
    let (fourth, claimed) = create(&*one, &ada, &again("5")).await;
    assert_eq!(claimed, Claimed::Yes, "the thread was deleted");
    place.pass(90).await;
    assert_eq!(create(&*one, &ada, &again("6")).await.1, repeat(&fourth.id, true));
    place.pass(20).await;
    assert_eq!(
        create(&*one, &ada, &again("7")).await.1,
        repeat(&fourth.id, false),
        "its holder is lost"
    );
    place.pass(LOST).await;
    assert_eq!(create(&*one, &ada, &again("8")).await.1, Claimed::Yes, "that was too long ago");
}

pub(crate) async fn a_later_turn_does_not_hide_the_request_that_made_the_thread(place: &Place) {
    let (store, ada) = (place.open().await, owner("ada"));
    let mine = claim("k", "first");
    let (made, _) = create(&*store, &ada, &mine).await;
    store.end_turn(&ada, &made.id, &lasting(&mine, 790), false).await.unwrap();
    let later = claim("later", "second");
    assert_eq!(store.take_turn(&ada, &made.id, &later).await.unwrap(), Claimed::Yes);
    let again = claim("k", "third");
    let known = repeat(&made.id, false);
    assert_eq!(create(&*store, &ada, &again).await.1, known, "another answer is being made");
    assert!(store.keep_turn(&ada, &made.id, &lasting(&later, 5000)).await.unwrap());
    store.end_turn(&ada, &made.id, &later, true).await.unwrap();
    assert_eq!(create(&*store, &ada, &again).await.1, known, "that was another request");
    place.pass(800).await;
    assert_eq!(create(&*store, &ada, &again).await.1, Claimed::Yes);
}
