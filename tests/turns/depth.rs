//! What if somebody nests JSON so deep that no reader would take it? It is refused, and the thread
//! stays readable.

use std::sync::Arc;

use chatkit_server::agent::widget::Widget;
use chatkit_server::agent::{Agent, AgentError, AgentEvent, Turn};
use chatkit_server::protocol::{Action, Item, ItemKind};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::client::{create, thread_of, types};
use crate::support::parrot::parrot;
use crate::support::server::{Server, Setup};

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

/// Says hidden context of the depth that the message names, or shows a widget of that depth.
struct Digger;

impl Digger {
    fn item(turn: &Turn) -> Item {
        let Some(ItemKind::UserMessage(message)) = turn.message.as_ref().map(|item| &item.kind)
        else {
            panic!("a message is answered")
        };
        let (kind, depth) =
            message.text().split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let depth = depth.parse().unwrap();
        if kind == "hidden" {
            return turn.new_item(ItemKind::HiddenContextItem { content: nested(depth) });
        }
        Widget::new(json!({"type": "Card", "children": [], "data": nested(depth - 1)}))
            .unwrap()
            .into_item(turn, None)
    }
}

impl Agent for Digger {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        turn.emit(AgentEvent::ItemDone(Self::item(turn))).boxed()
    }

    fn act_now<'a>(
        &'a self,
        turn: &'a Turn,
        _: &'a Action,
        _: Option<&'a Item>,
    ) -> BoxFuture<'a, Result<Option<Item>, AgentError>> {
        let widget =
            Widget::new(json!({"type": "Card", "children": [], "data": nested(120)})).unwrap();
        let item = widget.into_item(turn, None);
        async { Ok(Some(item)) }.boxed()
    }
}

#[tokio::test]
async fn what_an_agent_nests_too_deep_ends_its_turn_and_is_not_kept() {
    let server = Server::start(Setup { agent: Some(Arc::new(Digger)), ..Setup::default() }).await;
    let ada = server.user("ada");
    for kind in ["hidden", "widget"] {
        let events = ada.events(&create(&format!("{kind} 101"))).await;
        let error = json!({"type": "error", "code": "stream.error", "allow_retry": false});
        assert_eq!(events.last(), Some(&error), "{kind}");
        let thread = thread_of(&events);
        assert_eq!(types(&ada.items(&thread).await), ["user_message"], "{kind}");
        let action = json!({"thread_id": thread, "action": {"type": "dig"}});
        assert_eq!(ada.ask("threads.sync_custom_action", action).await.0, 500, "{kind}");
        assert_eq!(
            ada.ask("threads.get_by_id", json!({"thread_id": thread})).await.0,
            200,
            "{kind}"
        );

        let events = ada.events(&create(&format!("{kind} 100"))).await;
        assert_eq!(types(&events).last(), Some(&"thread.updated"), "{kind}: {events:?}");
        assert_eq!(
            ada.items(&thread_of(&events)).await.len(),
            if kind == "hidden" { 1 } else { 2 }
        );
    }
}

#[tokio::test]
async fn what_a_page_nests_too_deep_is_refused_and_named() {
    let server = Server::start(Setup { agent: Some(parrot()), ..Setup::default() }).await;
    let ada = server.user("ada");
    let thread = thread_of(&ada.events(&create("tool")).await);
    for depth in [101, 125, 127] {
        let any = nested(depth);
        let tag =
            json!({"type": "input_tag", "id": "x", "text": "X", "data": {"a": nested(depth - 1)}});
        let input = json!({"content": [tag], "attachments": [], "inference_options": {}});
        for (kind, params, field) in [
            (
                "threads.add_client_tool_output",
                json!({"thread_id": thread, "result": any}),
                "`params.result",
            ),
            (
                "threads.custom_action",
                json!({"thread_id": thread, "action": {"type": "a", "payload": any}}),
                "`params.action.payload",
            ),
            ("threads.create", json!({"input": input}), "`params.input.content"),
            (
                "threads.add_user_message",
                json!({"thread_id": thread, "input": input}),
                "`params.input.content",
            ),
        ] {
            let (status, body) = ada.ask(kind, params).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (400, &json!("invalid_request")),
                "{kind}: {body}"
            );
            let message = body["message"].as_str().unwrap();
            assert!(message.starts_with(field) && message.len() < 250, "{kind}: {message}");
        }
    }
    let output = json!({"type": "threads.add_client_tool_output",
        "params": {"thread_id": thread, "result": nested(100)}});
    let events = ada.events(&output).await;
    assert_ne!(types(&events).last(), Some(&"error"), "{events:?}");
    assert_eq!(ada.ask("threads.get_by_id", json!({"thread_id": thread})).await.0, 200);
}
