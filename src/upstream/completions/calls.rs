//! Which functions does a model call, when the calls arrive in fragments? Servers differ: some
//! number them, some send each whole, some say the id or the name again and again, some give all
//! the same number.

use serde::Deserialize;

use crate::ids::new_id;
use crate::upstream::model::{ItemId, Lenient, ModelEvent, Trouble, arguments};

/// A fragment of a call.
#[derive(Deserialize)]
pub(super) struct Fragment<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default, borrow)]
    id: Lenient<'a>,
    #[serde(default, borrow)]
    function: Option<FunctionFragment<'a>>,
}

#[derive(Deserialize, Default)]
struct FunctionFragment<'a> {
    #[serde(default, borrow)]
    name: Lenient<'a>,
    #[serde(default, borrow)]
    arguments: Lenient<'a>,
}

/// The calls of one answer, in the order of their beginning.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug, Default)]
struct Call {
    index: Option<usize>,
    id: String,
    name: String,
    arguments: String,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a fragment to its call, or begins one.
    pub(super) fn add(&mut self, fragment: Fragment<'_>) {
        let Fragment { index, id, function } = fragment;
        let FunctionFragment { name, arguments } = function.unwrap_or_default();
        let goes_on = |call: &Call| {
            let is_other = id.some().is_some_and(|id| !call.id.is_empty() && call.id != id);
            !is_other && (index.is_none() || call.index == index)
        };
        // A call without a number goes on in what follows, unless that has a new name.
        let last = self.0.iter().rposition(goes_on).filter(|last| {
            index.is_some()
                || (*last + 1 == self.0.len() && (id.some().is_some() || name.some().is_none()))
        });
        let last = last.unwrap_or_else(|| {
            self.0.push(Call { index, ..Call::default() });
            self.0.len() - 1
        });
        let call = &mut self.0[last];
        if call.id.is_empty() {
            call.id = id.into_string();
        }
        if call.name.is_empty() {
            call.name = name.into_string();
        }
        call.arguments.push_str(&arguments.0);
    }

    /// The calls as events, now that they are whole.
    pub(super) fn take(&mut self) -> Result<Vec<ModelEvent>, Trouble> {
        std::mem::take(&mut self.0)
            .into_iter()
            .enumerate()
            .map(|(number, call)| call.event(number))
            .collect()
    }
}

impl Call {
    fn event(self, number: usize) -> Result<ModelEvent, Trouble> {
        let Self { name, id, .. } = self;
        if name.is_empty() {
            return Err(Trouble::Unreadable("a function call without a name".to_owned()));
        }
        let arguments = arguments(&self.arguments)?;
        let item_id: ItemId = format!("fc_{number}").into();
        // The output must refer to its call in a thread of any length, so an id that is missing is
        // not counted.
        let call_id = if id.is_empty() { new_id("call_").to_string() } else { id };
        Ok(ModelEvent::FunctionCall { item_id, call_id, name, arguments })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Id, name and arguments of the calls that these fragments make.
    fn calls(fragments: &[Value]) -> Vec<(String, String, Value)> {
        let mut calls = Calls::default();
        for fragment in fragments {
            calls.add(serde_json::from_str(&fragment.to_string()).unwrap());
        }
        let calls = calls.take().unwrap_or_else(|trouble| panic!("{trouble:?}"));
        let call = |event| match event {
            ModelEvent::FunctionCall { call_id, name, arguments, .. } => {
                (call_id, name, arguments.into())
            }
            other => panic!("{other:?}"),
        };
        calls.into_iter().map(call).collect()
    }

    fn call(id: &str, name: &str, arguments: Value) -> (String, String, Value) {
        (id.to_owned(), name.to_owned(), arguments)
    }

    #[test]
    fn fragments_of_two_calls_are_told_apart_by_their_number() {
        let found = calls(&[
            json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}),
            json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{\"y\""}}),
            json!({"index": 0, "function": {"arguments": "{\"x\":"}}),
            json!({"index": 1, "id": null, "function": {"name": null, "arguments": ":2}"}}),
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "1}"}}),
        ]);
        assert_eq!(found, [call("a", "f", json!({"x": 1})), call("b", "g", json!({"y": 2}))]);
    }

    #[test]
    fn whole_calls_need_no_number_and_may_share_one() {
        for fragments in [
            [
                json!({"id": "a", "function": {"name": "f", "arguments": "{}"}}),
                json!({"id": "b", "function": {"name": "f"}}),
            ],
            [
                json!({"index": 0, "id": "a", "function": {"name": "f"}}),
                json!({"index": 0, "id": "b", "function": {"name": "f"}}),
            ],
        ] {
            assert_eq!(calls(&fragments), [call("a", "f", json!({})), call("b", "f", json!({}))]);
        }
    }

    #[test]
    fn a_call_without_a_number_goes_on_until_there_is_a_new_name_or_id() {
        let found = calls(&[
            json!({"function": {"name": "f", "arguments": "{\"x\":"}}),
            json!({"function": {"arguments": "1}"}}),
            json!({"function": {"name": "f", "arguments": "{}"}}),
        ]);
        let named: Vec<_> =
            found.iter().map(|(_, name, arguments)| (name.as_str(), arguments.clone())).collect();
        assert_eq!(named, [("f", json!({"x": 1})), ("f", json!({}))]);
        assert!(found[0].0.starts_with("call_") && found[0].0 != found[1].0, "{found:?}");
        assert_eq!(found[0].0.len(), "call_".len() + 32);
    }

    #[test]
    fn a_call_without_a_name_or_with_odd_arguments_is_trouble() {
        for fragment in [
            json!({"index": 0, "id": "a", "function": {"arguments": "{}"}}),
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\":"}}),
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "[1]"}}),
        ] {
            let mut calls = Calls::default();
            calls.add(serde_json::from_str(&fragment.to_string()).unwrap());
            assert!(matches!(calls.take(), Err(Trouble::Unreadable(_))), "{fragment}");
        }
    }
}
