//! Does a model find titles, and does nothing come of it when it can't?

use chatkit_server::agent::Agent;
use chatkit_server::protocol::UserMessage;
use serde_json::json;

use crate::setup::{Model, agent};

fn user_message(text: &str) -> UserMessage {
    serde_json::from_value(json!({"content": [{"type": "input_text", "text": text},
        {"type": "input_tag", "id": "t", "text": "Oslo", "data": {}}]}))
    .expect("a message")
}

fn title(text: &str) -> [serde_json::Value; 1] {
    [json!({"type": "response.output_item.done", "item": {"type": "message", "id": "m",
        "content": [{"type": "output_text", "text": text}]}})]
}

#[tokio::test]
async fn a_title_is_asked_for_with_the_message_alone() {
    let model = Model::saying(&title("\"Weather in Oslo.\"\n")).await;
    let agent = agent(&model.base, &[("CHATKIT_INSTRUCTIONS", "Be kind.")]);
    assert_eq!(agent.title(&user_message("weather? ")).await.as_deref(), Some("Weather in Oslo"));
    let body = &model.asked()[0].body;
    let content = json!([{"type": "input_text", "text": "weather? @Oslo"}]);
    assert_eq!(body["input"], json!([{"type": "message", "role": "user", "content": content}]));
    let instructions = body["instructions"].as_str().expect("instructions");
    assert!(
        instructions.contains("2 to 5 words") && !instructions.contains("kind"),
        "{instructions}"
    );
}

#[tokio::test]
async fn no_title_comes_of_a_failure_or_of_no_words() {
    let model = Model::start([(500, "{}".to_owned()), (200, String::new())]).await;
    let agent = agent(&model.base, &[]);
    for _ in 0..2 {
        assert_eq!(agent.title(&user_message("weather?")).await, None);
    }
    let model = Model::saying(&title(" \"\" ")).await;
    assert_eq!(agent_at(&model).title(&user_message("weather?")).await, None);
    let wordless: UserMessage = serde_json::from_value(json!({"content": []})).expect("a message");
    assert_eq!(agent_at(&model).title(&wordless).await, None);
    assert_eq!(model.asked().len(), 1, "nothing is asked about nothing");
}

#[tokio::test]
async fn threads_of_an_agent_without_titles_get_none() {
    assert!(agent("http://127.0.0.1:1/v1", &[]).wants_titles());
    assert!(!agent("http://127.0.0.1:1/v1", &[("CHATKIT_THREAD_TITLES", "off")]).wants_titles());
}

fn agent_at(model: &Model) -> chatkit_server::agent::model::ModelAgent {
    agent(&model.base, &[])
}
