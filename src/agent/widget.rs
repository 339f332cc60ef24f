//! How does an agent show a widget? Whole, or state by state: [`StreamedWidget`] sends what changes
//! between two states.
//!
//! Widgets are passed through as they are: the client knows more components from year to year than
//! a server does.

use serde_json::{Map, Value};

use super::{AgentError, AgentEvent, Turn};
use crate::protocol::{Item, ItemKind, ItemUpdate};

/// The root component of a widget, like a `Card`, and everything in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Widget(Value);

/// This JSON is no widget. The text says which part of it is not a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no component: a component is an object with a text as its `type`")]
pub struct NotAWidget(String);

impl Widget {
    /// Takes JSON for a widget. Nothing is checked but that each component, here and in `children`,
    /// has a `type`. Fields that are null are left out.
    ///
    /// # Errors
    /// When a component has none.
    pub fn new(root: Value) -> Result<Self, NotAWidget> {
        check(&root, "root")?;
        Ok(Self(without_nulls(root)))
    }

    /// The widget as an item, to be shown whole by [`AgentEvent::ItemDone`], or put in place of an
    /// earlier one by [`AgentEvent::ItemReplaced`] under that one's id. `copy_text` is what the UI
    /// copies in its place.
    #[must_use]
    pub fn into_item(self, turn: &Turn, copy_text: Option<String>) -> Item {
        turn.new_item(ItemKind::Widget { widget: self.0, copy_text })
    }

    /// What must be sent so that a client that shows this widget shows the next one: the ends of
    /// texts that grew, if nothing else is different, or all of it. Nothing for the same widget.
    #[must_use]
    pub fn changes(&self, next: &Self) -> Vec<ItemUpdate> {
        let mut grown = Vec::new();
        if grew(&self.0, &next.0, &mut grown) {
            grown
        } else {
            vec![ItemUpdate::WidgetRootUpdated { widget: next.0.clone() }]
        }
    }
}

/// The widget's JSON.
impl From<Widget> for Value {
    fn from(widget: Widget) -> Self {
        widget.0
    }
}

/// A widget that a client sees grow.
#[expect(missing_debug_implementations, reason = "its turn holds what people say")]
pub struct StreamedWidget<'a> {
    turn: &'a Turn,
    item: Item,
    shown: Widget,
}

impl<'a> StreamedWidget<'a> {
    /// Shows the first state.
    ///
    /// # Errors
    /// [`AgentError::Over`] when the turn is over.
    pub async fn begin(
        turn: &'a Turn,
        first: Widget,
        copy_text: Option<String>,
    ) -> Result<Self, AgentError> {
        let item = first.clone().into_item(turn, copy_text);
        turn.emit(AgentEvent::ItemAdded(item.clone())).await?;
        Ok(Self { turn, item, shown: first })
    }

    /// Shows the next state. A text that only grows at its end needs an `id` to be sent piece by
    /// piece.
    ///
    /// # Errors
    /// [`AgentError::Over`] when the turn is over.
    pub async fn show(&mut self, next: Widget) -> Result<(), AgentError> {
        for update in self.shown.changes(&next) {
            self.turn
                .emit(AgentEvent::ItemUpdated { item_id: self.item.id.clone(), update })
                .await?;
        }
        self.shown = next;
        Ok(())
    }

    /// Ends with the state that was shown last, which is stored.
    ///
    /// # Errors
    /// [`AgentError::Over`] when the turn is over.
    pub async fn finish(mut self) -> Result<(), AgentError> {
        if let ItemKind::Widget { widget, .. } = &mut self.item.kind {
            *widget = self.shown.0;
        }
        self.turn.emit(AgentEvent::ItemDone(self.item)).await
    }
}

/// The same JSON without the fields of objects that are null, but for `children`.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept =
                fields.into_iter().filter(|(name, value)| !value.is_null() || name == "children");
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn check(component: &Value, place: &str) -> Result<(), NotAWidget> {
    if !component["type"].is_string() {
        return Err(NotAWidget(place.to_owned()));
    }
    match &component["children"] {
        Value::Null => Ok(()),
        Value::Array(children) => children
            .iter()
            .enumerate()
            .try_for_each(|(index, child)| check(child, &format!("{place}.children[{index}]"))),
        child => check(child, &format!("{place}.children")),
    }
}

/// Whether nothing is different but texts that grew, which are added to `grown`.
fn grew(before: &Value, after: &Value, grown: &mut Vec<ItemUpdate>) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before.iter().all(|(name, value)| match after.get(name) {
                    Some(next) if name == "value" && value != next => {
                        let growth = growth(before, after);
                        growth.map(|update| grown.push(update)).is_some()
                    }
                    Some(next) => grew(value, next, grown),
                    None => false,
                })
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len()
                && before.iter().zip(after).all(|(before, after)| grew(before, after, grown))
        }
        (before, after) => before == after,
    }
}

/// The text that was added to a component, if the component's text can be sent piece by piece.
/// The caller compares the component's other fields.
fn growth(before: &Map<String, Value>, after: &Map<String, Value>) -> Option<ItemUpdate> {
    let text = |component: &Map<String, Value>, name: &str| {
        component.get(name)?.as_str().map(str::to_owned)
    };
    let is_text = matches!(text(after, "type")?.as_str(), "Text" | "Markdown");
    let component_id = text(after, "id").filter(|_| is_text)?;
    let delta = text(after, "value")?.strip_prefix(&text(before, "value")?)?.to_owned();
    let done = !after.get("streaming").and_then(Value::as_bool).unwrap_or(false);
    Some(ItemUpdate::WidgetTextDelta { component_id, delta, done })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn card(children: &Value) -> Widget {
        Widget::new(json!({"type": "Card", "size": "md", "children": children})).unwrap()
    }

    fn changes(before: &Value, after: &Value) -> Value {
        serde_json::to_value(card(before).changes(&card(after))).unwrap()
    }

    #[test]
    fn a_text_that_grows_is_sent_piece_by_piece() {
        let text = |value: &str| {
            json!([{"type": "Text", "id": "t", "value": "same"}, {"type": "Row", "children":
            {"type": "Markdown", "id": "body", "streaming": true, "value": value}}])
        };
        assert_eq!(
            changes(&text("one"), &text("one two")),
            json!([{"type": "widget.streaming_text.value_delta", "component_id": "body", "delta": " two", "done": false}])
        );
        let two = |a: &str, b: &str| json!([{"type": "Text", "id": "a", "value": a}, {"type": "Text", "id": "b", "value": b}]);
        assert_eq!(
            changes(&two("", "x"), &two("é", "xy")),
            json!([{"type": "widget.streaming_text.value_delta", "component_id": "a", "delta": "é", "done": true},
                {"type": "widget.streaming_text.value_delta", "component_id": "b", "delta": "y", "done": true}])
        );
        assert_eq!(changes(&two("a", "b"), &two("a", "b")), json!([]), "the same widget");
    }

    #[test]
    fn anything_else_sends_the_whole_widget() {
        let base = || json!([{"type": "Text", "id": "t", "value": "one", "streaming": true}]);
        for after in [
            json!([{"type": "Text", "id": "t", "value": "two", "streaming": true}]),
            json!([{"type": "Text", "id": "u", "value": "one two", "streaming": true}]),
            json!([{"type": "Text", "id": "t", "value": "one two", "streaming": false}]),
            json!([{"type": "Text", "id": "t", "value": "one two"}]),
            json!([{"type": "Text", "id": "t", "value": "one two", "streaming": true, "size": "sm"}]),
            json!([{"type": "Text", "id": "t", "value": "one", "streaming": true}, {"type": "Divider"}]),
            json!([{"type": "Title", "id": "t", "value": "one two", "streaming": true}]),
        ] {
            let whole = json!([{"type": "widget.root.updated",
                "widget": {"type": "Card", "size": "md", "children": after}}]);
            assert_eq!(changes(&base(), &after), whole);
        }
        let nameless = |value: &str| json!([{"type": "Text", "value": value}]);
        assert_eq!(changes(&nameless("a"), &nameless("ab"))[0]["type"], "widget.root.updated");
    }

    #[test]
    fn nulls_are_left_out_but_for_children() {
        let Widget(widget) = Widget::new(
            json!({"type": "Card", "size": null, "children": [{"type": "Row", "children": null,
            "onClickAction": {"type": "a", "payload": {"x": null, "y": [null]}}}]}),
        )
        .unwrap();
        let clean = json!({"type": "Card", "children": [{"type": "Row", "children": null,
            "onClickAction": {"type": "a", "payload": {"y": [null]}}}]});
        assert_eq!(widget, clean);
    }

    #[test]
    fn a_component_has_a_type_and_nothing_else_is_asked() {
        assert!(
            Widget::new(json!({"type": "Hologram", "children": {"type": "Table", "cells": 1}}))
                .is_ok()
        );
        for (json, place) in [
            (json!("Card"), "root"),
            (json!({"type": 1}), "root"),
            (
                json!({"type": "Card", "children": [{"type": "Row"}, {"value": 1}]}),
                "root.children[1]",
            ),
            (
                json!({"type": "Card", "children": {"type": "Row", "children": ["x"]}}),
                "root.children.children[0]",
            ),
        ] {
            assert_eq!(Widget::new(json), Err(NotAWidget(place.to_owned())));
        }
    }
}
