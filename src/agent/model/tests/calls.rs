//! Do client tools and images come through?

use serde_json::json;

use super::*;

#[test]
fn the_last_client_tool_call_comes_at_the_end_and_a_list_that_is_open_is_kept() {
    let fed = Fed::new();
    let events = fed.all(vec![
        reasoning("r"),
        call("get_selection", "call_1"),
        call("other", "call_2"),
        COMPLETED,
    ]);
    assert_eq!(
        named(&events),
        [
            json!({"added": workflow(&[], None)}),
            json!({"kept": workflow(&[], None)}),
            json!({"done": {"id": "tc0", "type": "client_tool_call", "status": "pending", "call_id": "call_2",
                "name": "other", "arguments": {"project": "apollo", "none": null}}}),
        ]
    );
}

#[test]
fn a_call_without_an_id_gets_one_and_a_call_of_nothing_fails() {
    let fed = Fed::new();
    let events = fed.all(vec![call("other", ""), COMPLETED]);
    assert_eq!(events[0]["done"]["call_id"].as_str().unwrap().len(), "call_".len() + 32);
    let mut answer = fed.answer(Vec::new());
    assert_eq!(
        answer.apply(call("rm", "call_1"), &mut Vec::new()),
        Ok(None),
        "the server may run it itself"
    );
    let failed = answer.apply(COMPLETED, &mut Vec::new());
    let cause = "the model called a function that it was not given: \"rm\"".to_owned();
    assert_eq!(failed, Err(AgentError::Failed { cause, allow_retry: true }));
}

#[test]
fn an_image_gets_clearer_and_is_drawn() {
    let fed = Fed::new();
    let sketch =
        |index| ModelEvent::ImagePartial { item_id: id("ig"), index, b64: "QQ==".to_owned() };
    let done = ModelEvent::ImageDone {
        item_id: id("ig"),
        b64: "Qg==".to_owned(),
        format: "webp".to_owned(),
    };
    let events = named(&fed.all(vec![
        ModelEvent::ImageAdded { item_id: id("ig") },
        sketch(0),
        sketch(1),
        sketch(5),
        done,
        COMPLETED,
    ]));
    let update = |progress: f64| {
        json!({"item": "msg0", "update": {"type": "generated_image.updated", "progress": progress,
            "image": {"id": "ig", "url": "data:image/png;base64,QQ=="}}})
    };
    assert_eq!(
        events,
        [
            json!({"added": {"id": "msg0", "type": "generated_image"}}),
            update(0.0),
            update(0.5),
            update(1.0),
            json!({"drawn": {"id": "msg0", "type": "generated_image"}, "image": ["ig", "Qg==", "webp"]}),
        ]
    );
}
