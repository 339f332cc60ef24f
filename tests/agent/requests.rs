//! What is a model asked, and what does the thread get of its answer?

use chatkit_server::agent::{Agent, AgentError, AgentEvent};
use chatkit_server::protocol::ItemKind;
use serde_json::{Value, json};

use crate::setup::{Model, agent, agent_of, answer, frame, message, turn};

fn hello() -> Vec<Value> {
    vec![
        json!({"type": "response.output_item.added", "item": {"type": "message", "id": "m", "content": []}}),
        json!({"type": "response.output_text.delta", "item_id": "m", "content_index": 0, "delta": "Hello"}),
        json!({"type": "response.output_item.done", "item": {"type": "message", "id": "m",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}}),
    ]
}

fn said(events: &[AgentEvent]) -> Vec<String> {
    let text = |event: &AgentEvent| match event {
        AgentEvent::ItemDone(item) => match &item.kind {
            ItemKind::AssistantMessage { content } => Some(content[0].text.clone()),
            _ => None,
        },
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

#[tokio::test]
async fn the_whole_thread_goes_to_the_model_under_the_settings_of_the_agent() {
    let model = Model::saying(&hello()).await;
    let toml = r#"
        instructions = "Be kind."
        temperature = 0.5
        top_p = 0.9
        max_output_tokens = 100
        reasoning = { effort = "low", summary = "auto" }
        [[agents.main.tools]]
        type = "web_search"
        search_context_size = "low"
        [[agents.main.tools]]
        type = "client"
        name = "get_selection"
        description = "What is selected"
    "#;
    let agent = agent_of(&model.base, "whole", toml);
    let call = json!({"type": "client_tool_call", "status": "pending", "call_id": "call_1", "name": "get_selection",
        "arguments": {}});
    let none = json!({});
    let (events, outcome) =
        answer(&agent, &[message("One?", &none), call, message("Two?", &none)]).await;
    assert_eq!((said(&events), outcome), (vec!["Hello".to_owned()], Ok(())));

    let asked = model.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].path.as_str(), &asked[0].headers["authorization"]),
        ("/v1/responses", &"Bearer sk-mine".parse().unwrap())
    );
    let user = |text: &str| json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
    let expected = json!({
        "model": "m", "instructions": "Be kind.", "stream": true, "store": false,
        "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 100,
        "reasoning": {"effort": "low", "summary": "auto"},
        "parallel_tool_calls": false,
        "include": ["web_search_call.action.sources"],
        "tools": [
            {"type": "web_search", "search_context_size": "low"},
            {"type": "function", "name": "get_selection", "description": "What is selected", "strict": false,
                "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": false}},
        ],
        "input": [
            user("One?"),
            {"type": "function_call", "call_id": "call_1", "name": "get_selection", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "\"The client returned nothing.\""},
            user("Two?"),
        ],
    });
    assert_eq!(asked[0].body, expected);
}

#[tokio::test]
async fn a_tool_that_the_person_chose_must_be_one_of_the_agents() {
    let toml = r#"
        [[agents.main.tools]]
        type = "web_search"
        [[agents.main.tools]]
        type = "mcp"
        server_label = "s"
        server_url = "https://mcp.example"
        [[agents.main.tools]]
        type = "client"
        name = "get_selection"
    "#;
    for (id, choice) in [
        ("get_selection", json!({"type": "function", "name": "get_selection"})),
        ("web_search", json!({"type": "web_search"})),
        ("file_search", Value::Null),
        ("mcp", Value::Null),
    ] {
        let model = Model::saying(&hello()).await;
        let options = json!({"tool_choice": {"id": id}, "model": "somebody-elses"});
        let agent = agent_of(&model.base, id, toml);
        let (_, outcome) = answer(&agent, &[message("Hi", &options)]).await;
        assert_eq!(outcome, Ok(()));
        let body = &model.asked()[0].body;
        assert_eq!((&body["tool_choice"], &body["model"]), (&choice, &json!("m")), "{id}");
    }
}

#[tokio::test]
async fn chat_completions_answer_as_well() {
    let chunk = |delta: Value, finish: Value| {
        frame(&json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))
    };
    let stream = chunk(json!({"content": "Hello"}), Value::Null)
        + &chunk(json!({}), json!("stop"))
        + "data: [DONE]\n\n";
    let model = Model::start([(200, stream)]).await;
    let agent = agent(
        &model.base,
        &[("CHATKIT_MODEL_API", "chat-completions"), ("CHATKIT_INSTRUCTIONS", "Be kind.")],
    );
    let (events, outcome) = answer(&agent, &[message("Hi", &json!({}))]).await;
    assert_eq!((said(&events), outcome), (vec!["Hello".to_owned()], Ok(())));
    let asked = &model.asked()[0];
    assert_eq!(asked.path, "/v1/chat/completions");
    let messages =
        json!([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]);
    assert_eq!(asked.body["messages"], messages);
}

#[tokio::test]
async fn the_organisation_is_named_to_its_own_server_alone() {
    let (ours, other) = (Model::saying(&hello()).await, Model::saying(&hello()).await);
    let elsewhere = format!("base_url = \"{}\"", other.base);
    for (agent, asked, named) in [
        (agent(&ours.base, &[]), &ours, Some("org-1")),
        (agent_of(&ours.base, "elsewhere", &elsewhere), &other, None),
    ] {
        let (_, outcome) = answer(&agent, &[message("Hi", &json!({}))]).await;
        assert_eq!(outcome, Ok(()));
        let header = asked.asked()[0].headers.get("openai-organization").cloned();
        assert_eq!(header.as_ref().map(|name| name.to_str().expect("text")), named);
    }
}

#[tokio::test]
async fn an_agent_that_nobody_hears_stops() {
    let model = Model::saying(&hello()).await;
    let agent = agent(&model.base, &[]);
    let (turn, heard) = turn(&[message("Hi", &json!({}))]).await;
    drop(heard);
    assert_eq!(agent.respond(&turn).await, Err(AgentError::Over));
}

#[tokio::test]
async fn an_image_is_kept_in_the_format_it_comes_in_and_one_that_cannot_be_read_is_left_out() {
    let image = |result: &str, format: Value| {
        json!({"type": "response.output_item.done", "item": {"type": "image_generation_call", "id": format!("ig_{result}"),
            "result": result, "output_format": format}})
    };
    let mut events = vec![
        image("not base64!", json!("png")),
        image("UE5H", json!(null)),
        image("V0VCUA==", json!("webp")),
        image("U1ZH", json!("svg+xml")),
    ];
    events.extend(hello());
    let model = Model::saying(&events).await;
    let (turn, mut heard) = turn(&[message("Draw", &json!({}))]).await;
    assert_eq!(agent(&model.base, &[]).respond(&turn).await, Ok(()));
    let mut seen = Vec::new();
    let mut said = Vec::new();
    while let Ok(event) = heard.try_recv() {
        let AgentEvent::ItemDone(item) = &*event else { continue };
        let ItemKind::GeneratedImage { image } = &item.kind else {
            said.push(event);
            continue;
        };
        let image = image.as_ref().expect("it is drawn");
        let id = image.attachment_id().expect("it is kept here");
        let stored = turn.store.attachment(&turn.owner, id).await.expect("the store answers");
        let stored = stored.expect("it is described");
        let bytes = turn.file(id).await.expect("it can be read").expect("it is there");
        turn.files.remove(id).await.expect("it is there");
        assert_eq!((stored.is_uploaded, stored.size), (true, bytes.len() as u64));
        seen.push((image.id.clone(), stored.attachment.name, stored.attachment.mime_type, bytes));
    }
    let expected = [
        ("ig_UE5H", "image.png", "image/png", "PNG"),
        ("ig_V0VCUA==", "image.webp", "image/webp", "WEBP"),
        ("ig_U1ZH", "image.png", "image/png", "SVG"),
    ];
    let expected = expected.map(|(id, name, kind, bytes)| {
        (id.to_owned(), name.to_owned(), kind.to_owned(), bytes.into())
    });
    assert_eq!(seen, expected);
    assert_eq!(said.len(), 1, "the answer goes on");
}
