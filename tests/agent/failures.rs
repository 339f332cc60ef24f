//! Does an answer that fails say truthfully whether trying again makes sense, and nothing that
//! nobody should know?

use chatkit_server::agent::{AgentError, AgentEvent};
use serde_json::{Value, json};

use crate::setup::{Model, agent, answer, frame, message};

fn refusal(r#type: &str, code: &str) -> String {
    json!({"error": {"message": "No: sk-mine", "type": r#type, "param": null, "code": code}})
        .to_string()
}

async fn outcome(reply: (u16, String)) -> AgentError {
    let model = Model::start([reply]).await;
    let (_, outcome) = answer(&agent(&model.base, &[]), &[message("Hi", &json!({}))]).await;
    outcome.expect_err("the model failed")
}

#[tokio::test]
async fn trying_again_is_offered_where_it_can_help() {
    let failed = json!({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}});
    let incomplete = json!({"type": "response.incomplete",
        "response": {"incomplete_details": {"reason": "max_output_tokens"}}});
    let delta = json!({"type": "response.output_text.delta", "item_id": "m", "delta": "Hel"});
    for (reply, helps) in [
        ((400, refusal("invalid_request_error", "unsupported_parameter")), false),
        ((401, refusal("invalid_request_error", "invalid_api_key")), false),
        ((404, refusal("invalid_request_error", "model_not_found")), false),
        ((429, refusal("insufficient_quota", "insufficient_quota")), false),
        ((429, refusal("rate_limit_error", "rate_limit_exceeded")), true),
        ((500, refusal("server_error", "server_error")), true),
        ((503, refusal("server_error", "server_is_overloaded")), true),
        ((200, frame(&failed)), true),
        ((200, frame(&incomplete)), true),
        ((200, frame(&delta)), true),
        ((200, "data: {\n\n".to_owned()), true),
    ] {
        let shown = format!("{reply:?}");
        let AgentError::Failed { cause, allow_retry } = outcome(reply).await else {
            panic!("{shown} is told")
        };
        assert_eq!(allow_retry, helps, "{shown}: {cause}");
        assert!(cause.starts_with("the model failed: ") && !cause.contains("sk-mine"), "{cause}");
        assert!(cause.ends_with(" (agent \"default\", model \"m\")"), "{cause}");
    }
}

#[tokio::test]
async fn a_thread_that_is_too_long_is_told_to_the_person() {
    let error = outcome((400, refusal("invalid_request_error", "context_length_exceeded"))).await;
    let AgentError::Told { message, allow_retry: false } = error else { panic!("{error:?}") };
    assert!(message.contains("too long"), "{message}");
}

#[tokio::test]
async fn an_answer_that_ends_waiting_for_an_approval_fails_and_says_what_to_set() {
    let done = |item: Value| json!({"type": "response.output_item.done", "item": item});
    let approval =
        done(json!({"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "orders",
        "name": "cancel_order", "arguments": "{}"}));
    let words = done(json!({"type": "message", "id": "m",
        "content": [{"type": "output_text", "text": "Let me see.", "annotations": []}]}));
    let expected = "\"cancel_order\" of the MCP server \"orders\" waits for an approval: set the \
                    tool's require_approval to \"never\"";
    for (events, shown) in [(vec![approval.clone()], 0), (vec![words.clone(), approval.clone()], 1)]
    {
        let model = Model::saying(&events).await;
        let (said, outcome) = answer(&agent(&model.base, &[]), &[message("Hi", &json!({}))]).await;
        let failed = AgentError::Failed { cause: expected.to_owned(), allow_retry: false };
        assert_eq!((said.len(), outcome), (shown, Err(failed)), "{events:?}");
    }
    let model = Model::saying(&[approval, words]).await;
    let (_, outcome) = answer(&agent(&model.base, &[]), &[message("Hi", &json!({}))]).await;
    assert_eq!(outcome, Ok(()), "it went on");
}

#[tokio::test]
async fn what_came_before_a_failure_was_said() {
    let events: [Value; 2] = [
        json!({"type": "response.output_item.added", "item": {"type": "message", "id": "m", "content": []}}),
        json!({"type": "response.output_text.delta", "item_id": "m", "content_index": 0, "delta": "Hel"}),
    ];
    let model = Model::start([(200, events.iter().map(frame).collect())]).await;
    let (said, outcome) = answer(&agent(&model.base, &[]), &[message("Hi", &json!({}))]).await;
    assert!(outcome.is_err());
    assert!(
        matches!(
            &said[..],
            [
                AgentEvent::ItemAdded(_),
                AgentEvent::ItemUpdated { .. },
                AgentEvent::ItemUpdated { .. }
            ]
        ),
        "{said:?}"
    );
}
