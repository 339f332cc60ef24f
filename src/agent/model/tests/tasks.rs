//! Is what a model does before it speaks shown as one list?

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

#[test]
fn thoughts_are_one_list_and_only_the_first_is_shown_while_it_grows() {
    let fed = Fed::new();
    let (mut answer, mut out) = (fed.answer(Vec::new()), Vec::new());
    let mut feed = |events: Vec<ModelEvent>| {
        for event in events {
            assert_eq!(answer.apply(event, &mut out).unwrap(), None, "no image is drawn");
        }
    };
    feed(vec![
        reasoning("r1"),
        thought("r1", 0, "**Plan"),
        thought("r1", 0, "ning**"),
        thought_done("r1", 0, "**Planning**"),
        thought("r1", 1, "unseen"),
        thought_done("r1", 1, "Checking"),
        reasoning("r2"),
        thought("r2", 0, "unseen"),
        thought_done("r2", 0, "Again"),
    ]);
    fed.clock.advance(Duration::from_millis(2_900));
    feed(vec![message_added("m")]);
    let update = |kind: &str, index: usize, content: &str| json!({"item": "wf0", "update": {"type": format!("workflow.task.{kind}"), "task_index": index, "task": task(content)}});
    let events: Vec<Value> = out.iter().map(wire).collect();
    assert_eq!(
        named(&events),
        [
            json!({"added": workflow(&[], None)}),
            update("added", 0, "**Plan"),
            update("updated", 0, "**Planning**"),
            update("updated", 0, "**Planning**"),
            update("added", 1, "Checking"),
            update("added", 2, "Again"),
            json!({"done": workflow(&[task("**Planning**"), task("Checking"), task("Again")], Some(2))}),
            json!({"added": {"id": "msg0", "type": "assistant_message", "content": []}}),
        ]
    );
    assert_eq!(events[0]["added"]["created_at"], events[6]["done"]["created_at"]);
}

#[test]
fn a_list_goes_on_after_a_client_tool() {
    let fed = Fed::new();
    let stored = |id: &str, kind: Value| -> Item {
        let mut item =
            json!({"id": id, "thread_id": "thr_1", "created_at": "1970-01-01T00:16:30.000000Z"});
        item.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        serde_json::from_value(item).unwrap()
    };
    let wf = "wf_00000000000000000000000000000000";
    let list = stored(wf, workflow(&[task("Before")], None));
    let list = Item { id: Id::from(wf), ..list };
    let call = stored(
        "tc_1",
        json!({"type": "client_tool_call", "status": "completed", "call_id": "c", "name": "n", "arguments": {}}),
    );
    let said = || {
        vec![
            reasoning("r"),
            thought("r", 0, "unseen"),
            thought_done("r", 0, "After"),
            message_added("m"),
            COMPLETED,
        ]
    };
    for newest in [vec![call.clone(), list.clone()], vec![list.clone()]] {
        let events = named(&fed.after(newest, said()));
        let added = json!({"type": "workflow.task.added", "task_index": 1, "task": task("After")});
        assert_eq!(
            events[0],
            json!({"item": "wf0", "update": added}),
            "nothing is added but the task"
        );
        assert_eq!(
            events[1],
            json!({"done": workflow(&[task("Before"), task("After")], Some(10))})
        );
    }
    let message = stored("msg_1", json!({"type": "assistant_message", "content": []}));
    for newest in [vec![message, list.clone()], vec![call.clone(), call]] {
        let events = named(&fed.after(newest, said()));
        assert_eq!(events[0], json!({"added": workflow(&[], None)}), "a list of its own");
    }
}

#[test]
fn searches_are_tasks_that_load_and_are_complete() {
    let fed = Fed::new();
    let web = |status, sources| ModelEvent::WebSearch {
        item_id: id("ws"),
        status,
        queries: vec!["oslo".to_owned(), "rain".to_owned()],
        sources,
    };
    let files = |status, files: &[&str]| ModelEvent::FileSearch {
        item_id: id("fs"),
        status,
        queries: vec!["q".to_owned()],
        files: files.iter().map(|&name| name.to_owned()).collect(),
    };
    let source = WebSource { url: "https://yr.no/oslo".to_owned(), title: None };
    let events = named(&fed.all(vec![
        web(SearchStatus::Running, Vec::new()),
        web(SearchStatus::Running, Vec::new()),
        web(SearchStatus::Completed, vec![source]),
        files(SearchStatus::Completed, &["a.pdf"]),
        message_added("m"),
        files(SearchStatus::Failed, &[]),
        message_done("m", vec![text_part("x", Vec::new())]),
        COMPLETED,
    ]));
    let web = |status: &str, sources: Value| {
        json!({"status_indicator": status, "type": "web_search", "title_query": "oslo",
            "queries": ["oslo", "rain"], "sources": sources})
    };
    let found = json!([{"title": "yr.no", "type": "url", "url": "https://yr.no/oslo"}]);
    let file = json!({"status_indicator": "complete", "type": "file", "title": "q",
        "sources": [{"title": "a.pdf", "type": "file", "filename": "a.pdf"}]});
    let update = |kind: &str, index: usize, task: &Value| json!({"item": "wf0", "update": {"type": format!("workflow.task.{kind}"), "task_index": index, "task": task}});
    assert_eq!(
        events[..5],
        [
            json!({"added": workflow(&[], None)}),
            update("added", 0, &web("loading", json!([]))),
            update("updated", 0, &web("complete", found.clone())),
            update("added", 1, &file),
            json!({"done": workflow(&[web("complete", found), file], Some(0))}),
        ]
    );
    assert_eq!(events.len(), 7, "what a closed list shows stays: {events:?}");
}

#[test]
fn a_thought_behind_a_search_is_shown_while_it_grows() {
    let fed = Fed::new();
    let search = ModelEvent::WebSearch {
        item_id: id("ws"),
        status: SearchStatus::Completed,
        queries: Vec::new(),
        sources: Vec::new(),
    };
    let said = vec![
        search,
        reasoning("r"),
        thought("r", 0, "b"),
        thought("r", 0, "b"),
        thought_done("r", 0, "bb"),
    ];
    let events = named(&fed.all(said));
    let update = |kind: &str, content: &str| json!({"item": "wf0", "update": {"type": format!("workflow.task.{kind}"), "task_index": 1, "task": task(content)}});
    assert_eq!(
        events[2..],
        [update("added", "b"), update("updated", "bb"), update("updated", "bb")]
    );
}

#[test]
fn a_search_that_never_ended_does_not_load_for_ever() {
    let fed = Fed::new();
    let search = ModelEvent::WebSearch {
        item_id: id("ws"),
        status: SearchStatus::Running,
        queries: Vec::new(),
        sources: Vec::new(),
    };
    for (end, word) in [(message_added("m"), "done"), (COMPLETED, "kept")] {
        let events = fed.all(vec![search.clone(), end]);
        assert_eq!(
            events[2][word]["workflow"]["tasks"][0]["status_indicator"], "none",
            "{events:?}"
        );
    }
}
