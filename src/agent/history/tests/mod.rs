//! Does the model read what it should? Each kind of item in its words, every order of calls, and no
//! more than the budget holds.

mod files;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::items::said;
use super::{Past, Window, begins_turn};
use crate::agent::Turn;
use crate::clock::TestClock;
use crate::protocol::{Id, Item, Thread, Timestamp};
use crate::store::files::Files;
use crate::store::{Claimed, Owner, TurnClaim, connect};
use crate::telemetry::request::RequestContext;
use crate::upstream::model::{ImageDetail, InputItem, InputPart, Role};
use crate::user::UserId;

const THREAD: &str = "thr_00000000000000000000000000000001";

fn item(number: usize, kind: &Value) -> Item {
    let mut fields = json!({"id": format!("msg_{number:032x}"), "thread_id": THREAD,
        "created_at": "2026-11-20T22:38:48.073893Z"});
    fields.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
    serde_json::from_value(fields).unwrap()
}

fn user(text: &str) -> Value {
    json!({"type": "user_message", "content": [{"type": "input_text", "text": text}]})
}

fn assistant(text: &str) -> Value {
    json!({"type": "assistant_message", "content": [{"type": "output_text", "text": text}]})
}

fn call(status: &str, output: &Value) -> Value {
    json!({"type": "client_tool_call", "status": status, "call_id": "call_1", "name": "n",
        "arguments": {"a": null}, "output": output})
}

fn message(role: Role, texts: &[&str]) -> InputItem {
    let parts = texts.iter().map(|&text| InputPart::Text(text.to_owned())).collect();
    InputItem::Message { role, parts }
}

fn says(kind: &Value, is_last: bool) -> Vec<InputItem> {
    said(&item(1, kind), Vec::new(), is_last)
}

#[test]
fn a_message_with_mentions_and_a_quote_is_read_as_chatkit_reads_it() {
    let tag = |id: &str, group: Value| json!({"type": "input_tag", "id": id, "text": "The Article", "data": {"n": 1}, "group": group});
    let content = json!([{"type": "input_text", "text": "see "}, tag("a", json!("Articles")), tag("b", json!(null))]);
    let kind = json!({"type": "user_message", "content": content, "quoted_text": "a quote"});
    let image = InputPart::Image {
        url: "data:image/png;base64,iVBO".to_owned(),
        detail: ImageDetail::Auto,
    };
    let text = InputPart::Text("see @The Article@The Article".to_owned());
    let words = InputItem::Message { role: Role::User, parts: vec![text, image.clone()] };
    let quote = message(Role::User, &["The user is referring to this in particular: \na quote"]);
    let mentions = "# User-provided context for @-mentions\n\
        - When referencing resolved entities, use their canonical names **without** '@'.\n\
        - The '@' form appears only in user text and should not be echoed.";
    let tags = message(
        Role::User,
        &[mentions, "<TAG>\nid: a\ntext: The Article\ngroup: Articles\ndata: {\"n\":1}\n</TAG>"],
    );
    let last = said(&item(1, &kind), vec![image.clone()], true);
    assert_eq!(last, [words.clone(), quote, tags.clone()]);
    assert_eq!(
        said(&item(1, &kind), vec![image], false),
        [words, tags],
        "a quote is for the last message alone"
    );
}

#[test]
fn a_call_and_its_output_are_json_text_and_an_open_call_is_closed() {
    for (status, output, text) in [
        ("completed", json!({"nodes": []}), "{\"nodes\":[]}"),
        ("completed", json!("ok"), "\"ok\""),
        ("completed", json!(null), "null"),
        ("pending", json!(null), "\"The client returned nothing.\""),
    ] {
        let call_id = "call_1".to_owned();
        let output_item =
            InputItem::FunctionCallOutput { call_id: call_id.clone(), output: text.to_owned() };
        let arguments = "{\"a\":null}".to_owned();
        let call_item = InputItem::FunctionCall { call_id, name: "n".to_owned(), arguments };
        assert_eq!(says(&call(status, &output), false), [call_item, output_item]);
    }
}

#[test]
fn everything_else_is_read_in_chatkits_words() {
    let task = |title: Value, content: Value| json!({"type": "custom", "title": title, "content": content});
    let performed = |text: &str| {
        format!(
            "A message was displayed to the user that the following task was \
             performed:\n<Task>\n{text}\n</Task>"
        )
    };
    let hidden = |text: &str| {
        format!(
            "Hidden context for the agent (not shown to the \
             user):\n<HiddenContext>\n{text}\n</HiddenContext>"
        )
    };
    let tasks = json!([task(json!("T"), json!("C")), {"type": "thought", "content": "x"}, task(json!(null), json!("C")),
        task(json!("T"), json!(null)), task(json!(null), json!(""))]);
    let question = |question: &str, answer: Value| json!({"id": question, "question": question, "type": "freeform", "answer": answer});
    let inputs = json!([
        question("Size?", json!({"values": ["L"]})),
        question("Extras?", json!({"values": ["A", "B"]})),
        question("Else?", json!({"values": [], "skipped": true})),
        question("Open?", json!(null))
    ]);
    let answered = "A structured input request was displayed to the user with the following \
                    status: answered\n\
        <StructuredInput>\n- Size?: L\n- Extras?: A, B\n- Else?: skipped\n- Open?: \
        unanswered\n</StructuredInput>";
    let widget = "The following graphical UI widget (id: msg_00000000000000000000000000000001) was \
                  displayed to the user:\
        {\"type\":\"Card\",\"children\":null}";
    for (kind, expected) in [
        (assistant("Hi"), vec![message(Role::Assistant, &["Hi"])]),
        (assistant(""), vec![]),
        (json!({"type": "end_of_turn"}), vec![]),
        (json!({"type": "generated_image"}), vec![]),
        (
            json!({"type": "workflow", "workflow": {"type": "custom", "tasks": tasks}}),
            vec![
                message(Role::User, &[&performed("T: C")]),
                message(Role::User, &[&performed("C")]),
                message(Role::User, &[&performed("T")]),
            ],
        ),
        (
            json!({"type": "task", "task": task(json!("T"), json!("C"))}),
            vec![message(Role::User, &[&performed("T: C")])],
        ),
        (
            json!({"type": "structured_input", "status": "answered", "inputs": inputs}),
            vec![message(Role::User, &[answered])],
        ),
        (
            json!({"type": "widget", "widget": {"type": "Card", "size": null, "children": null}}),
            vec![message(Role::User, &[widget])],
        ),
        (
            json!({"type": "hidden_context_item", "content": "c"}),
            vec![message(Role::Developer, &[&hidden("c")])],
        ),
        (
            json!({"type": "hidden_context_item", "content": {"a": 1}}),
            vec![message(Role::Developer, &[&hidden("{\"a\":1}")])],
        ),
        (
            json!({"type": "sdk_hidden_context", "content": "c"}),
            vec![message(Role::Developer, &[&hidden("c")])],
        ),
    ] {
        assert_eq!(says(&kind, false), expected, "{kind}");
    }
}

fn any_kind() -> impl Strategy<Value = Value> {
    let text = "[a-z ]{0,60}";
    prop_oneof![
        text.prop_map(|text| user(&text)),
        text.prop_map(|text| assistant(&text)),
        any::<bool>().prop_map(|_| call("pending", &Value::Null)),
        text.prop_map(|text| call("completed", &json!(text))),
        Just(json!({"type": "sdk_hidden_context", "content": "The user cancelled the stream."})),
        Just(json!({"type": "workflow", "workflow": {"type": "reasoning", "tasks": []}})),
    ]
}

proptest! {
    /// A message while a call is pending, a call that is made again, a retry in between, a cut
    /// after hidden context: whatever stands in a thread, each call has its output right behind it,
    /// and the newest message is there.
    #[test]
    fn calls_and_outputs_are_pairs_in_every_order(
        kinds in proptest::collection::vec(any_kind(), 0..40),
        budget in 0_usize..600,
    ) {
        let items: Vec<Item> = kinds.into_iter().enumerate().map(|(number, kind)| item(number, &kind)).collect();
        let read = |budget: usize| {
            let mut window = Window::new(budget);
            for (place, item) in items.iter().rev().enumerate() {
                if !window.push(said(item, Vec::new(), place == 0), begins_turn(item)) {
                    break;
                }
            }
            window.finish()
        };
        let (input, whole) = (read(budget), read(usize::MAX));
        let mut rest = input.iter();
        while let Some(element) = rest.next() {
            match element {
                InputItem::FunctionCall { call_id, .. } => {
                    let answered = matches!(rest.next(), Some(InputItem::FunctionCallOutput { call_id: of, .. }) if of == call_id);
                    assert!(answered, "a call without its output: {input:?}");
                }
                InputItem::FunctionCallOutput { .. } => panic!("an output without its call: {input:?}"),
                InputItem::Message { .. } => {}
            }
        }
        assert!(whole.ends_with(&input), "only the oldest is dropped");
        let cost: usize = input.iter().map(super::tokens).sum();
        let newest_turn = items.iter().rposition(begins_turn).unwrap_or_default();
        let newest_turn: Vec<InputItem> = items[newest_turn..]
            .iter()
            .enumerate()
            .flat_map(|(place, item)| said(item, Vec::new(), place + 1 == items.len() - newest_turn))
            .collect();
        assert!(input.ends_with(&newest_turn), "the newest turn is whole");
        assert!(cost <= budget || input == newest_turn, "the budget holds, but for the newest turn");
        if input.len() < whole.len() {
            assert!(matches!(input.first(), Some(InputItem::Message { role: Role::User, .. })), "turns are whole");
        }
    }
}

/// A thread in a database, and a folder of files that is removed with it.
struct Kept {
    turn: Turn,
    folder: PathBuf,
}

impl Kept {
    async fn with(name: &str, kinds: Vec<Value>) -> Self {
        let folder =
            std::env::temp_dir().join(format!("chatkit-history-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let clock = Arc::new(TestClock::at(1));
        let store = connect("sqlite::memory:", clock.clone()).await.unwrap();
        let owner = Owner { workflow: "default".into(), user: UserId::parse("ada").unwrap() };
        let thread = Thread::new(THREAD.into(), Timestamp(1));
        let claim = TurnClaim {
            key: "k".into(),
            holder: "h".into(),
            body: None,
            about: None,
            lasts: Duration::from_secs(60),
        };
        let mut items = kinds.into_iter().enumerate().map(|(number, kind)| item(number, &kind));
        let made =
            store.create_thread(&owner, &thread, &items.next().unwrap(), &claim).await.unwrap();
        assert_eq!(made, Claimed::Yes);
        for item in items {
            assert!(store.save_item(&owner, &item).await.unwrap());
        }
        let turn = Turn {
            thread,
            owner,
            message: None,
            locale: None,
            newest: None,
            store,
            files: Arc::new(Files::new(&folder)),
            clock,
            request: RequestContext::shared("r"),
            events: mpsc::channel(1).0,
        };
        Self { turn, folder }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_newest_turn_that_is_more_than_the_budget_loses_what_stands_behind_its_message() {
    // 24 tokens each, and 16.
    let steps = (0..1000).map(|step| assistant(&format!("{step:048}")));
    let kinds: Vec<Value> =
        [user("an earlier turn"), user(&"q".repeat(24))].into_iter().chain(steps).collect();
    let kept = Kept::with("long-turn", kinds).await;
    let past = Past::read(&kept.turn, 100).await.unwrap();
    let texts: Vec<&str> = past.input.iter().map(first_text).collect();
    let newest: Vec<String> = (997..1000).map(|step| format!("{step:048}")).collect();
    assert_eq!(texts[0], "q".repeat(24), "the message is there");
    assert_eq!(texts[1..], newest, "and the newest steps that fit");
    assert_eq!(past.earlier, 0, "nothing earlier is there while a part of this turn is not");
    let past = Past::read(&kept.turn, 1).await.unwrap();
    let texts: Vec<&str> = past.input.iter().map(first_text).collect();
    assert_eq!(
        texts,
        [&*"q".repeat(24), &*format!("{:048}", 999)],
        "the newest step is there in any case"
    );
}

fn first_text(item: &InputItem) -> &str {
    match item {
        InputItem::Message { parts, .. } => match &parts[0] {
            InputPart::Text(text) => text,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_thread_is_read_over_pages_from_its_end_as_far_as_the_budget_goes() {
    let kinds = (0..125)
        .flat_map(|turn| [user(&format!("question {turn}")), assistant(&format!("answer {turn}"))]);
    let mut kept = Kept::with("pages", kinds.collect()).await;
    let past = Past::read(&kept.turn, 1_000_000).await.unwrap();
    let texts: Vec<&str> = past.input.iter().map(first_text).collect();
    let all: Vec<String> =
        (0..125).flat_map(|turn| [format!("question {turn}"), format!("answer {turn}")]).collect();
    assert_eq!(texts, all);
    let newest: Vec<&Id> = past.newest.iter().map(|item| &item.id).collect();
    assert_eq!(newest, [&item(249, &user("")).id, &item(248, &user("")).id]);

    let past = Past::read(&kept.turn, 60).await.unwrap();
    let texts: Vec<&str> = past.input.iter().map(first_text).collect();
    assert_eq!(texts, ["question 123", "answer 123", "question 124", "answer 124"]);

    kept.turn.newest = Some(item(200, &user("")).id);
    let past = Past::read(&kept.turn, 1_000_000).await.unwrap();
    assert_eq!(
        first_text(past.input.last().unwrap()),
        "question 100",
        "what is replaced is not read"
    );
    assert_eq!(past.input.len(), 201);
    let past = Past::read(&kept.turn, 1).await.unwrap();
    assert_eq!(
        past.input,
        [message(Role::User, &["question 100"])],
        "the newest turn is there in any case"
    );
}
