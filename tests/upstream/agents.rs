//! What if the server behind the Responses API is an agent that runs its tools itself? Its stream
//! holds several responses, calls with their outputs, and kinds of its own; it is one answer, which
//! ends with the stream.

use std::time::Instant;

use chatkit_server::upstream::model::{
    FunctionTool, ModelApi, ModelErrorKind, ModelEvent as E, ModelRequest, ModelSettings, Usage,
};
use serde_json::{Value, json};

use crate::server::{ModelServer, Reply, Step};
use crate::support::{
    PATIENCE, ask, client, client_with, endpoint, events_of, frames, hello, read,
};

fn completed(input: u64, output: u64) -> Value {
    json!({"type": "response.completed", "response": {"usage": {"input_tokens": input, "output_tokens": output}}})
}

fn message(id: &str, text: &str) -> Value {
    json!({"type": "response.output_item.done", "item": {"id": id, "type": "message",
        "content": [{"type": "output_text", "text": text, "annotations": []}]}})
}

fn delta(id: &str, text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": id, "content_index": 0, "delta": text})
}

fn call(id: &str, name: &str) -> Value {
    json!({"type": "response.output_item.done", "item": {"id": "fc", "type": "function_call", "call_id": id,
        "name": name, "arguments": "{}"}})
}

fn output(id: &str) -> Value {
    json!({"type": "response.output_item.done", "item": {"id": "fco", "type": "function_call_output", "call_id": id,
        "output": "42"}})
}

fn created() -> Value {
    json!({"type": "response.created", "response": {"id": "resp_2"}})
}

/// The events in short.
fn short(events: &[E]) -> Vec<String> {
    let word = |event: &E| match event {
        E::FunctionCall { call_id, name, .. } => format!("call {call_id} {name}"),
        E::FunctionOutput { call_id } => format!("output {call_id}"),
        E::WentOn => "went on".to_owned(),
        E::TextDelta { delta, .. } => format!("delta {delta}"),
        E::MessageDone { parts, .. } => format!("message {}", parts[0].text),
        E::Completed { usage } => {
            let usage = usage.unwrap_or_default();
            format!("completed {} {}", usage.input_tokens, usage.output_tokens)
        }
        other => format!("{other:?}"),
    };
    events.iter().map(word).collect()
}

#[tokio::test]
async fn several_responses_in_one_stream_are_one_answer_and_their_usage_is_the_sum() {
    let stream = [
        delta("m", "Let me look."),
        message("m", "Let me look."),
        call("c_1", "get_order"),
        completed(10, 5),
        output("c_1"),
        created(),
        call("c_2", "get_price"),
        completed(20, 6),
        created(),
        message("m", "It costs 5."),
        completed(30, 7),
    ];
    let (events, error) = events_of(ModelApi::Responses, &frames(&stream)).await;
    assert_eq!(error, None);
    assert_eq!(
        short(&events),
        [
            "delta Let me look.",
            "message Let me look.",
            "call c_1 get_order",
            "output c_1",
            "went on",
            "call c_2 get_price",
            "went on",
            "message It costs 5.",
            "completed 60 18",
        ]
    );
}

#[tokio::test]
async fn done_and_kinds_with_a_prefix_are_passed_over_wherever_they_stand() {
    let own = |kind: &str| json!({"type": "response.output_item.done", "item": {"id": "x", "type": kind, "content": 5}});
    let stream = [
        frames(&[json!({"type": "acme:progress", "delta": "x"}), own("acme:thing")]),
        "data: [DONE]\n\n".to_owned(),
        frames(&[message("m", "one"), completed(1, 1)]),
        "data: [DONE]\n\n".to_owned(),
        frames(&[
            json!({"type": "acme:progress"}),
            own("acme:thing"),
            message("n", "two"),
            completed(1, 1),
        ]),
        "data: [DONE]\n\n".to_owned(),
    ];
    let (events, error) = events_of(ModelApi::Responses, &stream.concat()).await;
    assert_eq!(error, None);
    assert_eq!(short(&events), ["message one", "went on", "message two", "completed 2 2"]);
}

#[tokio::test]
async fn an_output_that_is_announced_counts_once_it_is_not_in_progress() {
    let added = |status: &str| {
        json!({"type": "response.output_item.added", "item": {"type": "function_call_output", "call_id": "c",
            "status": status}})
    };
    let stream = [call("c", "t"), added("in_progress"), added("completed"), completed(1, 1)];
    let (events, error) = events_of(ModelApi::Responses, &frames(&stream)).await;
    assert_eq!(
        (short(&events), error),
        (vec!["call c t".into(), "output c".into(), "completed 1 1".into()], None)
    );
}

#[tokio::test]
async fn the_end_of_a_stream_ends_an_answer_whose_items_are_whole() {
    let (events, error) =
        events_of(ModelApi::Responses, &frames(&[delta("m", "Hi"), message("m", "Hi")])).await;
    assert_eq!(
        (short(&events), error),
        (vec!["delta Hi".into(), "message Hi".into(), "completed 0 0".into()], None)
    );

    for stream in [
        vec![delta("m", "Hi")],
        vec![message("m", "Hi"), delta("n", "more")],
        vec![message("m", "Hi"), completed(1, 1), created(), delta("n", "more")],
        vec![],
    ] {
        let (events, error) = events_of(ModelApi::Responses, &frames(&stream)).await;
        assert_eq!(error.map(|error| error.kind()), Some(ModelErrorKind::Cut), "{events:?}");
    }
    let sent = Step::Send(frames(&[message("m", "Hi")]).into());
    let server = ModelServer::start([Reply::steps([sent, Step::Cut])]).await;
    let (_, error) = read(ask(&server, ModelApi::Responses).await.expect("a stream")).await;
    assert_eq!(
        error.map(|error| error.kind()),
        Some(ModelErrorKind::Cut),
        "a connection that breaks is no end"
    );
}

#[tokio::test]
async fn a_server_that_carries_calls_out_has_time_for_it_and_one_that_is_done_does_not_hold_the_answer()
 {
    let send = |events: &[Value]| Step::Send(frames(events).into());
    // Longer than a server may take that is done, and shorter than the silence that ends an answer.
    let settings = ModelSettings { idle: PATIENCE * 10, ..ModelSettings::default() };
    let pause = Step::Pause(PATIENCE * 6);
    let steps = [
        send(&[call("c", "slow"), completed(1, 1)]),
        pause,
        send(&[output("c"), created(), message("m", "Done."), completed(1, 1)]),
        Step::Hold,
    ];
    let server = ModelServer::start([Reply::steps(steps)]).await;
    let stream =
        client_with(settings).stream(&endpoint(&server, ModelApi::Responses), &hello(), None).await;
    let (events, error) = read(stream.expect("a stream")).await;
    assert_eq!(error, None);
    assert_eq!(
        short(&events),
        ["call c slow", "output c", "went on", "message Done.", "completed 2 2"]
    );
    server.client_left().await;

    // A call of the page's: nobody but the page answers it. Neither comments nor kinds that mean
    // nothing hold the end up.
    let alive =
        [": alive\n\n", "data: {\"type\":\"keepalive\"}\n\n"].map(|text| Step::Send(text.into()));
    let drips = std::iter::repeat_n(alive, 100).flatten();
    let drips = drips.flat_map(|step| [step, Step::Pause(PATIENCE / 10)]);
    let steps = std::iter::once(send(&[call("c", "ours"), completed(1, 1)])).chain(drips);
    let server = ModelServer::start([Reply::steps(steps)]).await;
    let ours = FunctionTool {
        name: "ours".to_owned(),
        description: None,
        parameters: serde_json::Map::new(),
        strict: false,
    };
    let request = ModelRequest { functions: vec![ours], ..hello() };
    let began = Instant::now();
    let stream = client().stream(&endpoint(&server, ModelApi::Responses), &request, None).await;
    let (events, error) = read(stream.expect("a stream")).await;
    assert_eq!((short(&events), error), (vec!["call c ours".into(), "completed 1 1".into()], None));
    assert!(began.elapsed() < PATIENCE * 12, "it ends soon: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_failure_after_the_server_went_on_is_one_and_a_failure_after_all_is_said_is_none() {
    let error = json!({"type": "error", "message": "late"});
    let late = [message("m", "Hi"), completed(1, 2), error.clone()];
    let (events, none) = events_of(ModelApi::Responses, &frames(&late)).await;
    assert_eq!((short(&events), none), (vec!["message Hi".into(), "completed 1 2".into()], None));
    for between in [created(), delta("n", "more")] {
        let stream = [message("m", "Hi"), completed(1, 2), between, error.clone()];
        let (_, error) = events_of(ModelApi::Responses, &frames(&stream)).await;
        assert_eq!(error.expect("an error").kind(), ModelErrorKind::Failed);
    }
    let open = [call("c", "slow"), completed(1, 2), error];
    let (_, error) = events_of(ModelApi::Responses, &frames(&open)).await;
    assert_eq!(error.expect("an error").kind(), ModelErrorKind::Failed, "the tool failed");
}

#[test]
fn usage_that_overflows_stays_at_the_most() {
    let most = Usage { input_tokens: u64::MAX, ..Usage::default() };
    assert_eq!(most.plus(most).input_tokens, u64::MAX);
}
