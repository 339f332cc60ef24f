//! Which functions did a model call? The page answers one call, the last, once the answer is over.
//! A server that runs tools itself answers its own, and each of those is shown as a task.

use serde_json::{Map, Value};

use super::answer::{Scribe, short};
use super::tasks::Tasks;
use crate::agent::{AgentError, AgentEvent};
use crate::config::agents::ClientTool;
use crate::ids::new_id;
use crate::protocol::{ClientToolCall, ClientToolCallStatus, ItemKind};
use crate::upstream::model::SearchStatus;

/// The calls of an answer that have no output yet.
#[derive(Default)]
pub(super) struct Calls(Vec<Call>);

struct Call {
    id: String,
    name: String,
    arguments: Map<String, Value>,
    /// Whether it is the page's to answer, unless the server does.
    is_ours: bool,
    is_shown: bool,
}

impl Calls {
    pub(super) fn add(
        &mut self,
        id: String,
        name: String,
        arguments: Map<String, Value>,
        client_tools: &[ClientTool],
    ) {
        let is_ours = client_tools.iter().any(|tool| tool.name == name);
        let id = if id.is_empty() { new_id("call_").to_string() } else { id };
        self.0.push(Call { id, name, arguments, is_ours, is_shown: false });
    }

    /// Whether there is a call that nobody but the server can answer, and that is not shown yet.
    pub(super) fn are_unshown(&self) -> bool {
        self.0.iter().any(|call| !call.is_ours && !call.is_shown)
    }

    /// Shows that the server is at work on its own calls.
    pub(super) fn show(&mut self, tasks: &mut Tasks, scribe: &Scribe, out: &mut Vec<AgentEvent>) {
        for call in self.0.iter_mut().filter(|call| !call.is_ours) {
            call.show(tasks, scribe, out);
        }
    }

    /// A call of the server's own has returned.
    pub(super) fn returned(
        &mut self,
        call_id: &str,
        tasks: &mut Tasks,
        scribe: &Scribe,
        out: &mut Vec<AgentEvent>,
    ) {
        if let Some(place) = self.0.iter().position(|call| call.id == call_id) {
            self.0.remove(place).end(tasks, scribe, out);
        }
    }

    /// The server has gone on: its own calls have returned, though it did not say what.
    pub(super) fn went_on(
        &mut self,
        tasks: &mut Tasks,
        scribe: &Scribe,
        out: &mut Vec<AgentEvent>,
    ) {
        let (ours, its_own) =
            std::mem::take(&mut self.0).into_iter().partition(|call| call.is_ours);
        self.0 = ours;
        its_own.into_iter().for_each(|call| call.end(tasks, scribe, out));
    }

    /// What it means that nobody answers a call of a function that the model was not given, if
    /// there is such a call.
    pub(super) fn unknown(&self) -> Option<AgentError> {
        self.0.iter().find(|call| !call.is_ours).map(|call| {
            AgentError::failed(format_args!(
                "the model called a function that it was not given: {:?}",
                short(&call.name)
            ))
        })
    }

    /// The call that waits for the page. The last one is the one that counts: the page answers one
    /// at a time.
    ///
    /// # Errors
    /// When the model called a function that it was not given, and nobody answered.
    pub(super) fn last(&mut self) -> Result<Option<ItemKind>, AgentError> {
        if let Some(error) = self.unknown() {
            return Err(error);
        }
        Ok(std::mem::take(&mut self.0).pop().map(|Call { id, name, arguments, .. }| {
            ItemKind::ClientToolCall(ClientToolCall {
                status: ClientToolCallStatus::Pending,
                call_id: id,
                name,
                arguments: Value::Object(arguments),
                output: Value::Null,
            })
        }))
    }
}

impl Call {
    fn show(&mut self, tasks: &mut Tasks, scribe: &Scribe, out: &mut Vec<AgentEvent>) {
        if !std::mem::replace(&mut self.is_shown, true) {
            tasks.tool(&self.id, &self.name, SearchStatus::Running, scribe, out);
        }
    }

    fn end(mut self, tasks: &mut Tasks, scribe: &Scribe, out: &mut Vec<AgentEvent>) {
        self.show(tasks, scribe, out);
        tasks.tool(&self.id, &self.name, SearchStatus::Completed, scribe, out);
    }
}
