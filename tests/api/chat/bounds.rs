//! What one user may ask for: so often, so much at once, so many answers at a time, and no more
//! than their agent can afford.

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::client::{add, create, thread_of};
use super::setting::{Model, begun, read_deltas, retry, server, sqlite, until, user};
use crate::metrics::{free_port, scrape, value};
use crate::process::TempFolder;
use crate::support::server::TestServer;
use crate::support::tokens;

/// The header with this name of an answer.
fn header<'a>(answer: &'a reqwest::Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A request of the protocol.
fn request(kind: &str, params: &Value) -> Value {
    json!({"type": kind, "params": params})
}

/// The code and the message of a refusal with this status.
async fn refused(answer: reqwest::Response, status: u16) -> (String, String) {
    assert_eq!(answer.status(), status);
    let body: Value = answer.json().await.expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&body["error"]["code"]), text(&body["message"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_what_costs_have_limits_of_their_own() {
    let (model, addr) = (Model::start(), format!("127.0.0.1:{}", free_port()));
    let server = server(
        &model.base(),
        &[
            ("METRICS_ADDR", &addr),
            ("RATE_LIMIT_USER_PER_MINUTE", "1"),
            ("RATE_LIMIT_USER_BURST", "2"),
            ("RATE_LIMIT_READS_PER_MINUTE", "1"),
            ("RATE_LIMIT_READS_BURST", "3"),
        ],
    );
    let ada = user(&server, "ada");
    let list = request("threads.list", &json!({}));
    for left in ["2", "1", "0"] {
        let answer = ada.post(&list, &[]).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit-remaining")), (200, left));
        assert_eq!(header(&answer, "ratelimit-limit"), "3");
    }
    let answer = ada.post(&list, &[]).await;
    let wait: u64 = header(&answer, "retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(refused(answer, 429).await.0, "rate_limited");

    for left in ["1", "0"] {
        let answer = ada.post(&create("hello"), &[]).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit-remaining")), (200, left));
        assert_eq!(header(&answer, "ratelimit-limit"), "2");
    }
    assert_eq!(refused(ada.post(&create("again"), &[]).await, 429).await.0, "rate_limited");
    let mint = server.mint_as("ada").send().await.expect("an answer");
    assert_eq!(refused(mint, 429).await.0, "rate_limited", "a session costs");

    let text = scrape(&addr).await;
    for (metric, expected) in [
        (r#"chatkit_limiter_keys{limit="user"}"#, 1.0),
        (r#"chatkit_limiter_keys{limit="reads"}"#, 1.0),
        (r#"chatkit_rate_limited_total{limit="user"}"#, 2.0),
        (r#"chatkit_rate_limited_total{limit="reads"}"#, 1.0),
    ] {
        assert_eq!(value(&text, metric), Some(expected), "{metric} in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_counts_for_the_limit_of_its_type_and_what_is_none_as_a_read() {
    let server = server(
        "http://127.0.0.1:9/v1",
        &[("RATE_LIMIT_USER_PER_MINUTE", "20"), ("RATE_LIMIT_READS_PER_MINUTE", "600")],
    );
    let (message, of_thread) =
        (create("hello")["params"].clone(), json!({"thread_id": "thr_none"}));
    let item = json!({"thread_id": "thr_none", "item_id": "msg_none"});
    let act = json!({"thread_id": "thr_none", "action": {"type": "a"}});
    for (kind, params, burst) in [
        ("threads.create", message, "10"),
        ("threads.add_user_message", add("thr_none", "hello")["params"].clone(), "10"),
        (
            "threads.add_structured_input",
            json!({"thread_id": "t", "item_id": "i", "input": {}}),
            "10",
        ),
        ("threads.retry_after_item", item, "10"),
        ("threads.custom_action", act.clone(), "10"),
        ("threads.sync_custom_action", act, "10"),
        ("input.transcribe", json!({"audio_base64": "AA==", "mime_type": "audio/webm"}), "10"),
        ("threads.add_client_tool_output", json!({"thread_id": "t", "result": 1}), "120"),
        ("threads.get_by_id", of_thread.clone(), "120"),
        ("threads.list", json!({}), "120"),
        ("threads.update", json!({"thread_id": "t", "title": "a"}), "120"),
        ("threads.delete", of_thread.clone(), "120"),
        ("items.list", of_thread, "120"),
        ("items.feedback", json!({"thread_id": "t", "item_ids": [], "kind": "positive"}), "120"),
        ("attachments.create", json!({"name": "a", "size": 1, "mime_type": "text/plain"}), "120"),
        ("attachments.delete", json!({"attachment_id": "atc_00"}), "120"),
        ("threads.stop", json!({}), "120"),
        ("threads.create", json!([]), "120"),
    ] {
        let answer = user(&server, "ada").post(&request(kind, &params), &[]).await;
        assert_eq!(header(&answer, "ratelimit-limit"), burst, "{kind}");
    }
    let file = server.get("/api/chatkit/attachments/atc_00").bearer_auth(tokens::hs256("ada"));
    let answer = file.send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit-limit")), (404, "120"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_an_output_and_answers_have_so_much_text() {
    let model = Model::start();
    let server = server(&model.base(), &[("CHATKIT_MAX_MESSAGE_BYTES", "1000")]);
    let ada = user(&server, "ada");
    let thread = thread_of(&ada.events(&create(&"é".repeat(500))).await);
    let mut quoted = create(&"x".repeat(600));
    quoted["params"]["input"]["quoted_text"] = json!("q".repeat(401));
    let mut mention = create("x");
    mention["params"]["input"]["content"][0] =
        json!({"type": "input_tag", "id": "a", "text": "b", "data": {"a": "x".repeat(1000)}});
    let answers = json!({"answers": {"q": {"values": ["a".repeat(500), "b".repeat(500)]}}});
    let of_questions = json!({"thread_id": thread, "item_id": "msg_none", "input": answers});
    let output =
        |bytes: usize| json!({"thread_id": thread, "result": {"a": "x".repeat(bytes - 8)}});
    for (body, field) in [
        (create(&"é".repeat(501)), "params.input"),
        (add(&thread, &"x".repeat(1001)), "params.input"),
        (quoted, "params.input"),
        (mention, "params.input"),
        (request("threads.add_client_tool_output", &output(1001)), "params.result"),
        (request("threads.add_structured_input", &of_questions), "params.input.answers"),
    ] {
        let (code, message) = refused(ada.post(&body, &[]).await, 413).await;
        assert_eq!(code, "body_too_large");
        assert!(message.contains(field) && message.contains("1000"), "{field}: {message}");
    }
    let mut of_many = create("x");
    of_many["params"]["input"]["content"] =
        vec![json!({"type": "input_text", "text": ""}); 4097].into();
    let (_, message) = refused(ada.post(&of_many, &[]).await, 413).await;
    assert!(message.contains("4096"), "{message}");
    of_many["params"]["input"]["content"] = json!([{"type": "input_tag", "id": "a", "text": "b", "data": {"a": vec![0; 400], "b": {"c": [1]}}}]);
    ada.events(&of_many).await;
    let fits = ada.post(&request("threads.add_client_tool_output", &output(1000)), &[]).await;
    assert_eq!(
        refused(fits, 409).await.0,
        "conflict",
        "it is not too long, but nothing waits for it"
    );

    let server = self::server(&model.base(), &[]);
    let bob = user(&server, "bob");
    bob.events(&create(&"x".repeat(262_144))).await;
    assert_eq!(
        refused(bob.post(&create(&"x".repeat(262_145)), &[]).await, 413).await.0,
        "body_too_large"
    );
}

/// An upload of this text.
async fn upload(server: &TestServer, name: &str, mime_type: &str, bytes: Vec<u8>) -> String {
    let part =
        Part::bytes(bytes).file_name(name.to_owned()).mime_str(mime_type).expect("a media type");
    let form = Form::new().part("file", part);
    let request =
        server.post("/api/chatkit/upload").bearer_auth(tokens::hs256("ada")).multipart(form);
    let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_costs_more_than_its_agent_may_read_is_refused_before_the_model_is_asked() {
    let (model, folder) = (Model::start(), TempFolder::new("budget"));
    let (database, uploads) = (sqlite(&folder), folder.path("uploads"));
    let with_budget = |tokens: u32| {
        let agents = format!("[agents.one]\nmodel = \"m\"\nmax_input_tokens = {tokens}\n");
        let agents = folder.write("agents.toml", &agents);
        let vars = [
            ("CHATKIT_AGENTS", agents.as_str()),
            ("DATABASE_URL", &database),
            ("CHATKIT_UPLOADS_DIR", &uploads),
        ];
        server(&model.base(), &vars)
    };
    let server = with_budget(1000);
    let ada = user(&server, "ada");
    let asked = model.stats().await.1;
    let (code, message) = refused(ada.post(&create(&"x".repeat(4001)), &[]).await, 413).await;
    assert_eq!(code, "body_too_large");
    assert!(message.contains("1001") && message.contains("1000"), "{message}");
    let with = |files: &[&String]| {
        let mut body = create("look");
        body["params"]["input"]["attachments"] = json!(files);
        body
    };
    let texts = [
        upload(&server, "a.txt", "text/plain", vec![b'a'; 2500]).await,
        upload(&server, "b.csv", "text/csv", vec![b'b'; 2500]).await,
        upload(&server, "c", "application/octet-stream", vec![b'c'; 4500]).await,
        upload(&server, "d", "application/octet-stream", vec![0; 4500]).await,
    ];
    let [first, second, unknown, binary] = &texts;
    for files in [&[first, second][..], &[unknown]] {
        let (code, message) = refused(ada.post(&with(files), &[]).await, 413).await;
        assert_eq!(code, "body_too_large", "{message}");
    }
    assert_eq!(model.stats().await.1, asked, "nothing reached the model");
    ada.events(&create(&"x".repeat(4000))).await;
    ada.events(&with(&[first, binary])).await;
    let input = serde_json::to_string(&model.last_input().await).expect("JSON");
    assert!(input.contains(&"a".repeat(2500)), "a text that fits is there whole");
    drop(server);

    let generous = with_budget(10_000);
    let (thread, message) = begun(&user(&generous, "ada").events(&create(&"y".repeat(8000))).await);
    drop(generous);
    let strict = with_budget(1000);
    let again = user(&strict, "ada").post(&retry(&thread, &message), &[]).await;
    assert_eq!(refused(again, 413).await.0, "body_too_large", "the agent's budget has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_four_answers_under_way_and_whoever_listens_once_more_is_not_counted() {
    let model = Model::start();
    let server = server(&model.base(), &[("CHATKIT_MAX_TURNS_PER_USER", "")]);
    let ada = user(&server, "ada");
    for _ in 0..6 {
        let events = ada.events(&create("error 500")).await;
        assert_eq!(
            events.last().expect("an event")["type"],
            "error",
            "a failed answer gives its place back"
        );
    }
    let long = |number: u8| create(&format!("delay 20 deltas 3000 number {number}"));
    let mut streams = Vec::new();
    for number in 0..4 {
        let mut stream = ada.stream(&long(number)).await;
        read_deltas(&mut stream, 1).await;
        streams.push(stream);
    }
    let answer = ada.post(&create("a fifth"), &[]).await;
    let wait: u64 = header(&answer, "retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    let (code, message) = refused(answer, 429).await;
    assert_eq!(code, "rate_limited");
    assert!(message.contains('4'), "{message}");
    let mut repeated = ada.stream(&long(0)).await;
    read_deltas(&mut repeated, 1).await;
    drop(repeated);
    let bob = user(&server, "bob");
    bob.events(&create("hello")).await;
    assert_eq!(ada.ask("threads.list", json!({})).await.0, 200, "it is no answer");
    streams.pop();
    until("who leaves gives the place back", async || {
        ada.post(&create("a fifth"), &[]).await.status() == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_run_on_without_their_readers_are_counted_until_they_end() {
    let model = Model::start();
    let vars = [("CHATKIT_MAX_TURNS_PER_USER", "1"), ("CHATKIT_ON_DISCONNECT", "finish")];
    let server = server(&model.base(), &vars);
    let ada = user(&server, "ada");
    let mut stream = ada.stream(&create("delay 20 deltas 60")).await;
    read_deltas(&mut stream, 1).await;
    drop(stream);
    assert_eq!(refused(ada.post(&create("more"), &[]).await, 429).await.0, "rate_limited");
    until("it ends", async || ada.post(&create("more"), &[]).await.status() == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_of_one_address_share_its_answers_under_way() {
    let model = Model::start();
    let server = server(
        &model.base(),
        &[
            ("AUTH_ANONYMOUS", "on"),
            ("CHATKIT_COOKIE_KEY", "0123456789abcdef0123456789abcdef"),
            ("CHATKIT_MAX_TURNS_PER_USER", "2"),
            ("TRUSTED_PROXIES", "127.0.0.0/8"),
        ],
    );
    let visit = async |number: u8, address: &str| {
        let body = create(&format!("delay 20 deltas 3000 number {number}"));
        let request = server.post("/api/chatkit").header("x-forwarded-for", address).json(&body);
        request.header("sec-fetch-site", "same-origin").send().await.expect("an answer")
    };
    let held = [visit(1, "198.51.100.1").await, visit(2, "198.51.100.1").await];
    assert!(held.iter().all(|answer| answer.status() == 200), "{held:?}");
    assert_eq!(refused(visit(3, "198.51.100.1").await, 429).await.0, "rate_limited");
    assert_eq!(visit(4, "198.51.100.2").await.status(), 200, "another address");
}
