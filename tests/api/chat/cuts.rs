//! A client that leaves in the middle of an answer: what becomes of the model, and what it knows of
//! it later.

use super::client::{create, text, types};
use super::setting::{Model, begun, goes_on, read_deltas, said, server, until, user};

/// What the model is told, word for word as by ChatKit's own server.
const CANCELLED: &str = "The user cancelled the stream. Stop responding to the prior request.";

#[tokio::test(flavor = "multi_thread")]
async fn under_cancel_the_model_is_stopped_and_knows_later_what_it_said() {
    let model = Model::start();
    let server = server(&model.base(), &[]);
    let ada = user(&server, "ada");
    let mut stream = ada.stream(&create("delay 30 deltas 2000")).await;
    let events = read_deltas(&mut stream, 10).await;
    assert_eq!(model.stats().await, (1, 1));
    drop(stream);
    until("the model's answer is ended", async || model.stats().await.0 == 0).await;

    let (thread, message) = begun(&events);
    goes_on(&ada, &thread).await;
    let items = ada.items(&thread).await;
    assert_eq!(
        types(&items),
        ["user_message", "assistant_message", "user_message", "assistant_message"]
    );
    assert_eq!(items[0], message);
    let partial = text(&items[1]);
    assert!(partial.starts_with(&said(&events)), "{partial:?}");
    let words = partial.split_whitespace().count();
    assert!((10..500).contains(&words), "it was stopped soon: {words}");

    let input = model.last_input().await;
    let roles: Vec<&str> = input.iter().filter_map(|item| item["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "developer", "user"], "{input:#?}");
    assert_eq!(input[1]["content"][0]["text"], partial);
    let hidden = input[2]["content"][0]["text"].as_str().expect("a text");
    assert!(hidden.contains(CANCELLED), "{hidden}");
    assert!(!items.iter().any(|item| item.to_string().contains(CANCELLED)), "which nobody sees");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_cancel_leaving_before_the_first_word_leaves_the_message() {
    let model = Model::start();
    let server = server(&model.base(), &[]);
    let ada = user(&server, "ada");
    let mut stream = ada.stream(&create("delay 300 deltas 2000")).await;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(stream.next().await.expect("it goes on"));
    }
    until("the model is asked", async || model.stats().await == (1, 1)).await;
    drop(stream);
    until("the model's answer is ended", async || model.stats().await.0 == 0).await;
    let (thread, _) = begun(&events);
    goes_on(&ada, &thread).await;
    assert_eq!(
        types(&ada.items(&thread).await),
        ["user_message", "user_message", "assistant_message"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn under_finish_the_answer_is_there_on_the_next_load() {
    let model = Model::start();
    let server = server(&model.base(), &[("CHATKIT_ON_DISCONNECT", "finish")]);
    let ada = user(&server, "ada");
    let mut stream = ada.stream(&create("delay 10 deltas 80")).await;
    let events = read_deltas(&mut stream, 10).await;
    drop(stream);
    let (thread, _) = begun(&events);
    until("the answer is whole", async || {
        let items = ada.items(&thread).await;
        items.len() == 2 && text(&items[1]).split_whitespace().count() == 80
    })
    .await;
    goes_on(&ada, &thread).await;
    let input = model.last_input().await;
    let roles: Vec<&str> = input.iter().filter_map(|item| item["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user"], "nothing was cancelled: {input:#?}");
}
