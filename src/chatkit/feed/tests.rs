//! A feed: who hears what, and why nobody does any more.

use super::*;
use crate::protocol::{StatusIndicator, Task, TaskKind};

fn delta(text: &str) -> Event {
    let update = ItemUpdate::TextDelta { content_index: 0, delta: text.to_owned() };
    Event::ItemUpdated { item_id: "msg_1".into(), update }
}

fn task(content: &str) -> Event {
    let kind = TaskKind::Thought { title: None, content: content.to_owned() };
    let task = Task { status_indicator: StatusIndicator::None, kind };
    Event::ItemUpdated {
        item_id: "wf_1".into(),
        update: ItemUpdate::TaskUpdated { task_index: 0, task },
    }
}

async fn all(mut listener: Listener) -> String {
    let mut heard = String::new();
    while let Some(frames) = listener.next().await {
        heard.push_str(std::str::from_utf8(&frames).unwrap());
    }
    heard
}

#[tokio::test]
async fn a_listener_hears_every_piece_as_it_was_said_whenever_it_comes() {
    let feed = Arc::new(Feed::default());
    let early = feed.listen();
    let events = [delta("Hel\"lo"), delta("é\u{2028}"), task("a"), delta("x"), delta("")];
    for event in &events {
        feed.say(event);
    }
    feed.end();
    let said: String = events
        .iter()
        .map(|event| format!("data: {}\n\n", serde_json::to_string(event).unwrap()))
        .collect();
    assert_eq!(all(early).await, said);
    assert_eq!(all(feed.listen()).await, said, "one that comes at the end hears the same");
    assert!(feed.has_got_through(), "somebody heard the end");
}

#[tokio::test]
async fn states_are_let_go_once_everybody_has_read_them_and_a_later_one_came() {
    let feed = Arc::new(Feed::default());
    let (mut quick, slow) = (feed.listen(), feed.listen());
    feed.say(&task("one"));
    let _ = quick.next().await;
    feed.say(&task("two"));
    assert!(
        matches!(feed.lock().entries[0], Entry::State { .. }),
        "one listener has not read it yet"
    );
    let _ = quick.next().await;
    drop(slow);
    feed.say(&task("three"));
    assert!(
        matches!(feed.lock().entries[..2], [Entry::Gone, Entry::Gone]),
        "the only listener has read them"
    );
    feed.end();
    let heard = all(feed.listen()).await;
    assert_eq!(heard.as_bytes(), frame(&task("three")));
}

#[tokio::test]
async fn a_feed_is_abandoned_when_the_last_listener_goes() {
    let feed = Arc::new(Feed::default());
    let (one, two) = (feed.listen(), feed.listen());
    drop(one);
    let abandoned = tokio::time::timeout(Duration::from_millis(20), feed.abandoned()).await;
    assert!(abandoned.is_err(), "one still listens");
    feed.say(&delta("unread"));
    drop(two);
    assert_eq!(feed.abandoned().await, Departure::Left, "it had no time to read");
    assert!(!feed.has_got_through());
}

#[tokio::test]
async fn a_listener_that_takes_a_little_at_last_and_is_far_behind_has_not_left_by_its_will() {
    let feed = Arc::new(Feed::default());
    let mut listener = feed.listen();
    for _ in 0..3 {
        feed.say(&task(&"x".repeat(BATCH)));
    }
    feed.lock().readers[0].behind_since -= STALLED;
    let _ = listener.next().await;
    drop(listener);
    assert_eq!(feed.abandoned().await, Departure::Stalled);
}

#[tokio::test]
async fn a_listener_that_caught_up_left_by_its_will() {
    let feed = Arc::new(Feed::default());
    let mut listener = feed.listen();
    feed.say(&delta("one"));
    feed.lock().readers[0].behind_since -= STALLED;
    let _ = listener.next().await;
    feed.say(&delta("two"));
    drop(listener);
    assert_eq!(feed.abandoned().await, Departure::Left);
}

#[tokio::test]
async fn a_listener_that_did_not_read_for_long_has_not_left_by_its_will() {
    let feed = Arc::new(Feed::default());
    let listener = feed.listen();
    feed.say(&delta("unread"));
    feed.lock().readers[0].behind_since -= STALLED;
    drop(listener);
    assert_eq!(feed.abandoned().await, Departure::Stalled);
}

#[tokio::test]
async fn who_lags_behind_a_thought_that_grows_skips_to_its_last_state_and_holds_up_nobodys_memory()
{
    let feed = Arc::new(Feed::default());
    let (mut quick, slow) = (feed.listen(), feed.listen());
    let (mut said, mut heard, mut thought) = (String::new(), String::new(), String::new());
    feed.say(&delta("before"));
    for _ in 0..2000 {
        thought.push_str("a few words ");
        feed.say(&task(&thought));
        let frames = quick.next().await.unwrap();
        heard.push_str(std::str::from_utf8(&frames).unwrap());
        said = std::str::from_utf8(&frame(&task(&thought))).unwrap().to_owned();
    }
    assert!(feed.size() < 1024 * 1024, "{} bytes", feed.size());
    assert_eq!(
        heard.matches("workflow.task.updated").count(),
        2000,
        "who keeps up hears each state"
    );
    feed.say(&delta("after"));
    feed.end();
    for late in [slow, feed.listen()] {
        let heard = all(late).await;
        assert!(heard.contains("before") && heard.contains(&said) && heard.contains("after"));
        assert!(heard.len() < 1024 * 1024, "{} bytes", heard.len());
    }
}

#[tokio::test]
async fn who_is_a_few_states_behind_hears_each_of_them() {
    let feed = Arc::new(Feed::default());
    let (mut quick, few_behind) = (feed.listen(), feed.listen());
    let mut said = String::new();
    for number in 0..100 {
        let event = task(&format!("state {number}"));
        said.push_str(std::str::from_utf8(&frame(&event)).unwrap());
        feed.say(&event);
        let _ = quick.next().await;
    }
    feed.end();
    assert_eq!(all(few_behind).await, said);
}
