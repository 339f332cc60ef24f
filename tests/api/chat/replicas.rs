//! Two replicas on one PostgreSQL are one service.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::client::{add, create, text, thread_of, types};
use super::setting::{Model, answer_of, begun, goes_on, postgres, read_deltas, said, server, user};
use crate::support::server::TestServer;

async fn two(model: &Model, vars: &[(&str, &str)]) -> [TestServer; 2] {
    let url = postgres().await;
    let vars = [&[("DATABASE_URL", url.as_str())], vars].concat();
    // They start, and migrate, at once.
    std::thread::scope(|scope| {
        let starting = [0, 1].map(|_| scope.spawn(|| server(&model.base(), &vars)));
        starting.map(|started| started.join().expect("it starts"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_at_once_on_both_makes_one_turn_and_everybody_hears_it() {
    let model = Model::start();
    let replicas = two(&model, &[]).await;
    let request = create("delay 10 deltas 60");
    let all = (0..6).map(|number| {
        let (client, request) = (user(&replicas[number % 2], "ada"), &request);
        async move { client.events(request).await }
    });
    let heard = join_all(all).await;
    let (thread, message) = begun(&heard[0]);
    let answer = answer_of(&heard[0]);
    for events in &heard {
        assert_eq!(
            (begun(events), answer_of(events)),
            ((thread.clone(), message.clone()), answer.clone())
        );
    }
    assert_eq!(model.stats().await, (0, 1), "the model was asked once");
    let items = user(&replicas[1], "ada").items(&thread).await;
    assert_eq!(types(&items), ["user_message", "assistant_message"]);

    let (events, again) = (&heard[0], user(&replicas[0], "ada").events(&request).await);
    assert_ne!(
        thread_of(&again),
        thread_of(events),
        "it got through: from now on it is a new message"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_in_a_thread_at_once_on_both_is_one_message() {
    let model = Model::start();
    let replicas = two(&model, &[]).await;
    let ada = user(&replicas[0], "ada");
    let thread = thread_of(&ada.events(&create("hello")).await);
    let request = add(&thread, "delay 10 deltas 60");
    let all = (0..6).map(|number| {
        let (client, request) = (user(&replicas[number % 2], "ada"), &request);
        async move { client.events(request).await }
    });
    let heard = join_all(all).await;
    for events in &heard {
        assert_eq!((&events[0], answer_of(events)), (&heard[0][0], answer_of(&heard[0])));
    }
    assert_eq!(model.stats().await, (0, 2), "the model was asked once more");
    assert_eq!(types(&ada.items(&thread).await), ["user_message", "assistant_message"].repeat(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_messages_in_one_thread_come_one_after_another() {
    let model = Model::start();
    let replicas = two(&model, &[]).await;
    let [ada, also_ada] = replicas.each_ref().map(|replica| user(replica, "ada"));
    let thread = thread_of(&ada.events(&create("hello")).await);
    let (one, other) =
        (add(&thread, "one delay 10 deltas 60"), add(&thread, "two delay 10 deltas 60"));
    let (one, other) = tokio::join!(ada.events(&one), also_ada.events(&other));
    let items = ada.items(&thread).await;
    let alternate = ["user_message", "assistant_message"].repeat(3);
    assert_eq!(types(&items), alternate);
    let mut answers = [answer_of(&one), answer_of(&other)];
    let mut kept = [text(&items[3]).to_owned(), text(&items[5]).to_owned()];
    answers.sort();
    kept.sort();
    assert_eq!(answers, kept, "each heard its own");
    let input = model.last_input().await;
    assert_eq!(input.len(), 5, "the later one knows the earlier one and its answer: {input:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_one_is_read_and_changed_on_the_other() {
    let model = Model::start();
    let replicas = two(&model, &[]).await;
    let [ada, also_ada] = replicas.each_ref().map(|replica| user(replica, "ada"));
    let thread = thread_of(&ada.events(&create("hello")).await);
    let get = || json!({"thread_id": thread});
    let seen = ada.ask("threads.get_by_id", get()).await;
    assert_eq!((seen.0, seen.1["items"]["data"].as_array().map(Vec::len)), (200, Some(2)));
    assert_eq!(also_ada.ask("threads.get_by_id", get()).await, seen);
    goes_on(&also_ada, &thread).await;
    assert_eq!(ada.items(&thread).await.len(), 4);
    assert_eq!(user(&replicas[1], "eve").ask("threads.get_by_id", get()).await.0, 404);
    assert_eq!(also_ada.ask("threads.delete", get()).await, (200, json!({})));
    assert_eq!(ada.ask("threads.get_by_id", get()).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_could_not_finish_before_its_end_the_other_goes_on_with() {
    let model = Model::start();
    let [mut one, other] = two(&model, &[("SHUTDOWN_GRACE_SECONDS", "2")]).await;
    let mut stream = user(&one, "ada").stream(&create("delay 50 deltas 200")).await;
    let mut events = read_deltas(&mut stream, 10).await;
    one.signal("TERM");
    events.extend(stream.rest().await);
    let error = json!({"type": "error", "code": "stream.error", "allow_retry": true});
    assert_eq!(events.last(), Some(&error), "it invites to a retry");
    assert_eq!(one.ended().code(), Some(0));

    let ada = user(&other, "ada");
    let (thread, _) = begun(&events);
    let items = ada.items(&thread).await;
    assert_eq!(text(&items[1]), said(&events), "what was said so far is kept");
    goes_on(&ada, &thread).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_answer_broke_off_on_one_is_answered_anew_on_the_other() {
    let model = Model::start();
    let [one, other] = two(&model, &[]).await;
    let request = create("delay 20 deltas 100");
    let mut stream = user(&one, "ada").stream(&request).await;
    let first = begun(&read_deltas(&mut stream, 10).await);
    drop(stream);
    let ada = user(&other, "ada");
    let events = ada.events(&request).await;
    assert_eq!(begun(&events), first, "no second message");
    assert_eq!(answer_of(&events).split_whitespace().count(), 100);
    let is_visible = |item: &&Value| item["type"] != "user_message";
    let items = ada.items(&first.0).await;
    assert_eq!(items.iter().filter(is_visible).count(), 1, "{items:#?}");
}
