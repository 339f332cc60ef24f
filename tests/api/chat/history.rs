//! Which earlier threads a person is shown: all, the newest, or none, in pages.

use serde_json::{Value, json};

use super::client::{Client, create, thread_of};
use super::setting::{Model, server, user};

/// The threads of a page, and whether something follows.
async fn listed(user: &Client, params: Value) -> (Vec<String>, bool) {
    let (status, page) = user.ask("threads.list", params).await;
    assert_eq!(status, 200, "{page}");
    let data = page["data"].as_array().expect("a page has data");
    let ids = data.iter().map(|thread| thread["id"].as_str().expect("an id").to_owned()).collect();
    let has_more = page["has_more"].as_bool().expect("it says so");
    assert_eq!(
        page["after"].is_string(),
        has_more,
        "there is a cursor when something follows: {page}"
    );
    (ids, has_more)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_threads_are_paged_in_either_order_and_no_others_are_shown() {
    let model = Model::start();
    let server = server(&model.base(), &[("CHATKIT_HISTORY", "on,recent_threads=3")]);
    let ada = user(&server, "ada");
    let mut made = Vec::new();
    for number in 1..=5 {
        made.push(thread_of(&ada.events(&create(&format!("thread {number}"))).await));
    }
    let [first, _, third, fourth, fifth] = &*made else { panic!("five were made") };
    let shown =
        |threads: &[&String], has_more| (threads.iter().copied().cloned().collect(), has_more);
    for (params, expected) in [
        (json!({}), shown(&[fifth, fourth, third], false)),
        (json!({"order": "asc"}), shown(&[third, fourth, fifth], false)),
        (json!({"limit": 2}), shown(&[fifth, fourth], true)),
        (json!({"limit": 2, "after": fourth}), shown(&[third], false)),
        (json!({"limit": 2, "order": "asc"}), shown(&[third, fourth], true)),
        (json!({"limit": 2, "order": "asc", "after": fourth}), shown(&[fifth], false)),
        (json!({"limit": 2, "after": first}), shown(&[], false)),
        (json!({"limit": 2, "order": "asc", "after": first}), shown(&[third, fourth], true)),
    ] {
        assert_eq!(listed(&ada, params.clone()).await, expected, "{params}");
    }
    let (status, _) = ada.ask("threads.list", json!({"after": "thr_none"})).await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_threads_than_a_page_holds_are_all_reached() {
    let model = Model::start();
    let server = server(&model.base(), &[("CHATKIT_HISTORY", "on,recent_threads=22")]);
    let ada = user(&server, "ada");
    let mut made = Vec::new();
    for number in 1..=23 {
        made.push(thread_of(&ada.events(&create(&format!("thread {number}"))).await));
    }
    made.reverse();
    let (first, has_more) = listed(&ada, json!({})).await;
    assert_eq!((&*first, has_more), (&made[..20], true));
    let rest = listed(&ada, json!({"after": made[19]})).await;
    assert_eq!(rest, (made[20..22].to_vec(), false), "the oldest of all is not shown");
}
