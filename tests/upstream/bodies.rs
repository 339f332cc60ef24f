//! What does a server of models receive? Whole requests, compared field by field.

use axum::http::HeaderValue;
use chatkit_server::upstream::model::{
    FunctionTool, ImageDetail, InputItem, InputPart, ModelApi, ModelErrorKind, ModelRequest, Role,
    ToolChoice,
};
use serde_json::{Map, Value, json};

use crate::server::{ModelServer, Recorded, Reply};
use crate::support::{KEY, client, endpoint, hello, message};

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// A request with everything that both APIs know.
fn full() -> ModelRequest {
    let call = |id: &str| InputItem::FunctionCall {
        call_id: id.to_owned(),
        name: "get_selection".to_owned(),
        arguments: "{\"project\":\"apollo\"}".to_owned(),
    };
    let output = |id: &str| InputItem::FunctionCallOutput {
        call_id: id.to_owned(),
        output: "\"ok\"".to_owned(),
    };
    let image = InputPart::Image {
        url: "data:image/png;base64,iVBO".to_owned(),
        detail: ImageDetail::Auto,
    };
    let file = InputPart::File {
        filename: "a.pdf".to_owned(),
        data_url: "data:application/pdf;base64,JVBE".to_owned(),
    };
    let texts = |texts: &[&str]| {
        texts.iter().map(|text| InputPart::Text((*text).to_owned())).collect::<Vec<_>>()
    };
    ModelRequest {
        model: "gpt-5.1".to_owned(),
        instructions: Some("Be brief.".to_owned()),
        input: vec![
            message(Role::Developer, "hidden"),
            InputItem::Message {
                role: Role::User,
                parts: [texts(&["see"]), vec![image, file]].concat(),
            },
            InputItem::Message { role: Role::User, parts: texts(&["a", "b"]) },
            InputItem::Message { role: Role::Assistant, parts: texts(&["c", "d"]) },
            call("call_1"),
            call("call_2"),
            output("call_1"),
            output("call_2"),
            call("call_3"),
            output("call_3"),
        ],
        functions: vec![FunctionTool {
            name: "get_selection".to_owned(),
            description: Some("What is selected".to_owned()),
            parameters: object(&json!({"type": "object", "properties": {}})),
            strict: false,
        }],
        reasoning: Some(object(&json!({"effort": "low", "summary": "auto"}))),
        temperature: Some(0.2),
        top_p: Some(0.9),
        max_output_tokens: Some(500),
        parallel_tool_calls: Some(false),
        tool_choice: Some(ToolChoice::Function("get_selection".to_owned())),
        ..ModelRequest::default()
    }
}

async fn received(api: ModelApi, request: &ModelRequest) -> Recorded {
    let server = ModelServer::start([Reply::stream("")]).await;
    client().stream(&endpoint(&server, api), request, None).await.map(|_| ()).expect("a stream");
    server.requests().remove(0)
}

#[tokio::test]
async fn a_responses_request_holds_what_was_asked_and_nothing_else() {
    let web_search = json!({"type": "web_search", "search_context_size": "low"});
    let file_search = json!({"type": "file_search", "vector_store_ids": ["vs_1"]});
    let request =
        ModelRequest { hosted_tools: vec![object(&web_search), object(&file_search)], ..full() };
    let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "get_selection", "arguments": "{\"project\":\"apollo\"}"});
    let output =
        |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "\"ok\""});
    let expected = json!({
        "model": "gpt-5.1", "instructions": "Be brief.", "stream": true, "store": false,
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "hidden"}]},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBO"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"type": "message", "role": "assistant", "content": [
                {"type": "output_text", "text": "c", "annotations": []}, {"type": "output_text", "text": "d", "annotations": []}]},
            call("call_1"), call("call_2"), output("call_1"), output("call_2"), call("call_3"), output("call_3"),
        ],
        "tools": [web_search, file_search, {"type": "function", "name": "get_selection", "description": "What is selected",
            "parameters": {"type": "object", "properties": {}}, "strict": false}],
        "tool_choice": {"type": "function", "name": "get_selection"}, "parallel_tool_calls": false,
        "include": ["web_search_call.action.sources", "file_search_call.results"],
        "reasoning": {"effort": "low", "summary": "auto"}, "temperature": 0.2, "top_p": 0.9, "max_output_tokens": 500,
    });
    let received = received(ModelApi::Responses, &request).await;
    assert_eq!(received.line, "POST /v1/responses");
    assert_eq!(received.json(), expected);
}

#[tokio::test]
async fn a_small_request_leaves_out_what_is_not_set() {
    let received_body = received(ModelApi::Responses, &hello()).await.json();
    let input = json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]);
    assert_eq!(
        received_body,
        json!({"model": "gpt-5.1", "input": input, "stream": true, "store": false})
    );
    let received_body = received(ModelApi::ChatCompletions, &hello()).await.json();
    let messages = json!([{"role": "user", "content": "hi"}]);
    let options = json!({"include_usage": true});
    assert_eq!(
        received_body,
        json!({"model": "gpt-5.1", "messages": messages, "stream": true, "stream_options": options})
    );
}

#[tokio::test]
async fn a_chat_completions_request_is_the_same_in_other_words() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "get_selection", "arguments": "{\"project\":\"apollo\"}"}});
    let tool = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "\"ok\""});
    let expected = json!({
        "model": "gpt-5.1", "stream": true, "stream_options": {"include_usage": true},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "hidden"},
            {"role": "user", "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO", "detail": "auto"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}}]},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c\nd", "tool_calls": [call("call_1"), call("call_2")]},
            tool("call_1"), tool("call_2"),
            {"role": "assistant", "content": null, "tool_calls": [call("call_3")]},
            tool("call_3"),
        ],
        "tools": [{"type": "function", "function": {"name": "get_selection", "description": "What is selected",
            "parameters": {"type": "object", "properties": {}}, "strict": false}}],
        "tool_choice": {"type": "function", "function": {"name": "get_selection"}}, "parallel_tool_calls": false,
        "reasoning_effort": "low", "temperature": 0.2, "top_p": 0.9, "max_tokens": 500,
    });
    let received = received(ModelApi::ChatCompletions, &full()).await;
    assert_eq!(received.line, "POST /v1/chat/completions");
    assert_eq!(received.json(), expected);
}

#[tokio::test]
async fn chat_completions_refuse_hosted_tools_before_anything_is_sent() {
    let tool = object(&json!({"type": "web_search"}));
    let with_tool = ModelRequest { hosted_tools: vec![tool], ..hello() };
    let choice = Some(ToolChoice::Hosted("web_search".to_owned()));
    for request in [with_tool, ModelRequest { tool_choice: choice, ..hello() }] {
        let server = ModelServer::start([Reply::stream("")]).await;
        let endpoint = endpoint(&server, ModelApi::ChatCompletions);
        let error =
            client().stream(&endpoint, &request, None).await.map(|_| ()).expect_err("an error");
        assert_eq!((error.kind(), error.is_retryable()), (ModelErrorKind::Unsupported, false));
        assert!(error.to_string().contains("web_search"), "{error}");
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn the_choice_of_a_tool_has_a_form_in_each_api() {
    for (choice, responses, completions) in [
        (ToolChoice::Auto, json!("auto"), json!("auto")),
        (ToolChoice::None, json!("none"), json!("none")),
        (ToolChoice::Required, json!("required"), json!("required")),
        (
            ToolChoice::Function("f".to_owned()),
            json!({"type": "function", "name": "f"}),
            json!({"type": "function", "function": {"name": "f"}}),
        ),
    ] {
        let request = ModelRequest { tool_choice: Some(choice), ..hello() };
        assert_eq!(received(ModelApi::Responses, &request).await.json()["tool_choice"], responses);
        assert_eq!(
            received(ModelApi::ChatCompletions, &request).await.json()["tool_choice"],
            completions
        );
    }
    let hosted =
        ModelRequest { tool_choice: Some(ToolChoice::Hosted("file_search".to_owned())), ..hello() };
    let body = received(ModelApi::Responses, &hosted).await.json();
    assert_eq!(body["tool_choice"], json!({"type": "file_search"}));
}

#[tokio::test]
async fn the_headers_say_who_asks() {
    let server = ModelServer::start([Reply::stream(""), Reply::stream("")]).await;
    let mut endpoint = endpoint(&server, ModelApi::Responses);
    endpoint.organization = Some(HeaderValue::from_static("org-1"));
    endpoint.project = Some(HeaderValue::from_static("proj_1"));
    client().stream(&endpoint, &hello(), None).await.map(|_| ()).expect("a stream");
    endpoint.api_key = None;
    endpoint.base_url =
        format!("{}/?api-version=preview", server.base()).parse().expect("an address");
    client().stream(&endpoint, &hello(), None).await.map(|_| ()).expect("a stream");
    let requests = server.requests();
    for (name, value) in [
        ("authorization", format!("Bearer {KEY}").as_str()),
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("openai-organization", "org-1"),
        ("openai-project", "proj_1"),
        ("user-agent", concat!("chatkit-server/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(requests[0].header(name), Some(value), "{name}");
    }
    assert_eq!(requests[1].header("authorization"), None);
    assert_eq!(requests[1].line, "POST /v1/responses?api-version=preview");
}
