//! Revocations: of one secret, of all of a user, and how long they are kept.

use std::time::{Duration, Instant};

use chatkit_server::protocol::Timestamp;
use chatkit_server::store::revoked::Revoked;
use chatkit_server::user::UserId;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::place::Place;

/// Lets so many seconds pass for every revocation.
async fn pass(place: &Place, seconds: i64) {
    let (sql, micros) = ("update revocations set at = at - $1", seconds * 1_000_000);
    if place.url.starts_with("sqlite") {
        let mut file = SqliteConnection::connect(&place.url).await.unwrap();
        sqlx::query(sql).bind(micros).execute(&mut file).await.unwrap();
    } else {
        let mut server = PgConnection::connect(&place.url).await.unwrap();
        sqlx::query(sql).bind(micros).execute(&mut server).await.unwrap();
    }
}

pub(crate) async fn a_revocation_is_of_one_secret_or_of_all_until_then(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let [ada, bob] = ["ada", "bob"].map(|name| UserId::parse(name).unwrap());
    let never = store.last_revocation(&ada).await.unwrap();
    assert_eq!(never, Timestamp(0));
    for (user, id) in [(&ada, "one"), (&ada, "two"), (&bob, "one")] {
        assert!(!store.is_revoked(user, id, never).await.unwrap());
    }
    store.revoke(&ada, Some("one")).await.unwrap();
    store.revoke(&ada, Some("one")).await.unwrap();
    assert!(other.is_revoked(&ada, "one", never).await.unwrap());
    assert!(
        other.is_revoked(&ada, "one", Timestamp(u64::MAX)).await.unwrap(),
        "whatever it comes after"
    );
    assert!(!other.is_revoked(&ada, "two", never).await.unwrap());
    assert!(!other.is_revoked(&bob, "one", never).await.unwrap(), "another user's");
    assert_eq!(other.last_revocation(&ada).await.unwrap(), never, "that was one");

    let mut before = never;
    for _ in 0..50 {
        store.revoke(&ada, None).await.unwrap();
        let last = other.last_revocation(&ada).await.unwrap();
        assert!(last > before, "it grows each time: {last:?} after {before:?}");
        assert!(other.is_revoked(&ada, "two", before).await.unwrap());
        assert!(!other.is_revoked(&ada, "two", last).await.unwrap());
        before = last;
    }
    assert_eq!(other.last_revocation(&bob).await.unwrap(), never);
}

pub(crate) async fn old_revocations_are_swept_and_a_later_one_still_counts(place: &Place) {
    let store = place.open().await;
    let ada = UserId::parse("ada").unwrap();
    store.revoke(&ada, Some("one")).await.unwrap();
    store.revoke(&ada, None).await.unwrap();
    let after = store.last_revocation(&ada).await.unwrap();
    pass(place, 7100).await;
    store.sweep_revocations().await.unwrap();
    assert!(store.is_revoked(&ada, "one", after).await.unwrap(), "a secret may live that long");
    pass(place, 200).await;
    store.sweep_revocations().await.unwrap();
    assert!(!store.is_revoked(&ada, "one", after).await.unwrap());
    assert_eq!(store.last_revocation(&ada).await.unwrap(), Timestamp(0));
    store.revoke(&ada, None).await.unwrap();
    assert!(
        store.is_revoked(&ada, "late", after).await.unwrap(),
        "though the last one is forgotten"
    );
}

#[tokio::test]
async fn a_good_secret_is_asked_for_again_in_time_and_at_once_after_a_revocation_here() {
    let place = Place::sqlite();
    let (here, elsewhere) = (Revoked::new(place.open().await), place.open().await);
    let ada = UserId::parse("ada").unwrap();
    let never = Timestamp(0);
    let began = Instant::now();
    assert!(!here.has(&ada, "one", never).await.unwrap());
    elsewhere.revoke(&ada, None).await.unwrap();
    let revoked_at = Instant::now();
    let is_known = here.has(&ada, "one", never).await.unwrap();
    assert!(
        !is_known || began.elapsed() > Duration::from_secs(2),
        "the database is not asked each time"
    );
    while !here.has(&ada, "one", never).await.unwrap() {
        assert!(revoked_at.elapsed() < Duration::from_secs(5), "every replica knows by then");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let after = here.last(&ada).await.unwrap();
    for id in ["two", "three"] {
        assert!(!here.has(&ada, id, after).await.unwrap());
    }
    here.revoke(&ada, "two").await.unwrap();
    assert!(
        here.has(&ada, "two", after).await.unwrap()
            && !here.has(&ada, "three", after).await.unwrap()
    );
    here.revoke_all(&ada).await.unwrap();
    assert!(here.has(&ada, "three", after).await.unwrap());
    assert!(!here.has(&ada, "four", here.last(&ada).await.unwrap()).await.unwrap());
}
