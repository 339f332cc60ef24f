//! Does the Responses API stream, answer and refuse as OpenAI's does?

use anyhow::{Context, Result};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::model::{RESPONSES, question};
use super::{Caller, read};

/// The names of the events; of deltas in a row only the first, with a star.
fn order(events: &[(Option<String>, Value)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, data) in events {
        let name = name.as_deref().expect("each event has a name");
        assert_eq!(data["type"], name);
        let short = name.trim_start_matches("response.");
        let short = if short.ends_with(".delta") { format!("{short}*") } else { short.to_owned() };
        if !(short.ends_with('*') && names.last() == Some(&short)) {
            names.push(short);
        }
    }
    names
}

/// All deltas of this kind, put together.
fn said(events: &[(Option<String>, Value)], kind: &str) -> String {
    events
        .iter()
        .filter(|(name, _)| name.as_deref() == Some(kind))
        .filter_map(|(_, data)| data["delta"].as_str())
        .collect()
}

fn last(events: &[(Option<String>, Value)]) -> Result<&Value> {
    Ok(&events.last().context("a last event")?.1["response"])
}

/// The text of the message at the end of the output.
fn text(response: &Value) -> &str {
    let output = response["output"].as_array().expect("an output");
    output.last().expect("an item")["content"][0]["text"].as_str().expect("a text")
}

const FRAME: [&str; 2] = ["created", "in_progress"];
const MESSAGE: [&str; 6] = [
    "output_item.added",
    "content_part.added",
    "output_text.delta*",
    "output_text.done",
    "content_part.done",
    "output_item.done",
];

#[tokio::test]
async fn a_text_streams_in_openais_order() -> Result<()> {
    let caller = Caller::start().await?;
    let events = caller.stream(RESPONSES, &question(RESPONSES, "Hello there")).await?;
    assert_eq!(order(&events), [&FRAME[..], &MESSAGE, &["completed"]].concat());
    for (number, (_, data)) in events.iter().enumerate() {
        assert_eq!(data["sequence_number"], number);
    }
    let expected = "You said: \"Hello there\". This is the first message I see.";
    assert_eq!(said(&events, "response.output_text.delta"), expected);
    let added = &events[2].1;
    let id = added["item"]["id"].as_str().context("an id")?;
    assert!(id.starts_with("msg_") && id.len() == 36, "{id}");
    let item = |status: &str, content: Value| json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content });
    assert_eq!(added["item"], item("in_progress", json!([])));
    let part =
        json!({ "type": "output_text", "text": expected, "annotations": [], "logprobs": [] });
    let done = &events[events.len() - 2].1;
    assert_eq!(done["item"], item("completed", json!([part])));
    let mut delta = events[4].1.clone();
    assert!(delta["obfuscation"].take().is_string(), "deltas are padded");
    assert_eq!(
        delta,
        json!({
            "type": "response.output_text.delta", "sequence_number": 4, "item_id": id, "output_index": 0,
            "content_index": 0, "delta": "You ", "logprobs": [], "obfuscation": null,
        })
    );
    let (begun, ended) = (&events[0].1["response"], last(&events)?);
    assert_eq!(
        (&begun["status"], &begun["output"], &begun["usage"]),
        (&json!("in_progress"), &json!([]), &json!(null))
    );
    assert_eq!((&ended["status"], &ended["output"]), (&json!("completed"), &json!([done["item"]])));
    assert_eq!(ended["usage"]["output_tokens"], 11);
    assert_eq!(begun["id"], ended["id"]);
    assert_eq!(ended["created_at"], super::NOW);
    Ok(())
}

#[tokio::test]
async fn without_a_stream_the_same_response_comes_in_one_piece() -> Result<()> {
    let caller = Caller::start().await?;
    let mut body = question(RESPONSES, "think search cite tool image hello");
    body["instructions"] = json!("Be brief.");
    body["metadata"] = json!({ "b": "1", "a": "2" });
    let events = caller.stream(RESPONSES, &body).await?;
    body["stream"] = json!(false);
    let (status, mut whole) = read(caller.post(RESPONSES, &body).await?).await?;
    let mut streamed = last(&events)?.clone();
    for response in [&mut whole, &mut streamed] {
        assert!(response["id"].take().as_str().is_some_and(|id| id.starts_with("resp_")));
        for item in response["output"].as_array_mut().context("an output")? {
            assert!(item["id"].take().is_string());
        }
    }
    assert_eq!((status, &whole), (200, &streamed));
    assert_eq!((&whole["instructions"], &whole["store"]), (&json!("Be brief."), &json!(true)));
    assert_eq!(whole["metadata"], body["metadata"]);
    Ok(())
}

#[tokio::test]
async fn no_two_answers_share_an_id() -> Result<()> {
    let caller = Caller::start().await?;
    let body = question(RESPONSES, "hello");
    let (first, second) =
        (caller.stream(RESPONSES, &body).await?, caller.stream(RESPONSES, &body).await?);
    assert_ne!(last(&first)?["id"], last(&second)?["id"]);
    assert_ne!(last(&first)?["output"][0]["id"], last(&second)?["output"][0]["id"]);
    Ok(())
}

#[tokio::test]
async fn what_was_given_is_told() -> Result<()> {
    let caller = Caller::start().await?;
    let message =
        |role: &str, content: Value| json!({ "type": "message", "role": role, "content": content });
    let body = json!({ "model": "gpt-5", "input": [
        message("user", json!("first")),
        message("assistant", json!([{ "type": "output_text", "text": "answer", "annotations": [] }])),
        message("user", json!([
            { "type": "input_text", "text": "Hi @Ada" },
            { "type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,AAAA" },
            { "type": "input_file", "filename": "plan.pdf", "file_data": "data:application/pdf;base64,AAA=" },
        ])),
        message("user", json!("The user is referring to this in particular: \nthe quote")),
        message("user", json!([
            { "type": "input_text", "text": "# User-provided context for @-mentions\n- a\n- b" },
            { "type": "input_text", "text": "Ada wrote a program" },
        ])),
    ] });
    let (_, response) = read(caller.post(RESPONSES, &body).await?).await?;
    let expected = "You said: \"Hi @Ada\". I see 2 earlier messages. You attached an image \
                    (image/png, 3 bytes) and the file \"plan.pdf\" (application/pdf, 2 bytes). You \
                    refer to: \"the quote\". I was given this context: \"Ada wrote a program\".";
    assert_eq!(text(&response), expected);
    Ok(())
}

#[tokio::test]
async fn thoughts_show_their_summaries_to_those_who_ask() -> Result<()> {
    let caller = Caller::start().await?;
    let mut body = question(RESPONSES, "think");
    let bare = ["output_item.added", "output_item.done"];
    let events = caller.stream(RESPONSES, &body).await?;
    assert_eq!(order(&events), [&FRAME[..], &bare, &MESSAGE, &["completed"]].concat());
    assert_eq!(last(&events)?["output"][0]["summary"], json!([]));

    body["reasoning"] = json!({ "effort": "low", "summary": "auto" });
    body["include"] = json!(["reasoning.encrypted_content"]);
    let events = caller.stream(RESPONSES, &body).await?;
    let summary = [
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta*",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ];
    let expected =
        [&FRAME[..], &bare[..1], &summary, &summary, &bare[1..], &MESSAGE, &["completed"]].concat();
    assert_eq!(order(&events), expected);
    let item = &last(&events)?["output"][0];
    let texts: String = item["summary"]
        .as_array()
        .context("two")?
        .iter()
        .filter_map(|part| part["text"].as_str())
        .collect();
    assert_eq!(texts, said(&events, "response.reasoning_summary_text.delta"));
    assert!(item["encrypted_content"].is_string());
    assert!(
        last(&events)?["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64() > Some(0)
    );
    Ok(())
}

#[tokio::test]
async fn a_search_comes_before_the_answer_that_cites_it() -> Result<()> {
    let caller = Caller::start().await?;
    let mut body = question(RESPONSES, "search the news");
    let events = caller.stream(RESPONSES, &body).await?;
    let search = [
        "output_item.added",
        "web_search_call.in_progress",
        "web_search_call.searching",
        "web_search_call.completed",
        "output_item.done",
    ];
    let mut message = MESSAGE.to_vec();
    message.insert(3, "output_text.annotation.added");
    assert_eq!(order(&events), [&FRAME[..], &search, &message, &["completed"]].concat());
    let response = last(&events)?;
    let action =
        json!({ "type": "search", "query": "search the news", "queries": ["search the news"] });
    assert_eq!(response["output"][0]["action"], action);
    let annotation = &response["output"][1]["content"][0]["annotations"][0];
    let place =
        |name: &str| annotation[name].as_u64().and_then(|at| usize::try_from(at).ok()).expect(name);
    let cited: String =
        text(response).chars().take(place("end_index")).skip(place("start_index")).collect();
    assert_eq!(
        (annotation["type"].as_str(), annotation["title"].as_str()),
        (Some("url_citation"), Some(&*cited))
    );

    body["include"] = json!(["web_search_call.action.sources"]);
    let events = caller.stream(RESPONSES, &body).await?;
    assert_eq!(last(&events)?["output"][0]["action"]["sources"][0]["type"], "url");
    Ok(())
}

#[tokio::test]
async fn a_file_and_a_page_can_be_cited() -> Result<()> {
    let caller = Caller::start().await?;
    let events = caller.stream(RESPONSES, &question(RESPONSES, "cite please")).await?;
    let added: Vec<&Value> = events
        .iter()
        .filter(|(name, _)| name.as_deref() == Some("response.output_text.annotation.added"))
        .map(|(_, data)| &data["annotation"])
        .collect();
    let kinds: Vec<_> =
        added.iter().map(|annotation| annotation["type"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["file_citation", "url_citation"]);
    assert_eq!(json!(added), last(&events)?["output"][0]["content"][0]["annotations"]);
    Ok(())
}

fn weather() -> Value {
    json!({ "type": "function", "name": "get_weather", "description": "", "strict": true, "parameters": {
        "type": "object", "additionalProperties": false, "required": ["city", "days"],
        "properties": { "city": { "type": "string" }, "days": { "type": "integer", "minimum": 2 } },
    } })
}

#[tokio::test]
async fn a_tool_is_called_and_its_output_told() -> Result<()> {
    let caller = Caller::start().await?;
    let mut body = question(RESPONSES, "use the tool");
    body["tools"] = json!([weather(), { "type": "web_search" }]);
    let events = caller.stream(RESPONSES, &body).await?;
    let call = [
        "output_item.added",
        "function_call_arguments.delta*",
        "function_call_arguments.done",
        "output_item.done",
    ];
    assert_eq!(order(&events), [&FRAME[..], &call, &["completed"]].concat());
    let item = &last(&events)?["output"][0];
    let arguments = said(&events, "response.function_call_arguments.delta");
    assert_eq!((&item["name"], &item["arguments"]), (&json!("get_weather"), &json!(arguments)));
    let arguments: Value = serde_json::from_str(&arguments)?;
    assert_eq!(arguments, json!({ "city": "use the tool", "days": 2 }));
    let call_id = item["call_id"].as_str().context("call_id")?;
    assert!(call_id.starts_with("call_"), "{call_id}");

    let output = json!({ "type": "function_call_output", "call_id": call_id, "output": "{\"sky\":\"blue\"}" });
    let input = body["input"].as_array_mut().context("input")?;
    input.extend([item.clone(), output]);
    let events = caller.stream(RESPONSES, &body).await?;
    let told = text(last(&events)?);
    assert!(told.starts_with("The tool get_weather answered: {\"sky\":\"blue\"}."), "{told}");
    Ok(())
}

#[tokio::test]
async fn which_tools_are_called_is_up_to_words_and_choice() -> Result<()> {
    let caller = Caller::start().await?;
    let tool = |name: &str| json!({ "type": "function", "name": name, "parameters": null, "strict": null });
    for (words, choice, called) in [
        ("tool", json!("auto"), vec!["one"]),
        ("tool two", json!("auto"), vec!["two"]),
        ("tools", json!("auto"), vec!["one", "two"]),
        ("tool", json!("none"), vec![]),
        ("hello", json!("auto"), vec![]),
        ("hello", json!("required"), vec!["one"]),
        ("hello", json!({ "type": "function", "name": "two" }), vec!["two"]),
    ] {
        let body = json!({
            "model": "m", "input": words, "tools": [tool("one"), tool("two")], "tool_choice": choice,
        });
        let (_, response) = read(caller.post(RESPONSES, &body).await?).await?;
        let output = response["output"].as_array().context("output")?;
        let names: Vec<_> = output.iter().filter_map(|item| item["name"].as_str()).collect();
        assert_eq!(names, called, "{words} {choice}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_an_image_a_failure_and_a_lack_of_tokens_have_their_own_events() -> Result<()> {
    let caller = Caller::start().await?;
    let events = caller.stream(RESPONSES, &question(RESPONSES, "refuse")).await?;
    let refusal = [
        "output_item.added",
        "content_part.added",
        "refusal.delta*",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ];
    assert_eq!(order(&events), [&FRAME[..], &refusal, &["completed"]].concat());
    let content = &last(&events)?["output"][0]["content"][0];
    assert_eq!(
        content,
        &json!({ "type": "refusal", "refusal": said(&events, "response.refusal.delta") })
    );

    let mut body = question(RESPONSES, "image");
    body["tools"] = json!([{ "type": "image_generation", "partial_images": 1 }]);
    let events = caller.stream(RESPONSES, &body).await?;
    let image = ["in_progress", "generating", "partial_image", "completed"];
    let image = image.map(|step| format!("image_generation_call.{step}"));
    assert_eq!(order(&events)[3..7], image);
    let picture = last(&events)?["output"][0]["result"].as_str().context("a picture")?;
    let picture = BASE64.decode(picture.as_bytes())?;
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n") && picture.ends_with(b"IEND\xaeB`\x82"));

    let events = caller.stream(RESPONSES, &question(RESPONSES, "fail")).await?;
    assert_eq!(order(&events), [&FRAME[..], &MESSAGE[..3], &["failed"]].concat());
    let failed = last(&events)?;
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("server_error"))
    );

    let mut short = question(RESPONSES, "hello");
    short["max_output_tokens"] = json!(16);
    short["input"][0]["content"] =
        json!("these words are many more than the tokens that there are for them all");
    for body in [question(RESPONSES, "incomplete"), short] {
        let events = caller.stream(RESPONSES, &body).await?;
        assert_eq!(order(&events), [&FRAME[..], &MESSAGE, &["incomplete"]].concat());
        let response = last(&events)?;
        assert_eq!(response["incomplete_details"], json!({ "reason": "max_output_tokens" }));
        assert_eq!(response["output"][0]["status"], "incomplete");
    }
    Ok(())
}
