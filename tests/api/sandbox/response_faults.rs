//! Which requests for a response are refused, and in which words?

use anyhow::Result;
use serde_json::{Value, json};

use super::model::RESPONSES;
use super::{Caller, invalid, read};

/// The status and the body of an answer.
async fn fault(caller: &Caller, body: &Value) -> Result<(u16, Value)> {
    read(caller.post(RESPONSES, body).await?).await
}

#[tokio::test]
async fn calls_and_outputs_must_belong_together() -> Result<()> {
    let caller = Caller::start().await?;
    let user = json!({ "role": "user", "content": "hi" });
    let call =
        json!({ "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}" });
    let output = json!({ "type": "function_call_output", "call_id": "call_1", "output": "done" });
    let thought = json!({ "type": "reasoning", "id": "rs_1", "summary": [] });
    let without_output = "No tool output found for function call call_1.";
    let without_call = "No tool call found for function call output with call_id call_1.";
    let without_item =
        "Item 'rs_1' of type 'reasoning' was provided without its required following item.";
    for (input, message) in [
        (json!([user, call]), without_output),
        (json!([user, call, user]), without_output),
        (json!([user, output]), without_call),
        (json!([output, call]), without_call),
        (json!([user, thought]), without_item),
        (json!([user, thought, user]), without_item),
    ] {
        let mut expected = invalid(message, None);
        expected["error"]["param"] = json!("input");
        let body = json!({ "model": "m", "input": input });
        assert_eq!(fault(&caller, &body).await?, (400, expected), "{input}");
    }
    let good = json!({ "model": "m", "input": [user, thought, call, output, user] });
    assert_eq!(fault(&caller, &good).await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn a_body_that_openai_would_not_take_is_refused_with_the_field() -> Result<()> {
    let caller = Caller::start().await?;
    let with =
        |content: Value| json!({ "model": "m", "input": [{ "role": "user", "content": content }] });
    let role = |role: &str| json!({ "model": "m", "input": [{ "role": role, "content": "x" }] });
    let more = |name: &str, value: Value| json!({ "model": "m", "input": "x", name: value });
    for (body, param, code) in [
        (json!({ "input": "x" }), "model", "missing_required_parameter"),
        (json!({ "model": "m" }), "input", "missing_required_parameter"),
        (json!({ "model": "m", "input": 1 }), "input", "invalid_type"),
        (json!({ "model": "m", "input": ["x"] }), "input[0]", "invalid_type"),
        (
            json!({ "model": "m", "input": [{ "role": "user" }] }),
            "input[0].content",
            "missing_required_parameter",
        ),
        (json!({ "model": "m", "input": [{ "type": "thing" }] }), "input[0]", "invalid_value"),
        (role("tool"), "input[0].role", "invalid_value"),
        (
            with(json!([{ "type": "output_text", "text": "x" }])),
            "input[0].content[0]",
            "invalid_value",
        ),
        (
            with(json!([{ "type": "input_text" }])),
            "input[0].content[0].text",
            "missing_required_parameter",
        ),
        (
            with(json!([{ "type": "input_image" }])),
            "input[0].content[0].image_url",
            "missing_required_parameter",
        ),
        (
            with(
                json!([{ "type": "input_image", "image_url": "data:application/pdf;base64,AAAA" }]),
            ),
            "input[0].content[0].image_url",
            "invalid_value",
        ),
        (
            with(json!([{ "type": "input_image", "image_url": "data:image/png;base64,?" }])),
            "input[0].content[0].image_url",
            "invalid_base64",
        ),
        (
            with(
                json!([{ "type": "input_file", "file_data": "data:application/pdf;base64,AAAA" }]),
            ),
            "input[0].content[0].filename",
            "missing_required_parameter",
        ),
        (more("nonsense", json!(1)), "nonsense", "unknown_parameter"),
        (more("stream", json!("yes")), "stream", "invalid_type"),
        (more("max_output_tokens", json!(15)), "max_output_tokens", "integer_below_min_value"),
        (more("temperature", json!(2.5)), "temperature", "decimal_above_max_value"),
        (more("reasoning", json!({ "effort": "huge" })), "reasoning.effort", "invalid_value"),
        (more("include", json!(["everything"])), "include[0]", "invalid_value"),
        (
            more("previous_response_id", json!("resp_1")),
            "previous_response_id",
            "previous_response_not_found",
        ),
        (more("stream_options", json!({})), "stream_options", "invalid_value"),
        (more("tool_choice", json!("required")), "tool_choice", "invalid_value"),
    ] {
        assert_refused(&caller, &body, param, code).await?;
    }
    let reference = json!({ "model": "m", "input": [{ "type": "item_reference", "id": "msg_1" }] });
    assert_eq!(fault(&caller, &reference).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn a_tool_that_openai_would_not_take_is_refused_with_the_field() -> Result<()> {
    let caller = Caller::start().await?;
    let loose = json!({ "type": "object" });
    let strict = json!({ "type": "function", "name": "f", "strict": true, "parameters": loose });
    for (tool, param, code) in [
        (json!({ "type": "function" }), "tools[0].name", "missing_required_parameter"),
        (json!({ "type": "function", "name": "a b" }), "tools[0].name", "invalid_value"),
        (json!({ "type": "hammer" }), "tools[0].type", "invalid_value"),
        (
            json!({ "type": "function", "name": "f", "parameters": {} }),
            "tools[0].parameters",
            "invalid_function_parameters",
        ),
        (strict, "tools[0].parameters", "invalid_function_parameters"),
        (
            json!({ "type": "file_search" }),
            "tools[0].vector_store_ids",
            "missing_required_parameter",
        ),
    ] {
        let body = json!({ "model": "m", "input": "x", "tools": [tool] });
        assert_refused(&caller, &body, param, code).await?;
    }
    Ok(())
}

/// The body is refused with 400, and the error names this parameter.
async fn assert_refused(caller: &Caller, body: &Value, param: &str, code: &str) -> Result<()> {
    let (status, answer) = fault(caller, body).await?;
    let error = &answer["error"];
    assert_eq!(
        (status, &error["param"], &error["code"]),
        (400, &json!(param), &json!(code)),
        "{body}\n{answer}"
    );
    Ok(())
}
