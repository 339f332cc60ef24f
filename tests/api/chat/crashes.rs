//! `kill -9` in the middle of a turn, and a restart: what was acknowledged is there, and nobody has
//! to know about the crash.

use serde_json::{Value, json};

use super::client::{Client, add, create, text, thread_of, types};
use super::setting::{
    Model, answer_of, begun, goes_on, postgres, read_deltas, said, server, sqlite, user,
};
use crate::process::TempFolder;

/// An answer of some seconds.
const LONG: &str = "delay 30 deltas 150 please";
const WORDS: usize = 150;
/// After so many of its pieces it was stored once.
const MIDDLE: usize = 120;

/// A thread whose answer was under way when the server was killed.
struct Torn {
    user: &'static str,
    request: Value,
    thread: String,
    /// What was in the thread before.
    earlier: Vec<Value>,
    message: Value,
    heard: String,
}

/// Kills a server on this database in the middle of three answers: two of them begin a thread, one
/// doesn't.
async fn torn(model: &Model, url: &str) -> [Torn; 3] {
    let mut killed = server(&model.base(), &[("DATABASE_URL", url)]);
    let cut = async |name, is_created: bool| {
        let client = user(&killed, name);
        let first = if is_created { Vec::new() } else { client.events(&create("hello")).await };
        let request = if is_created { create(LONG) } else { add(&thread_of(&first), LONG) };
        let earlier = if is_created { Vec::new() } else { client.items(&thread_of(&first)).await };
        let mut stream = client.stream(&request).await;
        let events = read_deltas(&mut stream, MIDDLE).await;
        let message = events[usize::from(is_created)]["item"].clone();
        let thread = message["thread_id"].as_str().expect("an item has a thread").to_owned();
        let torn = Torn { user: name, request, thread, earlier, message, heard: said(&events) };
        (torn, stream)
    };
    let (ada, bob, cat) = tokio::join!(cut("ada", true), cut("bob", true), cut("cat", false));
    killed.signal("KILL");
    killed.ended();
    [ada.0, bob.0, cat.0]
}

/// The message is there, and the answer up to some seconds before the end.
async fn is_kept(client: &Client, torn: &Torn) {
    let items = client.items(&torn.thread).await;
    let (earlier, items) = items.split_at(torn.earlier.len());
    assert_eq!(earlier, torn.earlier);
    assert_eq!(types(items), ["user_message", "assistant_message"], "{items:#?}");
    assert_eq!(items[0], torn.message, "as it was acknowledged");
    let kept = text(&items[1]);
    assert!(torn.heard.starts_with(kept), "{kept:?} of {:?}", torn.heard);
    assert!(
        kept.split_whitespace().count() >= 20,
        "of the first seconds there is nearly everything: {kept:?}"
    );
}

/// The same request again is no second message, and hears a whole answer.
async fn is_taken_up_again(client: &Client, torn: &Torn) {
    let events = client.events(&torn.request).await;
    let is_message = |event: &&Value| event["item"]["type"] == "user_message";
    assert_eq!(events.iter().find(is_message).expect("the message")["item"], torn.message);
    assert_eq!(answer_of(&events).split_whitespace().count(), WORDS, "{events:#?}");
    let items = client.items(&torn.thread).await;
    let new = types(&items[torn.earlier.len()..]);
    assert_eq!(new, ["user_message", "assistant_message"], "{items:#?}");
    let (_, threads) = client.ask("threads.list", json!({})).await;
    assert_eq!(threads["data"].as_array().expect("a page").len(), 1);
}

async fn survives(url: &str) {
    let model = Model::start();
    let torn = torn(&model, url).await;
    let restarted = server(&model.base(), &[("DATABASE_URL", url)]);
    let clients = torn.each_ref().map(|torn| user(&restarted, torn.user));
    for (client, torn) in clients.iter().zip(&torn) {
        is_kept(client, torn).await;
    }
    tokio::join!(
        another_message(&clients[0], &torn[0]),
        is_taken_up_again(&clients[1], &torn[1]),
        is_taken_up_again(&clients[2], &torn[2]),
    );
}

async fn another_message(client: &Client, torn: &Torn) {
    let events = client.events(&add(&torn.thread, "and now")).await;
    assert!(answer_of(&events).contains("You said: \"and now\"."), "{events:#?}");
    assert_eq!(client.items(&torn.thread).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_turn_loses_nothing_that_was_acknowledged_in_a_file() {
    let folder = TempFolder::new("crash");
    let began = std::time::Instant::now();
    survives(&sqlite(&folder)).await;
    assert!(began.elapsed().as_secs() < 25, "nobody waits for a dead process");
}

/// Here the thread waits until the dead process's claim has ended: another replica might be behind
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_turn_loses_nothing_that_was_acknowledged_in_postgres() {
    survives(&postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_after_a_kill_a_thread_in_postgres_answers_again() {
    let (model, url) = (Model::start(), postgres().await);
    let vars = [("DATABASE_URL", url.as_str())];
    let [mut killed, other] = [(); 2].map(|()| server(&model.base(), &vars));
    let mut stream = user(&killed, "ada").stream(&create(LONG)).await;
    let (thread, _) = begun(&read_deltas(&mut stream, MIDDLE).await);
    let killed_at = std::time::Instant::now();
    killed.signal("KILL");
    killed.ended();
    goes_on(&user(&other, "ada"), &thread).await;
    let after = killed_at.elapsed().as_secs_f64();
    assert!(after < 12.0, "10 s, and what an answer takes: {after} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_two_turns_changes_nothing() {
    let (model, folder) = (Model::start(), TempFolder::new("crash-between"));
    let url = sqlite(&folder);
    let vars = [("DATABASE_URL", url.as_str())];
    let mut killed = server(&model.base(), &vars);
    let events = user(&killed, "ada").events(&create("hello")).await;
    let (thread, _) = begun(&events);
    let before = user(&killed, "ada").items(&thread).await;
    killed.signal("KILL");
    killed.ended();
    let restarted = server(&model.base(), &vars);
    let ada = user(&restarted, "ada");
    assert_eq!(ada.items(&thread).await, before);
    goes_on(&ada, &thread).await;
}
