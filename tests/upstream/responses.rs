//! What do the events of a Responses stream become?

use chatkit_server::upstream::model::{
    Annotation, MessagePart, ModelApi, ModelErrorKind, ModelEvent as E, PartKind, SearchStatus,
    Usage, WebSource,
};
use serde_json::{Value, json};

use crate::support::{events_of, frames};

fn completed() -> Value {
    json!({"type": "response.completed", "response": {"output": [{"big": true}], "usage": {
        "input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 3}, "output_tokens_details": {"reasoning_tokens": 2}}}})
}

fn usage() -> Option<Usage> {
    Some(Usage { input_tokens: 10, cached_tokens: 3, output_tokens: 5, reasoning_tokens: 2 })
}

/// What these events become; the end is added, and must come through.
async fn mapped(events: &[Value]) -> Vec<E> {
    let events = [events, &[completed()]].concat();
    let (mut mapped, error) = events_of(ModelApi::Responses, &frames(&events)).await;
    assert_eq!(error, None);
    assert_eq!(mapped.pop(), Some(E::Completed { usage: usage() }));
    mapped
}

fn text(text: &str, annotations: Vec<Annotation>) -> MessagePart {
    MessagePart { kind: PartKind::Text, text: text.to_owned(), annotations }
}

#[tokio::test]
async fn a_plain_answer_is_added_said_and_done() {
    let id = || "msg_1".into();
    let found = mapped(&[
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "error": null}}),
        json!({"type": "response.in_progress", "response": {"id": "resp_1"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}}),
        json!({"type": "response.content_part.added", "item_id": "msg_1", "content_index": 0, "part": {"type": "output_text", "text": "", "annotations": []}}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "content_index": 0, "delta": "Héllo", "obfuscation": "x"}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "content_index": 0, "delta": " \"there\"\n"}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "content_index": 0, "delta": ""}),
        json!({"type": "response.output_text.done", "item_id": "msg_1", "content_index": 0, "text": "Héllo \"there\"\n"}),
        json!({"type": "response.content_part.done", "item_id": "msg_1", "content_index": 0, "part": {"type": "output_text", "text": "Hello"}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "Héllo \"there\"\n", "annotations": []}]}}),
    ])
    .await;
    let delta =
        |delta: &str| E::TextDelta { item_id: id(), content_index: 0, delta: delta.to_owned() };
    let whole = "Héllo \"there\"\n";
    assert_eq!(
        found,
        [
            E::MessageAdded { item_id: id(), parts: vec![] },
            E::PartAdded {
                item_id: id(),
                content_index: 0,
                kind: PartKind::Text,
                text: String::new()
            },
            delta("Héllo"),
            delta(" \"there\"\n"),
            delta(""),
            E::TextDone { item_id: id(), content_index: 0, text: whole.to_owned() },
            E::MessageDone { item_id: id(), parts: vec![text(whole, vec![])] },
        ]
    );
}

#[tokio::test]
async fn annotations_of_the_kinds_that_can_be_shown_come_through_and_others_do_not() {
    let annotations = [
        json!({"type": "url_citation", "url": "https://e.example/a?b=1&c=2", "title": "A", "start_index": 1, "end_index": 5}),
        json!({"type": "url_citation", "url": "https://e.example/", "start_index": 1, "end_index": 6}),
        json!({"type": "file_citation", "file_id": "file_1", "filename": "a.pdf", "index": 7}),
        json!({"type": "container_file_citation", "container_id": "c", "filename": "b.csv", "start_index": 0, "end_index": 8}),
        json!({"type": "file_path", "file_id": "file_1", "index": 1}),
        json!({"type": "file_citation", "file_id": "file_1", "filename": "", "index": 7}),
        json!({"type": "of_next_year", "url": "https://e.example"}),
        json!(null),
    ];
    let added = |annotation| json!({"type": "response.output_text.annotation.added", "item_id": "msg_1", "content_index": 2, "annotation_index": 9, "annotation": annotation});
    let mut events: Vec<Value> = annotations.iter().map(added).collect();
    events.push(json!({"type": "response.output_item.done", "item": {"id": "msg_1", "type": "message", "content": [
        {"type": "output_text", "text": "t", "annotations": annotations}, {"type": "reasoning_text", "text": "no"}]}}));
    let url = |url: &str, title: &str, index| Annotation::Url {
        url: url.to_owned(),
        title: title.to_owned(),
        index: Some(index),
    };
    let file = |filename: &str, index| Annotation::File {
        filename: filename.to_owned(),
        index: Some(index),
    };
    let kept = vec![
        url("https://e.example/a?b=1&c=2", "A", 5),
        url("https://e.example/", "https://e.example/", 6),
        file("a.pdf", 7),
        file("b.csv", 8),
    ];
    let one = |annotation| E::Annotation { item_id: "msg_1".into(), content_index: 2, annotation };
    let mut expected: Vec<E> = kept.iter().cloned().map(one).collect();
    expected.push(E::MessageDone { item_id: "msg_1".into(), parts: vec![text("t", kept)] });
    assert_eq!(mapped(&events).await, expected);
}

#[tokio::test]
async fn a_refusal_is_a_part_like_text() {
    let found = mapped(&[
        json!({"type": "response.content_part.added", "item_id": "m", "content_index": 0, "part": {"type": "refusal", "refusal": "I"}}),
        json!({"type": "response.content_part.added", "item_id": "m", "content_index": 1, "part": {"type": "reasoning_text", "text": ""}}),
        json!({"type": "response.refusal.delta", "item_id": "m", "content_index": 0, "delta": " can't"}),
        json!({"type": "response.refusal.done", "item_id": "m", "content_index": 0, "refusal": "I can't"}),
        json!({"type": "response.output_item.done", "item": {"id": "m", "type": "message", "content": [{"type": "refusal", "refusal": "I can't"}]}}),
    ])
    .await;
    let part =
        MessagePart { kind: PartKind::Refusal, text: "I can't".to_owned(), annotations: vec![] };
    assert_eq!(
        found,
        [
            E::PartAdded {
                item_id: "m".into(),
                content_index: 0,
                kind: PartKind::Refusal,
                text: "I".to_owned()
            },
            E::RefusalDelta { item_id: "m".into(), content_index: 0, delta: " can't".to_owned() },
            E::MessageDone { item_id: "m".into(), parts: vec![part] },
        ]
    );
}

#[tokio::test]
async fn thoughts_are_the_summaries_of_reasoning_and_not_the_reasoning_itself() {
    let found = mapped(&[
        json!({"type": "response.output_item.added", "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.reasoning_summary_part.added", "item_id": "rs_1", "summary_index": 1, "part": {"type": "summary_text", "text": ""}}),
        json!({"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "summary_index": 1, "delta": "**Plan"}),
        json!({"type": "response.reasoning_summary_text.done", "item_id": "rs_1", "summary_index": 1, "text": "**Plan**"}),
        json!({"type": "response.reasoning_summary_part.done", "item_id": "rs_1", "summary_index": 1, "part": {"type": "summary_text", "text": "**Plan**"}}),
        json!({"type": "response.reasoning_text.delta", "item_id": "rs_1", "content_index": 0, "delta": "raw"}),
        json!({"type": "response.reasoning_text.done", "item_id": "rs_1", "content_index": 0, "text": "raw"}),
        json!({"type": "response.output_item.done", "item": {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "**Plan**"}]}}),
    ])
    .await;
    assert_eq!(
        found,
        [
            E::ReasoningAdded { item_id: "rs_1".into() },
            E::ThoughtDelta {
                item_id: "rs_1".into(),
                summary_index: 1,
                delta: "**Plan".to_owned()
            },
            E::ThoughtDone {
                item_id: "rs_1".into(),
                summary_index: 1,
                text: "**Plan**".to_owned()
            },
        ]
    );
}

#[tokio::test]
async fn a_function_call_comes_once_and_whole() {
    let call = |arguments: &str| json!({"type": "response.output_item.done", "item": {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "get_selection", "arguments": arguments, "status": "completed"}});
    let found = mapped(&[
        json!({"type": "response.output_item.added", "item": {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "get_selection", "arguments": ""}}),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "{\"project\""}),
        json!({"type": "response.function_call_arguments.done", "item_id": "fc_1", "arguments": "{\"project\":\"apollo\"}"}),
        call("{\"project\":\"apollo\",\"n\":null}"),
        call(""),
    ])
    .await;
    let event = |arguments: Value| E::FunctionCall {
        item_id: "fc_1".into(),
        call_id: "call_1".to_owned(),
        name: "get_selection".to_owned(),
        arguments: arguments.as_object().expect("an object").clone(),
    };
    assert_eq!(found, [event(json!({"project": "apollo", "n": null})), event(json!({}))]);
    for odd in ["{\"project\":", "[1]", "\"text\""] {
        let (events, error) = events_of(ModelApi::Responses, &frames(&[call(odd)])).await;
        assert_eq!(events, [], "{odd}");
        assert_eq!(error.expect("an error").kind(), ModelErrorKind::BadFrame, "{odd}");
    }
}

#[tokio::test]
async fn an_image_is_announced_sketched_and_delivered() {
    let found = mapped(&[
        json!({"type": "response.output_item.added", "item": {"id": "ig_1", "type": "image_generation_call", "status": "in_progress"}}),
        json!({"type": "response.image_generation_call.generating", "item_id": "ig_1"}),
        json!({"type": "response.image_generation_call.partial_image", "item_id": "ig_1", "partial_image_index": 1, "partial_image_b64": "aGk="}),
        json!({"type": "response.output_item.done", "item": {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "aGkh"}}),
        json!({"type": "response.output_item.done", "item": {"id": "ig_2", "type": "image_generation_call", "result": "aGkh", "output_format": "webp"}}),
        json!({"type": "response.output_item.done", "item": {"id": "ig_3", "type": "image_generation_call", "status": "failed", "result": null}}),
    ])
    .await;
    let done = |id: &str, format: &str| E::ImageDone {
        item_id: id.into(),
        b64: "aGkh".to_owned(),
        format: format.to_owned(),
    };
    assert_eq!(
        found,
        [
            E::ImageAdded { item_id: "ig_1".into() },
            E::ImagePartial { item_id: "ig_1".into(), index: 1, b64: "aGk=".to_owned() },
            done("ig_1", "png"),
            done("ig_2", "webp"),
        ]
    );
}

#[tokio::test]
async fn searches_tell_what_was_asked_and_what_was_found() {
    let done = |item: Value| json!({"type": "response.output_item.done", "item": item});
    let found = mapped(&[
        json!({"type": "response.output_item.added", "item": {"id": "ws_1", "type": "web_search_call", "status": "in_progress"}}),
        json!({"type": "response.web_search_call.searching", "item_id": "ws_1"}),
        done(json!({"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "old", "queries": ["a", "b"],
            "sources": [{"type": "url", "url": "https://e.example/1"}, {"type": "url", "url": "https://e.example/2", "title": "Two"}, {"type": "odd"}]}})),
        done(json!({"id": "ws_2", "type": "web_search_call", "status": "failed", "action": {"type": "search", "query": "only"}})),
        done(json!({"id": "ws_3", "type": "web_search_call", "status": "completed", "action": {"type": "open_page", "url": "https://e.example/3"}})),
        json!({"type": "response.output_item.added", "item": {"id": "fs_1", "type": "file_search_call", "status": "searching", "queries": [], "results": null}}),
        done(json!({"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["q"],
            "results": [{"filename": "a.pdf", "score": 0.9}, {"filename": "b.pdf"}, {"filename": "a.pdf"}]})),
    ])
    .await;
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let source = |url: &str, title: Option<&str>| WebSource {
        url: url.to_owned(),
        title: title.map(str::to_owned),
    };
    let web = |id: &str, status, queries: &[&str], sources| E::WebSearch {
        item_id: id.into(),
        status,
        queries: strings(queries),
        sources,
    };
    let file = |status, queries: &[&str], files: &[&str]| E::FileSearch {
        item_id: "fs_1".into(),
        status,
        queries: strings(queries),
        files: strings(files),
    };
    let two = vec![source("https://e.example/1", None), source("https://e.example/2", Some("Two"))];
    assert_eq!(
        found,
        [
            web("ws_1", SearchStatus::Running, &[], vec![]),
            web("ws_1", SearchStatus::Completed, &["a", "b"], two),
            web("ws_2", SearchStatus::Failed, &["only"], vec![]),
            web("ws_3", SearchStatus::Completed, &[], vec![source("https://e.example/3", None)]),
            file(SearchStatus::Running, &[], &[]),
            file(SearchStatus::Completed, &["q"], &["a.pdf", "b.pdf"]),
        ]
    );
}

#[tokio::test]
async fn what_is_not_known_is_passed_over() {
    let found = mapped(&[
        json!({"type": "response.queued", "response": {}}),
        json!({"type": "keepalive", "sequence_number": 3}),
        json!({"type": "response.of_next_year", "delta": {"an": "object"}, "item_id": 5}),
        json!({"type": "response.mcp_call_arguments.delta", "delta": {}}),
        json!({"type": "response.code_interpreter_call_code.delta", "delta": "x"}),
        json!({"type": 7}),
        json!({"no": "type", "error": null}),
        json!({"type": "response.output_item.added", "item": {"id": null, "type": "item_of_next_year", "status": 4, "content": "text"}}),
        json!({"type": "response.output_item.done", "item": {"type": "mcp_call", "arguments": "no json", "name": null}}),
        json!({"type": "response.output_text.delta", "item_id": "m", "content_index": 0, "delta": "a", "logprobs": [{"x": 1}], "new": {}}),
    ])
    .await;
    assert_eq!(
        found,
        [E::TextDelta { item_id: "m".into(), content_index: 0, delta: "a".to_owned() }]
    );
}

#[tokio::test]
async fn the_name_of_the_event_stands_in_for_a_missing_type_and_done_is_tolerated() {
    let stream = "event: response.output_text.delta\ndata: {\"item_id\":\"m\",\"delta\":\"a\"}\n\n\
                  data: [DONE]\n\nevent: response.completed\ndata: {}\n\n";
    let (events, error) = events_of(ModelApi::Responses, stream).await;
    assert_eq!(error, None);
    let delta = E::TextDelta { item_id: "m".into(), content_index: 0, delta: "a".to_owned() };
    assert_eq!(events, [delta, E::Completed { usage: None }]);
}

#[tokio::test]
async fn what_follows_the_end_of_the_answer_is_not_read() {
    let events = [completed(), json!({"type": "error", "message": "late"})];
    let (events, error) = events_of(ModelApi::Responses, &frames(&events)).await;
    assert_eq!((events, error), (vec![E::Completed { usage: usage() }], None));
}

#[tokio::test]
async fn an_error_in_the_stream_ends_it_whatever_its_shape() {
    use ModelErrorKind as K;
    let delta = json!({"type": "response.output_text.delta", "item_id": "m", "content_index": 0, "delta": "a"});
    for (event, kind, words) in [
        (
            json!({"type": "error", "code": "server_error", "message": "flat", "param": null}),
            K::Failed,
            "flat",
        ),
        (
            json!({"type": "error", "error": {"type": "t", "code": "server_error", "message": "nested"}}),
            K::Failed,
            "nested",
        ),
        (
            json!({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "slow"}}}),
            K::RateLimited,
            "slow",
        ),
        (json!({"type": "response.failed"}), K::Failed, "reported an error"),
        (
            json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}}),
            K::Incomplete,
            "max_output_tokens",
        ),
        (
            json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "content_filter"}}}),
            K::Incomplete,
            "content_filter",
        ),
        (
            json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
            K::Unavailable,
            "Loading model",
        ),
        (
            json!({"error_type": "InternalServerError", "error_message": "of vllm"}),
            K::Failed,
            "of vllm",
        ),
        (json!(["response.failed"]), K::BadFrame, "invalid type: sequence"),
    ] {
        let stream = frames(&[delta.clone(), event.clone(), completed()]);
        let (events, error) = events_of(ModelApi::Responses, &stream).await;
        assert_eq!(events.len(), 1, "{event}: what came before is kept, and nothing follows");
        let error = error.expect("an error");
        assert_eq!(error.kind(), kind, "{event}");
        assert!(error.to_string().contains(words), "{event}: {error}");
        assert_eq!(error.request_id(), Some("req_1"), "{event}");
    }
}
