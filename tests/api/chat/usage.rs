//! What the log and Prometheus say of an answer: what was asked, of which agent and model, in which
//! thread, and what it took.

use serde_json::{Value, json};

use super::client::{create, thread_of};
use super::setting::{Model, begun, server, user};
use crate::metrics::{free_port, scrape, value};
use crate::process::TempFolder;
use crate::support::server::TestServer;

/// The line of the first request of this type.
fn line(server: &TestServer, kind: &str) -> Value {
    server.log_line(|line| line["message"] == "request" && line["type"] == kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_an_answer_says_agent_model_thread_and_tokens() {
    let model = Model::start();
    for api in ["responses", "chat-completions"] {
        let server = server(&model.base(), &[("CHATKIT_MODEL_API", api)]);
        let ada = user(&server, "ada");
        let thread = thread_of(&ada.events(&create("hello")).await);
        let line = line(&server, "threads.create");
        assert_eq!(
            (&line["agent"], &line["model"]),
            (&json!("default"), &json!("gpt-5.1")),
            "{api}: {line}"
        );
        for kind in ["input_tokens", "output_tokens"] {
            assert!(line[kind].as_u64().is_some_and(|tokens| tokens > 0), "{api}: {line}");
        }
        let hash = line["thread"].as_str().expect("a hash").to_owned();
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        assert!(!server.logs().contains(&thread), "the id itself is not logged");

        assert_eq!(ada.ask("threads.get_by_id", json!({"thread_id": thread})).await.0, 200);
        let of_thread = self::line(&server, "threads.get_by_id");
        assert_eq!((&of_thread["thread"], &of_thread["agent"]), (&json!(hash), &json!("default")));
        assert!(of_thread["model"].is_null() && of_thread["input_tokens"].is_null(), "{of_thread}");
        assert_eq!(ada.ask("threads.list", json!({})).await.0, 200);
        assert!(self::line(&server, "threads.list")["thread"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_an_answer_that_failed_says_agent_and_model() {
    let model = Model::start();
    let server = server(&model.base(), &[]);
    user(&server, "ada").events(&create("error 500")).await;
    let line = line(&server, "threads.create");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("500")), "{line}");
    assert_eq!((&line["agent"], &line["model"]), (&json!("default"), &json!("gpt-5.1")), "{line}");
    assert!(line["input_tokens"].is_null(), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted_by_agent_and_model_and_those_of_titles_apart() {
    let (model, addr) = (Model::start(), format!("127.0.0.1:{}", free_port()));
    let folder = TempFolder::new("usage");
    let agents = folder.write("agents.toml", "[agents.a]\nmodel = \"small\"\n");
    let vars = [
        ("METRICS_ADDR", &*addr),
        ("CHATKIT_AGENTS", &agents),
        ("CHATKIT_MODEL", ""),
        ("CHATKIT_THREAD_TITLES", "on"),
    ];
    let server = server(&model.base(), &vars);
    let ada = user(&server, "ada");
    let (thread, _) = begun(&ada.events(&create("hello")).await);
    let first = line(&server, "threads.create");
    ada.events(&super::client::add(&thread, "and again")).await;
    let second = line(&server, "threads.add_user_message");
    let text = scrape(&addr).await;
    for kind in ["input", "output"] {
        let tokens = |line: &Value| line[format!("{kind}_tokens")].as_u64().expect("a number");
        let labels = format!("{{agent=\"a\",model=\"small\",kind=\"{kind}\"}}");
        let counted = |metric: &str| value(&text, &format!("{metric}{labels}"));
        #[expect(clippy::cast_precision_loss, reason = "they are few")]
        let said = (tokens(&first) + tokens(&second)) as f64;
        assert_eq!(counted("chatkit_model_tokens_total"), Some(said), "{text}");
        assert!(counted("chatkit_title_tokens_total").is_some_and(|tokens| tokens > 0.0), "{text}");
    }
    let turns = value(&text, r#"chatkit_agent_turns_total{agent="a",outcome="done"}"#);
    assert_eq!(turns, Some(2.0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_took_is_logged_although_its_client_left() {
    let model = Model::start();
    let server = server(&model.base(), &[("CHATKIT_ON_DISCONNECT", "finish")]);
    let mut stream = user(&server, "ada").stream(&create("delay 20 deltas 20")).await;
    super::setting::read_deltas(&mut stream, 1).await;
    drop(stream);
    let line = server.log_line(|line| line["message"] == "an answer that nobody waited for");
    assert_eq!((&line["agent"], &line["model"]), (&json!("default"), &json!("gpt-5.1")), "{line}");
    assert!(line["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{line}");
}
