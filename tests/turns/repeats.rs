//! What if the same request comes again? It hears the same turn, until an answer has got through.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::client::{Client, Stream, add, create, text, thread_of, types};
use crate::support::parrot::{Parrot, parrot};
use crate::support::server::{Server, Setup};

async fn thread_count(user: &Client) -> usize {
    let (status, page) = user.ask("threads.list", json!({"limit": 100})).await;
    assert_eq!(status, 200, "{page}");
    page["data"].as_array().expect("a page").len()
}

#[tokio::test]
async fn the_same_request_one_to_six_times_at_once_makes_one_turn_that_all_hear() {
    for times in 1..=6 {
        let parrot = parrot();
        let server = Server::start(Setup { agent: Some(parrot.clone()), ..Setup::default() }).await;
        let ada = server.user("ada");
        let body = create("step by step");
        let all = join_all((0..times).map(|_| async { ada.stream(&body).await }));
        let streams =
            tokio::time::timeout(Duration::from_secs(20), all).await.expect("all are let in");
        parrot.steps.add_permits(100);
        let heard = join_all(streams.into_iter().map(|stream| stream.rest())).await;
        assert!(heard.iter().all(|events| *events == heard[0]), "{times} hear the same");
        assert_eq!((parrot.begun(), thread_count(&ada).await), (1, 1), "{times} at once");
    }
}

#[tokio::test]
async fn the_same_request_of_another_user_is_another_one() {
    let server = Server::start(Setup { agent: Some(parrot()), ..Setup::default() }).await;
    let (ada, bob) = (server.user("ada"), server.user("bob"));
    let (one, other) = tokio::join!(async { ada.events(&create("hi")).await }, async {
        bob.events(&create("hi")).await
    });
    assert_ne!(thread_of(&one), thread_of(&other));
}

#[tokio::test]
async fn a_request_whose_answer_got_through_is_a_new_one_when_it_comes_again() {
    let parrot = parrot();
    let server = Server::start(Setup { agent: Some(parrot.clone()), ..Setup::default() }).await;
    let ada = server.user("ada");
    let (first, second) = (ada.events(&create("hi")).await, ada.events(&create("hi")).await);
    assert_ne!(thread_of(&first), thread_of(&second));
    assert_eq!((parrot.begun(), thread_count(&ada).await), (2, 2));
}

#[tokio::test]
async fn a_request_that_was_cut_is_taken_up_where_it_was_when_it_comes_again() {
    let parrot = parrot();
    let server = Server::start(Setup { agent: Some(parrot.clone()), ..Setup::default() }).await;
    let ada = server.user("ada");
    let mut stream = ada.stream(&create("step by step")).await;
    parrot.steps.add_permits(4);
    for _ in 0..7 {
        stream.next().await.expect("it goes on");
    }
    drop(stream);
    parrot.idle().await;
    parrot.steps.add_permits(100);
    let events = ada.events(&create("step by step")).await;
    let thread = thread_of(&events);
    assert_eq!(types(&events)[1..4], ["thread.item.done", "stream_options", "thread.item.added"]);
    assert_eq!(types(&ada.items(&thread).await), ["user_message", "assistant_message"]);
    assert_eq!(thread_count(&ada).await, 1, "one thread, with one message");
}

#[tokio::test]
async fn under_finish_a_request_that_was_cut_hears_the_turn_that_went_on() {
    let parrot = parrot();
    let vars = vec![("CHATKIT_ON_DISCONNECT", "finish".to_owned())];
    let server =
        Server::start(Setup { agent: Some(parrot.clone()), vars, ..Setup::default() }).await;
    let ada = server.user("ada");
    let stream = ada.stream(&create("step by step")).await;
    parrot.until_begun(1).await;
    leave(stream, &parrot, "finish").await;
    parrot.steps.add_permits(100);
    parrot.idle().await;
    let events = ada.events(&create("step by step")).await;
    assert_eq!(ada.items(&thread_of(&events)).await.len(), 2);
    assert_eq!((parrot.begun(), thread_count(&ada).await), (1, 1), "one turn, heard late");
}

#[tokio::test]
async fn a_request_with_a_key_of_its_own_is_done_once_and_the_key_is_good_for_no_other() {
    let parrot = parrot();
    let server = Server::start(Setup { agent: Some(parrot.clone()), ..Setup::default() }).await;
    let ada = server.user("ada");
    let key = [("Idempotency-Key", "k-1")];
    let first = ada.stream_with(&create("hi"), &key).await.rest().await;
    let second = ada.stream_with(&create("hi"), &key).await.rest().await;
    assert_eq!(first, second, "word for word, though it got through");
    assert_eq!(parrot.begun(), 1);
    let other = ada.post(&create("other"), &key).await;
    assert_eq!(other.status(), 422);
    let body: serde_json::Value = other.json().await.unwrap();
    assert_eq!(body["error"]["code"], "idempotency_key_reused");
    let bob = server.user("bob").stream_with(&create("hi"), &key).await.rest().await;
    assert_ne!(thread_of(&bob), thread_of(&first), "another user's key is another key");
}

/// Leaves a stream whose answer comes step by step, waits until the answer has stopped, or ended,
/// and lets later ones run.
async fn leave(stream: Stream, parrot: &Parrot, policy: &str) {
    drop(stream);
    if policy == "cancel" {
        parrot.idle().await;
    } else {
        // What is written before the service notices counts as heard.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    parrot.steps.add_permits(100);
    parrot.idle().await;
}

#[tokio::test]
async fn a_text_that_was_stopped_is_a_new_message_once_the_conversation_has_gone_on() {
    for policy in ["cancel", "finish"] {
        let parrot = parrot();
        let vars = vec![("CHATKIT_ON_DISCONNECT", policy.to_owned())];
        let server =
            Server::start(Setup { agent: Some(parrot.clone()), vars, ..Setup::default() }).await;
        let ada = server.user("ada");
        let thread = thread_of(&ada.events(&create("hi")).await);
        let mut stream = ada.stream(&add(&thread, "go on step by step")).await;
        parrot.steps.add_permits(4);
        for _ in 0..6 {
            stream.next().await.expect("it goes on");
        }
        leave(stream, &parrot, policy).await;
        ada.events(&add(&thread, "no, something else")).await;
        let before = ada.items(&thread).await;
        ada.events(&add(&thread, "go on step by step")).await;
        let after = ada.items(&thread).await;
        assert_eq!(after[..before.len()], before[..], "{policy}: nothing is lost");
        let added: Vec<_> = after[before.len()..].iter().map(text).collect();
        assert_eq!(added, ["go on step by step", "You said: go on step by step"], "{policy}");
    }
}

#[tokio::test]
async fn a_request_that_is_cut_and_comes_again_at_once_gets_its_answer() {
    for round in 0..20 {
        let parrot = parrot();
        let server = Server::start(Setup { agent: Some(parrot.clone()), ..Setup::default() }).await;
        let ada = server.user("ada");
        let mut stream = ada.stream(&create("step by step")).await;
        parrot.steps.add_permits(4);
        for _ in 0..7 {
            stream.next().await.expect("it goes on");
        }
        drop(stream);
        parrot.idle().await;
        parrot.steps.add_permits(100);
        let events = ada.events(&create("step by step")).await;
        assert!(types(&events).iter().all(|kind| *kind != "error"), "round {round}: {events:#?}");
        assert_eq!(ada.items(&thread_of(&events)).await.len(), 2, "round {round}");
    }
}

#[tokio::test]
async fn an_answer_that_got_through_at_the_second_try_makes_the_third_a_new_request() {
    for policy in ["cancel", "finish"] {
        let parrot = parrot();
        let vars = vec![("CHATKIT_ON_DISCONNECT", policy.to_owned())];
        let server =
            Server::start(Setup { agent: Some(parrot.clone()), vars, ..Setup::default() }).await;
        let ada = server.user("ada");
        let stream = ada.stream(&create("step by step")).await;
        parrot.until_begun(1).await;
        leave(stream, &parrot, policy).await;
        let mut threads = Vec::new();
        for _ in 0..3 {
            threads.push(thread_of(&ada.events(&create("step by step")).await));
        }
        threads.sort();
        threads.dedup();
        assert_eq!(
            (threads.len(), thread_count(&ada).await),
            (3, 3),
            "{policy}: each is a new chat"
        );
    }
}
