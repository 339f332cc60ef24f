//! What do the chunks of a chat completion become?

use chatkit_server::upstream::model::{
    MessagePart, ModelApi, ModelErrorKind, ModelEvent as E, PartKind, Usage,
};
use serde_json::{Value, json};

use crate::support::{chunks, events_of};

fn chunk(delta: &Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn usage() -> Value {
    json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 2}}, "timings": {}})
}

async fn events(given: &[Value]) -> (Vec<E>, Option<ModelErrorKind>) {
    let (events, error) = events_of(ModelApi::ChatCompletions, &chunks(given)).await;
    (events, error.map(|error| error.kind()))
}

fn added() -> [E; 2] {
    let item_id = || "msg_0".into();
    let text = String::new();
    [
        E::MessageAdded { item_id: item_id(), parts: vec![] },
        E::PartAdded { item_id: item_id(), content_index: 0, kind: PartKind::Text, text },
    ]
}

fn delta(delta: &str) -> E {
    E::TextDelta { item_id: "msg_0".into(), content_index: 0, delta: delta.to_owned() }
}

fn part(kind: PartKind, text: &str) -> MessagePart {
    MessagePart { kind, text: text.to_owned(), annotations: vec![] }
}

fn done(text: &str) -> [E; 2] {
    [
        E::TextDone { item_id: "msg_0".into(), content_index: 0, text: text.to_owned() },
        E::MessageDone { item_id: "msg_0".into(), parts: vec![part(PartKind::Text, text)] },
    ]
}

const END: E = E::Completed { usage: None };

#[tokio::test]
async fn a_plain_answer_is_added_said_and_done() {
    let given = [
        chunk(&json!({"role": "assistant", "content": ""})),
        chunk(&json!({"content": "Hé"})),
        chunk(&json!({"content": "llo\n"})),
        chunk(&json!({"content": null})),
        finish("stop"),
        usage(),
    ];
    let counted =
        Usage { input_tokens: 10, cached_tokens: 3, output_tokens: 5, reasoning_tokens: 2 };
    let end = E::Completed { usage: Some(counted) };
    let expected =
        [&added()[..], &[delta("Hé"), delta("llo\n")], &done("Héllo\n"), &[end]].concat();
    assert_eq!(events(&given).await, (expected.clone(), None));
    let with_done = chunks(&given) + "data: [DONE]\n\n";
    assert_eq!(events_of(ModelApi::ChatCompletions, &with_done).await.0, expected);
}

#[tokio::test]
async fn the_word_done_ends_an_answer_that_nobody_gave_a_reason_to_end() {
    let given = chunks(&[chunk(&json!({"content": "a"})), usage()]);
    let (found, error) =
        events_of(ModelApi::ChatCompletions, &(given.clone() + "data: [DONE]\n\n")).await;
    let counted =
        Usage { input_tokens: 10, cached_tokens: 3, output_tokens: 5, reasoning_tokens: 2 };
    let end = E::Completed { usage: Some(counted) };
    assert_eq!((found, error), ([&added()[..], &[delta("a")], &done("a"), &[end]].concat(), None));
    let (_, error) = events_of(ModelApi::ChatCompletions, &given).await;
    assert_eq!(
        error.map(|error| error.kind()),
        Some(ModelErrorKind::Cut),
        "and without it the answer was cut"
    );
}

#[tokio::test]
async fn a_thought_that_comes_after_the_answer_began_is_shown() {
    let given = [
        chunk(&json!({"content": "a"})),
        chunk(&json!({"reasoning_content": "hm"})),
        chunk(&json!({"content": "b"})),
        finish("stop"),
    ];
    let id = || "rs_0".into();
    let thought = [
        E::ReasoningAdded { item_id: id() },
        E::ThoughtDelta { item_id: id(), summary_index: 0, delta: "hm".to_owned() },
        E::ThoughtDone { item_id: id(), summary_index: 0, text: "hm".to_owned() },
    ];
    let expected =
        [&added()[..], &[delta("a")], &thought[..], &[delta("b")], &done("ab"), &[END]].concat();
    assert_eq!(events(&given).await, (expected, None));
}

#[tokio::test]
async fn usage_and_the_word_done_may_be_missing() {
    let given = [chunk(&json!({"content": "a"})), finish("stop")];
    let expected = [&added()[..], &[delta("a")], &done("a"), &[END]].concat();
    assert_eq!(events(&given).await, (expected.clone(), None));
    let (found, error) =
        events_of(ModelApi::ChatCompletions, &(chunks(&given) + "data: [DONE]")).await;
    assert_eq!((found, error), (expected, None));
}

#[tokio::test]
async fn reasoning_content_is_one_thought_before_the_answer_and_raw_reasoning_is_none() {
    let thought = |delta: &str| E::ThoughtDelta {
        item_id: "rs_0".into(),
        summary_index: 0,
        delta: delta.to_owned(),
    };
    let whole =
        E::ThoughtDone { item_id: "rs_0".into(), summary_index: 0, text: "I think".to_owned() };
    for (field, thoughts) in
        [("reasoning_content", &[thought("I "), thought("think"), whole][..]), ("reasoning", &[])]
    {
        let given = [
            chunk(&json!({"content": "", field: "I "})),
            chunk(&json!({field: "think"})),
            chunk(&json!({"content": "a"})),
            chunk(&json!({field: "too late"})),
            finish("stop"),
        ];
        let begun = [E::ReasoningAdded { item_id: "rs_0".into() }];
        let expected = [&begun[..], thoughts, &added(), &[delta("a")], &done("a"), &[END]].concat();
        assert_eq!(events(&given).await, (expected, None), "{field}");
    }
}

#[tokio::test]
async fn function_calls_come_whole_after_the_words_before_them() {
    let given = [
        chunk(&json!({"content": "Let me see."})),
        chunk(
            &json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":"}}]}),
        ),
        chunk(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]})),
        chunk(&json!({"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "g"}}]})),
        finish("tool_calls"),
    ];
    let call = |item: &str, id: &str, name: &str, arguments: Value| E::FunctionCall {
        item_id: item.into(),
        call_id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.as_object().expect("an object").clone(),
    };
    let calls =
        [call("fc_0", "call_1", "f", json!({"x": 1})), call("fc_1", "call_2", "g", json!({}))];
    let words = "Let me see.";
    let expected = [&added()[..], &[delta(words)], &done(words), &calls, &[END]].concat();
    assert_eq!(events(&given).await, (expected, None));
}

#[tokio::test]
async fn a_call_cut_short_by_the_limit_of_tokens_is_an_error() {
    let call = json!({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{\"x\":"}}]});
    let (found, error) = events(&[chunk(&call), finish("length")]).await;
    assert_eq!((found, error), (vec![], Some(ModelErrorKind::BadFrame)));
}

#[tokio::test]
async fn a_refusal_is_a_part_of_its_own() {
    let given =
        [chunk(&json!({"refusal": "I "})), chunk(&json!({"refusal": "can't"})), finish("stop")];
    let id = || "msg_0".into();
    let piece =
        |delta: &str| E::RefusalDelta { item_id: id(), content_index: 0, delta: delta.to_owned() };
    let expected = vec![
        E::MessageAdded { item_id: id(), parts: vec![] },
        E::PartAdded {
            item_id: id(),
            content_index: 0,
            kind: PartKind::Refusal,
            text: String::new(),
        },
        piece("I "),
        piece("can't"),
        E::MessageDone { item_id: id(), parts: vec![part(PartKind::Refusal, "I can't")] },
        END,
    ];
    assert_eq!(events(&given).await, (expected, None));
}

#[tokio::test]
async fn a_limit_or_a_filter_is_an_ordinary_end_when_something_was_said() {
    for reason in ["length", "content_filter"] {
        let (found, error) = events(&[chunk(&json!({"content": "a"})), finish(reason)]).await;
        let expected = [&added()[..], &[delta("a")], &done("a"), &[END]].concat();
        assert_eq!((found, error), (expected, None), "{reason}");
    }
}

#[tokio::test]
async fn a_filter_without_words_is_a_refusal_and_a_limit_without_words_an_error() {
    let (found, error) = events(&[finish("content_filter")]).await;
    assert_eq!(error, None);
    let words = "The answer was withheld by the model's content filter.";
    let refused =
        E::MessageDone { item_id: "msg_0".into(), parts: vec![part(PartKind::Refusal, words)] };
    assert_eq!(found[found.len() - 2..], [refused, END]);
    let (found, error) = events(&[chunk(&json!({"reasoning": "hm"})), finish("length")]).await;
    assert_eq!(found, [E::ReasoningAdded { item_id: "rs_0".into() }]);
    assert_eq!(error, Some(ModelErrorKind::Incomplete));
}

#[tokio::test]
async fn other_answers_and_unknown_fields_are_passed_over() {
    let given = [
        json!({"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}]}),
        json!({"choices": null, "usage": null, "error": null}),
        json!({"choices": [{"delta": null, "finish_reason": null, "logprobs": {}}], "provider": "x"}),
        json!({"choices": [{"delta": {"content": [{"type": "thinking"}], "tool_calls": null}}]}),
        chunk(&json!({"content": "a", "audio": {}})),
        finish("stop"),
    ];
    let expected = [&added()[..], &[delta("a")], &done("a"), &[END]].concat();
    assert_eq!(events(&given).await, (expected, None));
}

#[tokio::test]
async fn an_empty_answer_is_an_end_and_nothing_else() {
    assert_eq!(
        events(&[chunk(&json!({"role": "assistant", "content": ""})), finish("stop")]).await,
        (vec![END], None)
    );
}

#[tokio::test]
async fn an_error_in_a_chunk_ends_the_answer() {
    use ModelErrorKind as K;
    for (event, kind) in [
        (json!({"error": {"message": "m", "type": "server_error", "code": null}}), K::Failed),
        (
            json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
            K::Unavailable,
        ),
        (
            json!({"error": {"code": 400, "type": "exceed_context_size_error", "message": "m", "n_ctx": 1}}),
            K::ContextTooLong,
        ),
        (json!({"error": "words"}), K::Failed),
        (json!({"error_type": "InternalServerError", "error_message": "m"}), K::Failed),
    ] {
        let (found, error) =
            events(&[chunk(&json!({"content": "a"})), event.clone(), finish("stop")]).await;
        assert_eq!(found, [&added()[..], &[delta("a")]].concat(), "{event}");
        assert_eq!(error, Some(kind), "{event}");
    }
}
