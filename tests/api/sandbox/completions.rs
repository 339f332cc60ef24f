//! Do chat completions stream, answer and refuse as OpenAI's do?

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::model::{COMPLETIONS, question};
use super::{Caller, invalid, read};

/// The chunks of a stream without its `[DONE]`, which must be there.
async fn chunks(caller: &Caller, body: &Value) -> Result<Vec<Value>> {
    let mut events = caller.stream(COMPLETIONS, body).await?;
    let (_, done) = events.pop().context("an end")?;
    assert_eq!(done, "[DONE]");
    for (name, data) in &events {
        assert_eq!(
            (name, &data["object"], &data["id"]),
            (&None, &json!("chat.completion.chunk"), &events[0].1["id"])
        );
    }
    Ok(events.into_iter().map(|(_, data)| data).collect())
}

/// A member of all deltas, put together.
fn said(chunks: &[Value], name: &str) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][name].as_str()).collect()
}

fn finish(chunks: &[Value]) -> Value {
    chunks.iter().rfind(|chunk| chunk["choices"][0].is_object()).map_or(Value::Null, |chunk| {
        assert_eq!(chunk["choices"][0]["delta"], json!({}));
        chunk["choices"][0]["finish_reason"].clone()
    })
}

#[tokio::test]
async fn a_text_streams_in_chunks_and_ends_with_done() -> Result<()> {
    let caller = Caller::start().await?;
    let mut body = question(COMPLETIONS, "Hello there");
    let chunks_without = chunks(&caller, &body).await?;
    assert!(chunks_without.iter().all(|chunk| chunk.get("usage").is_none()));
    body["stream_options"] = json!({ "include_usage": true, "include_obfuscation": false });
    let chunks = chunks(&caller, &body).await?;
    let role = json!({ "role": "assistant", "content": "", "refusal": null });
    assert_eq!(chunks[0]["choices"][0]["delta"], role);
    let mut first = chunks[1].clone();
    assert!(first["id"].take().as_str().is_some_and(|id| id.starts_with("chatcmpl-")));
    assert_eq!(
        first,
        json!({
            "id": null, "object": "chat.completion.chunk", "created": super::NOW, "model": "gpt-5",
            "service_tier": "default", "system_fingerprint": "fp_sandbox", "usage": null,
            "choices": [{ "index": 0, "delta": { "content": "You " }, "logprobs": null, "finish_reason": null }],
        })
    );
    let expected = "You said: \"Hello there\". This is the first message I see.";
    assert_eq!((said(&chunks, "content"), finish(&chunks)), (expected.to_owned(), json!("stop")));
    let cost = chunks.last().context("the last chunk")?;
    assert_eq!((&cost["choices"], &cost["usage"]["completion_tokens"]), (&json!([]), &json!(11)));
    Ok(())
}

#[tokio::test]
async fn without_a_stream_the_same_completion_comes_in_one_piece() -> Result<()> {
    let caller = Caller::start().await?;
    let mut body = question(COMPLETIONS, "think search cite");
    let chunks = chunks(&caller, &body).await?;
    body["stream"] = json!(false);
    let (status, whole) = read(caller.post(COMPLETIONS, &body).await?).await?;
    let choice = &whole["choices"][0];
    assert_eq!(
        (status, &whole["object"], &choice["finish_reason"]),
        (200, &json!("chat.completion"), &json!("stop"))
    );
    let message = &choice["message"];
    assert_eq!(message["content"], said(&chunks, "content"));
    assert_eq!(message["reasoning_content"], said(&chunks, "reasoning_content"));
    assert!(!said(&chunks, "reasoning_content").is_empty());
    let streamed = chunks.iter().find_map(|chunk| chunk["choices"][0]["delta"].get("annotations"));
    assert_eq!(Some(&message["annotations"]), streamed);
    assert_eq!(message["annotations"][0]["url_citation"]["title"], "About the sandbox");
    Ok(())
}

#[tokio::test]
async fn what_was_given_is_told() -> Result<()> {
    let caller = Caller::start().await?;
    let body = json!({ "model": "m", "messages": [
        { "role": "developer", "content": "Be brief." },
        { "role": "user", "content": "first" },
        { "role": "assistant", "content": "answer" },
        { "role": "user", "content": [
            { "type": "text", "text": "look" },
            { "type": "image_url", "image_url": { "url": "https://example.com/a.png", "detail": "auto" } },
            { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" } },
        ] },
    ] });
    let (_, whole) = read(caller.post(COMPLETIONS, &body).await?).await?;
    let expected = "You said: \"look\". I see 2 earlier messages. You attached an image \
                    (https://example.com/a.png) and the file \"a.pdf\" (application/pdf, 3 bytes).";
    assert_eq!(whole["choices"][0]["message"]["content"], expected);
    Ok(())
}

#[tokio::test]
async fn tools_are_called_side_by_side_and_their_outputs_told() -> Result<()> {
    let caller = Caller::start().await?;
    let tool = |name: &str| {
        let parameters = json!({ "type": "object", "properties": { "q": { "type": "string" } } });
        json!({ "type": "function", "function": { "name": name, "parameters": parameters } })
    };
    let mut body = question(COMPLETIONS, "tools");
    body["tools"] = json!([tool("one"), tool("two")]);
    let chunks = chunks(&caller, &body).await?;
    assert_eq!((said(&chunks, "content"), finish(&chunks)), (String::new(), json!("tool_calls")));
    let mut calls =
        [json!({ "function": { "arguments": "" } }), json!({ "function": { "arguments": "" } })];
    for piece in
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0].as_object())
    {
        let call = &mut calls[usize::try_from(piece["index"].as_u64().context("index")?)?];
        let arguments = call["function"]["arguments"].as_str().context("arguments")?.to_owned();
        for name in ["id", "type"] {
            if let Some(value) = piece.get(name) {
                call[name] = value.clone();
            }
        }
        if let Some(name) = piece["function"].get("name") {
            call["function"]["name"] = name.clone();
        }
        call["function"]["arguments"] =
            json!(arguments + piece["function"]["arguments"].as_str().context("arguments")?);
    }
    let arguments = json!({ "q": "tools" }).to_string();
    for (call, name) in calls.iter().zip(["one", "two"]) {
        assert_eq!(call["function"], json!({ "name": name, "arguments": arguments }));
    }
    let answers = calls
        .iter()
        .map(|call| json!({ "role": "tool", "tool_call_id": call["id"], "content": "fine" }));
    let mut messages = vec![body["messages"][0].clone()];
    messages.push(json!({ "role": "assistant", "content": null, "tool_calls": calls }));
    messages.extend(answers);
    body["messages"] = json!(messages);
    body["stream"] = json!(false);
    let (_, whole) = read(caller.post(COMPLETIONS, &body).await?).await?;
    let told = whole["choices"][0]["message"]["content"].as_str().context("content")?;
    assert!(
        told.starts_with("The tool one answered: fine. The tool two answered: fine."),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn a_refusal_a_failure_and_a_lack_of_tokens_show() -> Result<()> {
    let caller = Caller::start().await?;
    let refused = chunks(&caller, &question(COMPLETIONS, "refuse")).await?;
    assert_eq!((said(&refused, "content").as_str(), finish(&refused)), ("", json!("stop")));
    assert_eq!(said(&refused, "refusal"), "I'm sorry, but I can't help with that.");
    let short = chunks(&caller, &question(COMPLETIONS, "incomplete")).await?;
    assert_eq!(finish(&short), "length");
    let mut body = question(COMPLETIONS, "hello");
    body["max_completion_tokens"] = json!(2);
    assert_eq!(said(&chunks(&caller, &body).await?, "content"), "You said: ");

    let mut body = question(COMPLETIONS, "fail");
    let failed = caller.stream(COMPLETIONS, &body).await?;
    assert_eq!(failed.last().context("an end")?.1["error"]["type"], "server_error");
    assert!(failed.len() > 3, "in the middle of the answer");
    body["stream"] = json!(false);
    assert_eq!(read(caller.post(COMPLETIONS, &body).await?).await?.0, 500);
    Ok(())
}

#[tokio::test]
async fn calls_and_outputs_must_belong_together() -> Result<()> {
    let caller = Caller::start().await?;
    let user = json!({ "role": "user", "content": "hi" });
    let call = json!({ "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let call = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
    let output = json!({ "role": "tool", "tool_call_id": "call_1", "content": "done" });
    let without_output = "An assistant message with 'tool_calls' must be followed by tool messages \
                          responding to each 'tool_call_id'. The following tool_call_ids did not \
                          have response messages: call_1";
    let without_call = "Invalid parameter: messages with role 'tool' must be a response to a \
                        preceeding message with 'tool_calls'.";
    for (messages, message, at) in [
        (json!([user, call]), without_output, 2),
        (json!([user, call, user, output]), without_output, 2),
        (json!([user, output]), without_call, 1),
        (json!([user, call, output, output]), without_call, 3),
    ] {
        let mut expected = invalid(message, None);
        expected["error"]["param"] = json!(format!("messages.[{at}].role"));
        let body = json!({ "model": "m", "messages": messages });
        assert_eq!(
            read(caller.post(COMPLETIONS, &body).await?).await?,
            (400, expected),
            "{messages}"
        );
    }
    let good = json!({ "model": "m", "messages": [user, call, output, user] });
    assert_eq!(read(caller.post(COMPLETIONS, &good).await?).await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn a_body_that_openai_would_not_take_is_refused_with_the_field() -> Result<()> {
    let caller = Caller::start().await?;
    let with = |content: Value| json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
    let message = |message: Value| json!({ "model": "m", "messages": [message] });
    let user = json!([{ "role": "user", "content": "x" }]);
    let tool = |tool: Value| json!({ "model": "m", "messages": user, "tools": [tool] });
    for (body, param, code) in [
        (json!({ "messages": user }), json!(null), json!(null)),
        (json!({ "model": "m" }), json!("messages"), json!("missing_required_parameter")),
        (json!({ "model": "m", "messages": [] }), json!("messages"), json!("empty_array")),
        (
            message(json!({ "content": "x" })),
            json!("messages[0].role"),
            json!("missing_required_parameter"),
        ),
        (
            message(json!({ "role": "bot", "content": "x" })),
            json!("messages[0].role"),
            json!("invalid_value"),
        ),
        (
            message(json!({ "role": "user", "content": null })),
            json!("messages.[0].content"),
            json!(null),
        ),
        (
            message(json!({ "role": "tool", "content": "x" })),
            json!("messages[0].tool_call_id"),
            json!("missing_required_parameter"),
        ),
        (
            with(json!([{ "type": "input_text", "text": "x" }])),
            json!("messages[0].content[0].type"),
            json!("invalid_value"),
        ),
        (
            with(json!([{ "type": "image_url", "image_url": { "url": "ftp://x" } }])),
            json!("messages[0].content[0].image_url.url"),
            json!("invalid_value"),
        ),
        (tool(json!({ "type": "web_search" })), json!("tools[0].type"), json!("invalid_value")),
        (
            tool(json!({ "type": "function", "name": "f" })),
            json!("tools[0].function"),
            json!("missing_required_parameter"),
        ),
        (
            json!({ "model": "m", "messages": user, "stream_options": { "include_usage": true } }),
            json!("stream_options"),
            json!("invalid_value"),
        ),
        (
            json!({ "model": "m", "messages": user, "input": "x" }),
            json!("input"),
            json!("unknown_parameter"),
        ),
    ] {
        let (status, answer) = read(caller.post(COMPLETIONS, &body).await?).await?;
        let error = &answer["error"];
        assert_eq!(
            (status, &error["param"], &error["code"]),
            (400, &param, &code),
            "{body}\n{answer}"
        );
    }
    Ok(())
}
