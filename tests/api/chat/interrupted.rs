//! A shutdown ends an answer with an event that invites to a retry: the same request again takes
//! the answer up, on whichever replica, and makes neither a second thread nor a second message.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::client::{Client, add, create, text, thread_of, types};
use super::setting::{Model, answer_of, begun, postgres, read_deltas, said, server, sqlite, user};
use crate::process::TempFolder;
use crate::support::server::TestServer;

const LONG: &str = "delay 30 deltas 300 please";
const WORDS: usize = 300;

/// A request that begins a thread, or goes on in one, with a key or without.
struct Asked {
    user: &'static str,
    thread: Option<String>,
    key: Option<&'static str>,
}

impl Asked {
    fn request(&self) -> Value {
        self.thread.as_ref().map_or_else(|| create(LONG), |thread| add(thread, LONG))
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        self.key.iter().map(|key| ("Idempotency-Key", *key)).collect()
    }
}

async fn asked(server: &TestServer) -> Vec<Asked> {
    let mut asked = Vec::new();
    for (name, is_create, key) in [
        ("ada", true, None),
        ("bob", true, Some("k-1")),
        ("cat", false, None),
        ("dan", false, Some("k-2")),
    ] {
        let thread = if is_create {
            None
        } else {
            Some(thread_of(&user(server, name).events(&create("hello")).await))
        };
        asked.push(Asked { user: name, thread, key });
    }
    asked
}

/// Asks, and stops the server in the middle of the answers. Returns what each heard, which ends
/// with an invitation to try again.
async fn interrupt(server: &mut TestServer, asked: &[Asked]) -> Vec<Vec<Value>> {
    let begun = asked.iter().map(|one| {
        let client = user(server, one.user);
        async move {
            let mut stream = client.stream_with(&one.request(), &one.headers()).await;
            let events = read_deltas(&mut stream, 5).await;
            (stream, events)
        }
    });
    let streams = join_all(begun).await;
    server.signal("TERM");
    let mut heard = Vec::new();
    for (stream, mut events) in streams {
        events.extend(stream.rest().await);
        let error = json!({"type": "error", "code": "stream.error", "allow_retry": true});
        assert_eq!(events.last(), Some(&error));
        heard.push(events);
    }
    assert_eq!(server.ended().code(), Some(0));
    heard
}

async fn is_taken_up(client: &Client, one: &Asked, first: &[Value]) {
    let events = client.stream_with(&one.request(), &one.headers()).await.rest().await;
    let message = |events: &[Value]| {
        let is_message = |event: &&Value| event["item"]["type"] == "user_message";
        events.iter().find(is_message).expect("the message")["item"].clone()
    };
    assert_eq!(message(&events), message(first), "it is the same message");
    assert_eq!(answer_of(&events).split_whitespace().count(), WORDS, "{:#?}", events.last());
    let (_, threads) = client.ask("threads.list", json!({})).await;
    assert_eq!(threads["data"].as_array().expect("a page").len(), 1, "no second thread");
    let thread = message(&events)["thread_id"].as_str().expect("an id").to_owned();
    let items = client.items(&thread).await;
    let count = if one.thread.is_some() { 2 } else { 1 };
    assert_eq!(types(&items), ["user_message", "assistant_message"].repeat(count), "{items:#?}");
}

/// `first` is stopped in the middle of answers, then `second`, and `third` brings them to their
/// end.
async fn are_taken_up(model: &Model, url: &str) {
    let vars = [("DATABASE_URL", url), ("SHUTDOWN_GRACE_SECONDS", "3")];
    let mut first = server(&model.base(), &vars);
    let asked = asked(&first).await;
    let heard = interrupt(&mut first, &asked).await;
    let mut second = server(&model.base(), &vars);
    let heard_again = interrupt(&mut second, &asked).await;
    for (one, other) in heard.iter().zip(&heard_again) {
        assert_eq!(one[0], other[0], "what was said first");
    }
    let third = server(&model.base(), &vars);
    let third = &third;
    let taken_up = asked.iter().zip(&heard).map(|(one, first)| async move {
        is_taken_up(&user(third, one.user), one, first).await;
    });
    join_all(taken_up).await;
    // Each got through: from now on the same is a new message.
    let events = user(third, "ada").events(&asked[0].request()).await;
    assert_ne!(begun(&events).0, begun(&heard[0]).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_shutdown_ended_is_taken_up_by_the_same_request_in_a_file() {
    let (model, folder) = (Model::start(), TempFolder::new("interrupted"));
    are_taken_up(&model, &sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_shutdown_ended_is_taken_up_by_the_same_request_in_postgres() {
    let model = Model::start();
    are_taken_up(&model, &postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_an_answer_with_its_last_event_and_stores_what_was_said() {
    let (model, folder) = (Model::start(), TempFolder::new("second-signal"));
    let url = sqlite(&folder);
    let mut stopped = server(&model.base(), &[("DATABASE_URL", &url)]);
    let mut stream = user(&stopped, "ada").stream(&create(LONG)).await;
    let mut events = read_deltas(&mut stream, 5).await;
    let thread = thread_of(&events);
    let began = std::time::Instant::now();
    stopped.signal("TERM");
    stopped.log_line(|line| line["message"] == "shutting down");
    stopped.signal("TERM");
    events.extend(stream.rest().await);
    assert_eq!(events.last().map(|event| &event["type"]), Some(&json!("error")), "{events:#?}");
    stopped.ended();
    assert!(began.elapsed().as_secs() < 4, "neither the answer nor the grace is waited for");
    let restarted = server(&model.base(), &[("DATABASE_URL", &url)]);
    let items = user(&restarted, "ada").items(&thread).await;
    assert_eq!(text(&items[1]), said(&events));
}
