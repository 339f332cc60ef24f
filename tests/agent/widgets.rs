//! Does an agent of one's own show a widget that grows?

use chatkit_server::agent::AgentEvent;
use chatkit_server::agent::widget::{StreamedWidget, Widget};
use chatkit_server::protocol::{ItemKind, ItemUpdate};
use serde_json::{Value, json};

use crate::setup::{message, turn};

fn card(value: &str, size: &str) -> Value {
    json!({"type": "Card", "size": size, "children": [{"type": "Markdown", "id": "body", "value": value}]})
}

#[tokio::test]
async fn a_widget_is_added_grows_and_is_done_under_one_id() {
    let (turn, mut heard) = turn(&[message("Hi", &json!({}))]).await;
    let state = |value: &str, size: &str| Widget::new(card(value, size)).expect("a widget");
    let copied = Some("Hi".to_owned());
    let mut widget =
        StreamedWidget::begin(&turn, state("", "sm"), copied.clone()).await.expect("it is heard");
    for next in [state("one", "sm"), state("one", "sm"), state("one two", "md")] {
        widget.show(next).await.expect("it is heard");
    }
    widget.finish().await.expect("it is heard");
    drop(turn);
    let mut events = Vec::new();
    while let Some(event) = heard.recv().await {
        events.push(*event);
    }
    let [AgentEvent::ItemAdded(added), first, second, AgentEvent::ItemDone(done)] = &events[..]
    else {
        panic!("{events:?}")
    };
    let update = |update| AgentEvent::ItemUpdated { item_id: added.id.clone(), update };
    let (component_id, delta) = ("body".to_owned(), "one".to_owned());
    assert_eq!(*first, update(ItemUpdate::WidgetTextDelta { component_id, delta, done: true }));
    assert_eq!(*second, update(ItemUpdate::WidgetRootUpdated { widget: card("one two", "md") }));
    let shown = |widget| ItemKind::Widget { widget, copy_text: copied.clone() };
    assert_eq!(added.kind, shown(card("", "sm")));
    assert_eq!(
        (done.kind.clone(), done.created_at),
        (shown(card("one two", "md")), added.created_at)
    );
    assert_eq!(done.id, added.id);
}
