//! How does a stream behave that is slow, broken into pieces, cut, or not wanted any more?

use std::time::{Duration, Instant};

use chatkit_server::upstream::model::{ModelApi, ModelErrorKind, ModelEvent as E};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::server::{ModelServer, Reply, Step};
use crate::support::{
    PATIENCE, ask, chunks, client, endpoint, endpoint_at, events_of, frames, hello, read,
};

const WORDS: &str = "Grüße 👩‍👩‍👧 \u{2028} 日本語";

fn responses_stream() -> String {
    frames(&[
        json!({"type": "response.output_text.delta", "item_id": "m", "content_index": 0, "delta": WORDS}),
        json!({"type": "response.completed", "response": {}}),
    ])
}

fn completions_stream() -> String {
    chunks(&[
        json!({"choices": [{"index": 0, "delta": {"content": WORDS}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    ])
}

fn both() -> [(ModelApi, String); 2] {
    [(ModelApi::Responses, responses_stream()), (ModelApi::ChatCompletions, completions_stream())]
}

fn text_of(events: &[E]) -> String {
    let delta =
        |event: &E| if let E::TextDelta { delta, .. } = event { Some(delta.clone()) } else { None };
    events.iter().filter_map(delta).collect()
}

#[tokio::test]
async fn pieces_of_any_size_make_the_same_answer() {
    for (api, stream) in both() {
        for size in [1, 2, 3, 7, 64] {
            let pieces = stream.as_bytes().chunks(size).map(|piece| Step::Send(piece.to_vec()));
            let server = ModelServer::start([Reply::steps(pieces)]).await;
            let (events, error) = read(ask(&server, api).await.expect("a stream")).await;
            assert_eq!(error, None, "{api:?}, {size}");
            assert_eq!(text_of(&events), WORDS, "{api:?}, {size}");
            assert!(matches!(events.last(), Some(E::Completed { .. })), "{api:?}, {size}");
        }
    }
}

/// Over HTTP/2 all streams to one host share a connection, and those past the host's limit (often
/// 100 or 128) wait until others end. So each has one of its own.
#[tokio::test]
async fn no_stream_shares_its_connection_with_another() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("https://{}/v1", listener.local_addr().expect("an address"));
    let greeting = async {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        let mut greeting = vec![0; 16 * 1024];
        let length = connection.read(&mut greeting).await.expect("a ClientHello");
        greeting.truncate(length);
        greeting
    };
    let (client, endpoint, request) = (client(), endpoint_at(&base, ModelApi::Responses), hello());
    let greeting = tokio::select! {
        greeting = greeting => greeting,
        _ = client.stream(&endpoint, &request, None) => panic!("nobody answers"),
    };
    // Application-Layer Protocol Negotiation (RFC 7301): each name after its length.
    let offers = |name: &[u8]| greeting.windows(name.len()).any(|part| part == name);
    assert!(offers(b"\x08http/1.1"), "HTTP/1.1 is offered: {greeting:?}");
    assert!(!offers(b"\x02h2"), "HTTP/2 is not");
}

#[tokio::test]
async fn the_next_answer_comes_over_the_same_connection_though_the_last_one_was_slow_to_end() {
    for (api, stream) in both() {
        let late_end = || {
            Reply::steps([
                Step::Send(stream.clone().into()),
                Step::Pause(Duration::from_millis(20)),
            ])
        };
        let server = ModelServer::start([late_end(), late_end(), late_end()]).await;
        let (client, endpoint) = (client(), endpoint(&server, api));
        for _ in 0..3 {
            let stream = client.stream(&endpoint, &hello(), None).await.expect("a stream");
            assert_eq!(read(stream).await.1, None);
        }
        assert_eq!(server.connections(), 1, "{api:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_whole_is_not_held_up_by_a_stream_without_an_end() {
    for (api, stream) in both() {
        let server =
            ModelServer::start([Reply::steps([Step::Send(stream.into()), Step::Hold])]).await;
        let stream = ask(&server, api).await.expect("a stream");
        let ending = tokio::time::timeout(PATIENCE, read(stream));
        assert_eq!(ending.await.expect("an end soon").1, None, "{api:?}");
        server.client_left().await;
    }
}

#[tokio::test]
async fn comments_and_carriage_returns_do_not_matter() {
    for (api, stream) in both() {
        let stream = format!("\u{FEFF}: hello\n\n{stream}").replace('\n', "\r\n");
        let (events, error) = events_of(api, &stream).await;
        assert_eq!((text_of(&events).as_str(), error), (WORDS, None), "{api:?}");
    }
}

#[tokio::test]
async fn a_last_event_without_its_blank_line_counts() {
    for (api, stream) in both() {
        let (events, error) = events_of(api, stream.trim_end()).await;
        assert_eq!(error, None, "{api:?}");
        assert!(matches!(events.last(), Some(E::Completed { .. })), "{api:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_or_ends_early_is_an_error_wherever_it_happens() {
    for (api, stream) in both() {
        // In the middle of the first frame, of a character, and between the frames.
        let character = stream.find('ü').expect("it is there") + 1;
        let between = stream.find("\n\n").expect("two frames") + 2;
        for end in [0, 10, character, between, between + 20] {
            for is_cut in [true, false] {
                let sent = Step::Send(stream.as_bytes()[..end].to_vec());
                let steps = if is_cut { vec![sent, Step::Cut] } else { vec![sent] };
                let server = ModelServer::start([Reply::steps(steps)]).await;
                let (events, error) = read(ask(&server, api).await.expect("a stream")).await;
                let error = error.unwrap_or_else(|| panic!("{api:?}, {end}: {events:?}"));
                assert!(error.is_retryable(), "{error}");
                assert_eq!(error.request_id(), Some("req_1"));
                // A frame that the end broke off can't be read; the cut comes to the same.
                assert!(
                    matches!(error.kind(), ModelErrorKind::Cut | ModelErrorKind::BadFrame),
                    "{error}"
                );
                assert!(!events.iter().any(|event| matches!(event, E::Completed { .. })));
                let expected = if end < between { "" } else { WORDS };
                assert_eq!(text_of(&events), expected, "{api:?}, {end}");
                assert_eq!(
                    server.requests().len(),
                    1,
                    "nothing is asked again once a stream has begun"
                );
            }
        }
    }
}

#[tokio::test]
async fn frames_that_are_no_json_end_the_answer() {
    for api in [ModelApi::Responses, ModelApi::ChatCompletions] {
        for frame in ["data: <html>\n\n", "data: {\"type\":\n\n", "data: 5\n\n"] {
            let (events, error) = events_of(api, frame).await;
            assert_eq!(events, [], "{frame}");
            assert_eq!(error.expect("an error").kind(), ModelErrorKind::BadFrame, "{frame}");
        }
    }
}

#[tokio::test]
async fn silence_is_a_timeout_and_signs_of_life_are_not() {
    for (api, stream) in both() {
        let (first, rest) = stream.split_at(stream.find("\n\n").expect("two frames") + 2);
        let send = |text: &str| Step::Send(text.into());
        let server = ModelServer::start([Reply::steps([send(first), Step::Hold])]).await;
        let started = Instant::now();
        let (events, error) = read(ask(&server, api).await.expect("a stream")).await;
        assert_eq!(text_of(&events), WORDS, "{api:?}");
        let error = error.expect("an error");
        assert_eq!((error.kind(), error.is_retryable()), (ModelErrorKind::Timeout, true));
        assert!(started.elapsed() >= PATIENCE);
        server.client_left().await;

        let pause = || Step::Pause(PATIENCE / 2);
        let alive = std::iter::repeat_with(|| [pause(), send(": alive\n\n")]).take(4).flatten();
        let steps = std::iter::once(send(first)).chain(alive).chain([pause(), send(rest)]);
        let server = ModelServer::start([Reply::steps(steps)]).await;
        let (events, error) = read(ask(&server, api).await.expect("a stream")).await;
        assert_eq!(error, None, "{api:?}");
        assert!(matches!(events.last(), Some(E::Completed { .. })), "{api:?}");
    }
}

#[tokio::test]
async fn a_chat_completion_that_was_said_ends_well_though_the_connection_does_not() {
    for end in [Step::Cut, Step::Hold] {
        let sent = Step::Send(completions_stream().into());
        let server = ModelServer::start([Reply::steps([sent, end])]).await;
        let (events, error) =
            read(ask(&server, ModelApi::ChatCompletions).await.expect("a stream")).await;
        assert_eq!(error, None);
        assert_eq!(events.last(), Some(&E::Completed { usage: None }));
    }
}

#[tokio::test]
async fn an_event_is_there_as_soon_as_it_is_sent() {
    for (api, stream) in both() {
        let first = &stream[..stream.find("\n\n").expect("two frames") + 2];
        let server =
            ModelServer::start([Reply::steps([Step::Send(first.into()), Step::Hold])]).await;
        let mut answer = ask(&server, api).await.expect("a stream");
        let started = Instant::now();
        loop {
            let event = answer.next().await.expect("an event").expect("no error");
            if matches!(event, E::TextDelta { .. }) {
                break;
            }
        }
        assert!(started.elapsed() < PATIENCE / 2, "{api:?}");
        drop(answer);
        server.client_left().await;
    }
}

#[tokio::test]
async fn a_wait_for_the_next_event_may_be_given_up_and_taken_up_again() {
    for (api, stream) in both() {
        let pieces = stream.as_bytes().chunks(9);
        let steps = pieces
            .flat_map(|piece| [Step::Send(piece.to_vec()), Step::Pause(Duration::from_millis(3))]);
        let server = ModelServer::start([Reply::steps(steps)]).await;
        let mut answer = ask(&server, api).await.expect("a stream");
        let mut events = Vec::new();
        loop {
            match tokio::time::timeout(Duration::from_millis(2), answer.next()).await {
                Ok(Some(event)) => events.push(event.expect("no error")),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        assert_eq!(text_of(&events), WORDS, "{api:?}");
    }
}

#[tokio::test]
async fn nothing_is_read_that_is_not_asked_for() {
    let frame = frames(&[json!({"type": "keepalive", "padding": "x".repeat(64 * 1024)})]);
    let all = 64 * 1024 * 1024;
    let steps = std::iter::repeat_n(Step::Send(frame.clone().into()), all / frame.len());
    let server = ModelServer::start([Reply::steps(steps)]).await;
    let answer = ask(&server, ModelApi::Responses).await.expect("a stream");
    // The server writes until the buffers of the sockets are full, and then waits.
    let mut written = usize::MAX;
    while written != server.written() {
        written = server.written();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(written < all / 2, "{written} bytes were written to a client that reads nothing");
    drop(answer);
}
