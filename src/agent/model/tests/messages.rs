//! Does what a model says come through, with its sources, and does a refusal?

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

#[test]
fn plain_text_is_passed_on_piece_by_piece() {
    let fed = Fed::new();
    let events = fed.all(vec![
        message_added("m"),
        part_added("m", 0, PartKind::Text),
        delta("m", 0, "Hello"),
        delta("m", 0, " there."),
        text_done("m", 0, "Hello there."),
        message_done("m", vec![text_part("Hello there.", Vec::new())]),
        COMPLETED,
    ]);
    let update = |update: Value| json!({"item": "msg0", "update": update});
    let part = |kind: &str| format!("assistant_message.content_part.{kind}");
    assert_eq!(
        named(&events),
        [
            json!({"added": {"id": "msg0", "type": "assistant_message", "content": []}}),
            update(json!({"type": part("added"), "content_index": 0, "content": output_text("")})),
            update(json!({"type": part("text_delta"), "content_index": 0, "delta": "Hello"})),
            update(json!({"type": part("text_delta"), "content_index": 0, "delta": " there."})),
            update(
                json!({"type": part("done"), "content_index": 0, "content": output_text("Hello there.")})
            ),
            json!({"done": {"id": "msg0", "type": "assistant_message", "content": [output_text("Hello there.")]}}),
        ]
    );
}

#[test]
fn a_message_is_dated_anew_when_it_is_done() {
    let fed = Fed::new();
    let (mut answer, mut out) = (fed.answer(Vec::new()), Vec::new());
    answer.apply(message_added("m"), &mut out).unwrap();
    fed.clock.advance(Duration::from_secs(2));
    answer.apply(message_done("m", vec![text_part("x", Vec::new())]), &mut out).unwrap();
    let [AgentEvent::ItemAdded(added), AgentEvent::ItemDone(done)] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(added.id, done.id);
    assert_eq!(added.created_at.until(done.created_at), Duration::from_secs(2));
}

#[test]
fn sources_are_counted_in_each_part_and_stand_in_the_item_alone() {
    let url =
        Annotation::Url { url: "https://x/a".to_owned(), title: "A".to_owned(), index: Some(5) };
    let file = Annotation::File { filename: "a.pdf".to_owned(), index: None };
    let fed = Fed::new();
    let note = |content_index, annotation: &Annotation| ModelEvent::Annotation {
        item_id: id("m"),
        content_index,
        annotation: annotation.clone(),
    };
    let events = named(&fed.all(vec![
        message_added("m"),
        part_added("m", 0, PartKind::Text),
        delta("m", 0, "a"),
        note(0, &url),
        note(0, &file),
        text_done("m", 0, "a"),
        part_added("m", 1, PartKind::Text),
        note(1, &url),
        message_done("m", vec![text_part("a", vec![url, file]), text_part("", Vec::new())]),
        COMPLETED,
    ]));
    let shown_url = json!({"type": "annotation", "index": 5,
        "source": {"title": "A", "type": "url", "url": "https://x/a"}});
    let shown_file = json!({"type": "annotation",
        "source": {"title": "a.pdf", "type": "file", "filename": "a.pdf"}});
    let added = |content_index: usize, annotation_index: usize, annotation: &Value| {
        json!({"item": "msg0", "update": {"type": "assistant_message.content_part.annotation_added",
            "content_index": content_index, "annotation_index": annotation_index, "annotation": annotation}})
    };
    assert_eq!(events[3], added(0, 0, &shown_url));
    assert_eq!(events[4], added(0, 1, &shown_file));
    assert_eq!(
        events[5]["update"]["content"],
        output_text("a"),
        "a part that is done has no annotations"
    );
    assert_eq!(events[7], added(1, 0, &shown_url));
    let content = &events[8]["done"]["content"];
    assert_eq!(content[0]["annotations"], json!([shown_url, shown_file]));
}

#[test]
fn a_refusal_is_shown_and_is_no_error() {
    let refusal = MessagePart {
        kind: PartKind::Refusal,
        text: "I can't.".to_owned(),
        annotations: Vec::new(),
    };
    let fed = Fed::new();
    let refused = ModelEvent::RefusalDelta {
        item_id: id("m"),
        content_index: 0,
        delta: "I can't.".to_owned(),
    };
    let events = vec![message_added("m"), part_added("m", 0, PartKind::Refusal), refused];
    let done = json!({"done": {"id": "msg0", "type": "assistant_message", "content": [output_text("I can't.")]}});
    for end in [vec![refusal], Vec::new()] {
        let mut events = events.clone();
        events.extend([message_done("m", end), COMPLETED]);
        let events = named(&fed.all(events));
        assert_eq!(events.len(), 3, "it grows unseen: {events:?}");
        assert_eq!(events[2], done);
    }
}

#[test]
fn what_a_server_forgets_to_announce_or_to_end_is_begun_and_ended() {
    let fed = Fed::new();
    let events =
        named(&fed.all(vec![reasoning("r"), delta("m", 0, "Hi"), delta("m", 0, "!"), COMPLETED]));
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| {
            event["update"]["type"]
                .as_str()
                .unwrap_or(event.as_object().unwrap().keys().next().unwrap())
        })
        .collect();
    let part = "assistant_message.content_part.";
    let delta = format!("{part}text_delta");
    assert_eq!(kinds, ["added", "done", "added", &format!("{part}added"), &delta, &delta, "done"]);
    assert_eq!(events[6]["done"]["content"], json!([output_text("Hi!")]));
    let whole =
        named(&fed.all(vec![reasoning("r"), message_done("m", vec![text_part("x", Vec::new())])]));
    assert_eq!(whole.len(), 3, "{whole:?}");
    assert_eq!(whole[2]["done"]["content"], json!([output_text("x")]));
}

#[test]
fn an_answer_without_anything_says_nothing() {
    assert!(Fed::new().all(vec![COMPLETED]).is_empty());
}
