//! Refresh and revocation: what is asked of OpenAI in which order, and what is remembered.

use std::time::Duration;

use chatkit_server::sessions::registry::Registry;
use chatkit_server::user::Fingerprint;

use super::fixture::{House, seen, user};
use crate::support::upstream::Reply;

const MINT: &str = "POST /v1/chatkit/sessions";

fn session(n: u8) -> Reply {
    Reply::session(&format!("cksess_{n}"), &format!("ek_{n}"))
}

fn cancel(n: u8) -> String {
    format!("{MINT}/cksess_{n}/cancel")
}

fn current(n: u8) -> String {
    format!(r#"{{"currentClientSecret":"ek_{n}"}}"#)
}

/// A house in which `ada` holds session 1.
async fn house_of_ada(then: impl IntoIterator<Item = Reply>, extra: &[(&str, &str)]) -> House {
    let house = House::with(std::iter::once(session(1)).chain(then), extra).await;
    house.mint().await.unwrap();
    house
}

#[tokio::test]
async fn a_refresh_makes_the_new_session_first_and_then_ends_the_old_one() {
    let slow = session(2).after(Duration::from_millis(200));
    let house = house_of_ada([slow, session(1)], &[]).await;
    let (ada, current) = (user("ada"), current(1));
    let before_the_answer = async {
        house.upstream.wait_for(2).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        house.upstream.lines()
    };
    let (refreshed, lines) = tokio::join!(house.refresh(&ada, &current), before_the_answer);
    assert_eq!(refreshed.unwrap().expose(), "ek_2");
    assert_eq!(lines, [MINT, MINT], "nothing is cancelled while there is no new session");
    house.settle().await;
    assert_eq!(house.upstream.lines(), [MINT, MINT, &cancel(1)]);
    assert_eq!(house.ids().await, ["cksess_2"]);
}

#[tokio::test]
async fn a_refresh_does_not_wait_for_the_end_of_the_old_session() {
    let slow = session(1).after(Duration::from_millis(400));
    let house = house_of_ada([session(2), slow], &[]).await;
    house.refresh(&user("ada"), &current(1)).await.unwrap();
    house.upstream.wait_for(3).await;
    assert_eq!(house.ids().await, ["cksess_1", "cksess_2"], "not forgotten before it is confirmed");
    house.settle().await;
    assert_eq!(house.ids().await, ["cksess_2"]);
}

#[tokio::test]
async fn a_cancel_that_fails_never_fails_the_refresh_and_the_old_session_stays_registered() {
    for failure in
        [Reply::text(401, ""), Reply::text(500, ""), Reply::hang_up(), Reply::text(302, "")]
    {
        let house = house_of_ada([session(2), failure], &[("UPSTREAM_RETRIES", "0")]).await;
        assert_eq!(house.refresh(&user("ada"), &current(1)).await.unwrap().expose(), "ek_2");
        house.settle().await;
        assert_eq!(house.upstream.lines().last(), Some(&cancel(1)));
        assert_eq!(house.ids().await, ["cksess_1", "cksess_2"]);
    }
}

#[tokio::test]
async fn an_old_session_that_is_gone_already_is_forgotten() {
    let house = house_of_ada(
        [session(2), Reply::error(404, "invalid_request_error", "x", "not found")],
        &[],
    )
    .await;
    house.refresh(&user("ada"), &current(1)).await.unwrap();
    house.settle().await;
    assert_eq!(house.ids().await, ["cksess_2"]);
    let outcome = r#"chatkit_upstream_request_duration_seconds_count{operation="cancel_session",outcome="ok"}"#;
    assert_eq!(house.metric(outcome).as_deref(), Some("1"), "a 404 counts as done");
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_old_session_alone() {
    let house = house_of_ada([Reply::text(401, "")], &[]).await;
    assert_eq!(
        seen(house.refresh(&user("ada"), &current(1)).await).await.code,
        "upstream_auth_failed"
    );
    house.settle().await;
    assert_eq!(house.upstream.lines(), [MINT, MINT]);
    assert_eq!(house.ids().await, ["cksess_1"]);
}

#[tokio::test]
async fn the_secret_of_somebody_else_is_refused_before_anything_is_made() {
    let house = house_of_ada([session(2)], &[]).await;
    let seen = seen(house.refresh(&user("eve"), &current(1)).await).await;
    assert_eq!((seen.status, seen.code.as_str()), (403, "session_mismatch"));
    house.settle().await;
    assert_eq!(house.upstream.lines(), [MINT], "the mint for ada alone");
    assert_eq!(house.ids().await, ["cksess_1"]);
}

#[tokio::test]
async fn an_unknown_secret_or_none_just_makes_a_session() {
    for asked in ["", "{}", r#"{"currentClientSecret":null}"#, r#"{"currentClientSecret":"ek_9"}"#]
    {
        let house = house_of_ada([session(2)], &[]).await;
        let refreshed = if asked.is_empty() { "{}" } else { asked };
        assert_eq!(house.refresh(&user("ada"), refreshed).await.unwrap().expose(), "ek_2");
        house.settle().await;
        assert_eq!(house.upstream.lines(), [MINT, MINT]);
        assert_eq!(house.ids().await, ["cksess_1", "cksess_2"]);
    }
}

#[tokio::test]
async fn a_current_secret_that_is_no_text_is_an_error_that_names_the_field() {
    let house = House::new([]).await;
    let error = house.refresh(&user("ada"), r#"{"currentClientSecret":7}"#).await.unwrap_err();
    assert!(format!("{error:?}").contains("`currentClientSecret`"), "{error:?}");
    assert_eq!(seen::<()>(Err(error)).await.status, 400);
    assert!(house.upstream.requests().is_empty());
}

#[tokio::test]
async fn a_refresh_may_change_the_workflow() {
    let house =
        house_of_ada([session(2), session(1)], &[("CHATKIT_WORKFLOWS", "sales=wf_2")]).await;
    let asked = r#"{"currentClientSecret":"ek_1","workflow":"sales"}"#;
    house.refresh(&user("ada"), asked).await.unwrap();
    house.settle().await;
    assert_eq!(house.upstream.requests()[1].json()["workflow"]["id"], "wf_2");
    assert_eq!(house.upstream.lines().last(), Some(&cancel(1)));
}

#[tokio::test]
async fn a_revocation_ends_every_session_of_the_caller_and_nobody_elses() {
    let house = House::new((1..=3).map(session)).await;
    for name in ["ada", "eve", "ada"] {
        house.create(&user(name), "{}").await.unwrap();
    }
    house.upstream.then(session(1));
    house.upstream.then(Reply::text(404, "gone"));
    house.revoke(&user("ada")).await.unwrap();
    let mut cancels = house.upstream.lines().split_off(3);
    cancels.sort();
    assert_eq!(cancels, [cancel(1), cancel(3)]);
    assert_eq!(house.ids().await, ["cksess_2"]);
}

#[tokio::test]
async fn a_revocation_with_nothing_to_end_asks_nothing() {
    let house = House::new([]).await;
    house.revoke(&user("ada")).await.unwrap();
    assert!(house.upstream.requests().is_empty());
}

#[tokio::test]
async fn what_openai_does_not_confirm_stays_registered_and_is_the_answer() {
    let house = House::new((1..=3).map(session)).await;
    for _ in 0..3 {
        house.mint().await.unwrap();
    }
    house.upstream.then(session(0));
    house.upstream.then(Reply::text(403, ""));
    house.upstream.then(session(0));
    assert_eq!(seen(house.revoke(&user("ada")).await).await.code, "upstream_auth_failed");
    let left = house.ids().await;
    assert_eq!(left.len(), 1, "{left:?}");
    house.upstream.then(session(0));
    house.revoke(&user("ada")).await.unwrap();
    assert_eq!(house.upstream.lines().last(), Some(&format!("{MINT}/{}/cancel", left[0])));
    assert!(house.ids().await.is_empty(), "the second time it is done");
}

#[tokio::test]
async fn a_session_without_an_id_works_and_leaves_nothing_to_cancel() {
    let house = House::new([Reply::text(200, r#"{"client_secret":"ek_1"}"#), session(2)]).await;
    house.mint().await.unwrap();
    let seen = seen(house.refresh(&user("eve"), &current(1)).await).await;
    assert_eq!(seen.code, "session_mismatch", "whose it is is known all the same");
    house.revoke(&user("ada")).await.unwrap();
    assert_eq!(house.upstream.lines(), [MINT]);
    assert!(house.registry.find(Fingerprint::of(b"ek_1")).await.is_none());
}
