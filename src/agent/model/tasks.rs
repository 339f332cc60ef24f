//! How is shown what a model does before it speaks? As a list of tasks: what it thinks, and what it
//! looks for.
//!
//! Only the first thought of a list is shown while it grows, also behind searches; the others come
//! whole.

use url::Url;

use super::answer::Scribe;
use super::messages::source;
use crate::agent::AgentEvent;
use crate::protocol::{
    Id, Item, ItemKind, ItemUpdate, SourceKind, StatusIndicator, Task, TaskKind, Timestamp,
    Workflow, WorkflowKind, WorkflowSummary,
};
use crate::upstream::model::{ItemId, SearchStatus, WebSource};

/// As much of a tool's name as is shown, in characters.
const LONGEST_NAME: usize = 64;

/// The model's name for a thought.
pub(super) type ThoughtId = (ItemId, usize);

/// The list of tasks that is open, if one is.
#[derive(Default)]
pub(super) struct Tasks {
    open: Option<Open>,
    /// The searches and other tasks of this answer that load, with their places in the list;
    /// without one where that list is closed.
    searches: Vec<(ItemId, Option<usize>)>,
}

struct Open {
    id: Id,
    thread_id: Id,
    created_at: Timestamp,
    workflow: Workflow,
    /// The thought that is shown while it grows, and its place.
    growing: Option<(ThoughtId, usize)>,
}

impl Tasks {
    /// Goes on with the list that the turn before left: it is the newest item, or only a client
    /// tool call is newer.
    pub(super) fn going_on(newest: Vec<Item>) -> Self {
        let mut newest = newest.into_iter();
        let last = newest.next();
        let is_call =
            last.as_ref().is_some_and(|item| matches!(item.kind, ItemKind::ClientToolCall(_)));
        let candidate = if is_call { newest.next() } else { last };
        Self { open: candidate.and_then(Open::again), searches: Vec::new() }
    }

    /// Begins a list, unless one is open.
    pub(super) fn open(&mut self, scribe: &Scribe, out: &mut Vec<AgentEvent>) {
        self.opened(scribe, out);
    }

    pub(super) fn thought(&mut self, id: ThoughtId, delta: &str, out: &mut Vec<AgentEvent>) {
        let Some(open) = &mut self.open else { return };
        if let Some(place) = open.place_of(&id) {
            if let TaskKind::Thought { content, .. } = &mut open.workflow.tasks[place].kind {
                content.push_str(delta);
            }
            open.say_updated(place, out);
        } else if open.workflow.kind == WorkflowKind::Reasoning && !open.has_thought() {
            let place = open.add(thought(delta.to_owned()), out);
            open.growing = Some((id, place));
        }
    }

    pub(super) fn thought_done(&mut self, id: &ThoughtId, text: String, out: &mut Vec<AgentEvent>) {
        let Some(open) = &mut self.open else { return };
        if let Some(place) = open.place_of(id) {
            open.growing = None;
            open.workflow.tasks[place] = thought(text);
            open.say_updated(place, out);
        } else {
            open.add(thought(text), out);
        }
    }

    pub(super) fn web_search(
        &mut self,
        id: ItemId,
        status: SearchStatus,
        queries: Vec<String>,
        sources: Vec<WebSource>,
        scribe: &Scribe,
        out: &mut Vec<AgentEvent>,
    ) {
        let page = |WebSource { url, title }: WebSource| {
            let host = || Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned));
            let title = title.or_else(host).unwrap_or_else(|| url.clone());
            source(title, SourceKind::Url { url, attribution: None })
        };
        let kind = TaskKind::WebSearch {
            title: None,
            title_query: queries.first().cloned(),
            queries,
            sources: sources.into_iter().map(page).collect(),
        };
        self.search(id, status, kind, scribe, out);
    }

    pub(super) fn file_search(
        &mut self,
        id: ItemId,
        status: SearchStatus,
        queries: Vec<String>,
        files: Vec<String>,
        scribe: &Scribe,
        out: &mut Vec<AgentEvent>,
    ) {
        let file = |filename: String| source(filename.clone(), SourceKind::File { filename });
        let sources = files.into_iter().map(file).collect();
        let kind = TaskKind::File { title: queries.into_iter().next(), sources };
        self.search(id, status, kind, scribe, out);
    }

    /// A tool that the server runs itself.
    pub(super) fn tool(
        &mut self,
        call_id: &str,
        name: &str,
        status: SearchStatus,
        scribe: &Scribe,
        out: &mut Vec<AgentEvent>,
    ) {
        let kind = TaskKind::Custom { title: Some(in_words(name)), icon: None, content: None };
        self.search(call_id.into(), status, kind, scribe, out);
    }

    /// Closes the list, because something follows that is shown by itself.
    pub(super) fn close(&mut self, now: Timestamp, out: &mut Vec<AgentEvent>) {
        let Some(mut open) = self.open.take() else { return };
        self.searches.iter_mut().for_each(|(_, place)| *place = None);
        let duration = open.created_at.until(now).as_secs();
        open.workflow.summary.get_or_insert(WorkflowSummary::Duration { duration });
        open.workflow.expanded = false;
        out.push(AgentEvent::ItemDone(open.into_item()));
    }

    /// Keeps the list for the next turn to go on with.
    pub(super) fn keep(&mut self, out: &mut Vec<AgentEvent>) {
        out.extend(self.open.take().map(|open| AgentEvent::ItemKept(open.into_item())));
    }

    fn opened(&mut self, scribe: &Scribe, out: &mut Vec<AgentEvent>) -> &mut Open {
        self.open.get_or_insert_with(|| {
            let kind = WorkflowKind::Reasoning;
            let workflow = Workflow { kind, tasks: Vec::new(), summary: None, expanded: false };
            let item = scribe.item(ItemKind::Workflow { workflow: workflow.clone() });
            out.push(AgentEvent::ItemAdded(item.clone()));
            let Item { id, thread_id, created_at, .. } = item;
            Open { id, thread_id, created_at, workflow, growing: None }
        })
    }

    fn search(
        &mut self,
        id: ItemId,
        status: SearchStatus,
        kind: TaskKind,
        scribe: &Scribe,
        out: &mut Vec<AgentEvent>,
    ) {
        let status_indicator = match status {
            SearchStatus::Running => StatusIndicator::Loading,
            SearchStatus::Completed => StatusIndicator::Complete,
            SearchStatus::Failed => StatusIndicator::None,
        };
        let task = Task { status_indicator, kind };
        match self.searches.iter().find(|(known, _)| *known == id) {
            // Its list is closed: what was shown stays.
            Some((_, None)) => {}
            Some((_, Some(place))) => {
                let Some(open) = &mut self.open else { return };
                if open.workflow.tasks[*place] != task {
                    open.workflow.tasks[*place] = task;
                    open.say_updated(*place, out);
                }
            }
            None => {
                let place = self.opened(scribe, out).add(task, out);
                self.searches.push((id, Some(place)));
            }
        }
    }
}

impl Open {
    fn again(item: Item) -> Option<Self> {
        let Item { id, thread_id, created_at, kind } = item;
        let ItemKind::Workflow { workflow } = kind else { return None };
        Some(Self { id, thread_id, created_at, workflow, growing: None })
    }

    fn place_of(&self, growing: &ThoughtId) -> Option<usize> {
        self.growing.as_ref().filter(|(id, _)| id == growing).map(|(_, place)| *place)
    }

    fn has_thought(&self) -> bool {
        self.workflow.tasks.iter().any(|task| matches!(task.kind, TaskKind::Thought { .. }))
    }

    fn add(&mut self, task: Task, out: &mut Vec<AgentEvent>) -> usize {
        let task_index = self.workflow.tasks.len();
        self.workflow.tasks.push(task.clone());
        self.say(ItemUpdate::TaskAdded { task_index, task }, out);
        task_index
    }

    fn say_updated(&self, task_index: usize, out: &mut Vec<AgentEvent>) {
        let task = self.workflow.tasks[task_index].clone();
        self.say(ItemUpdate::TaskUpdated { task_index, task }, out);
    }

    fn say(&self, update: ItemUpdate, out: &mut Vec<AgentEvent>) {
        out.push(AgentEvent::ItemUpdated { item_id: self.id.clone(), update });
    }

    /// The list as it is stored: nothing in it goes on by itself.
    fn into_item(self) -> Item {
        let Self { id, thread_id, created_at, mut workflow, .. } = self;
        for task in workflow
            .tasks
            .iter_mut()
            .filter(|task| task.status_indicator == StatusIndicator::Loading)
        {
            task.status_indicator = StatusIndicator::None;
        }
        Item { id, thread_id, created_at, kind: ItemKind::Workflow { workflow } }
    }
}

fn thought(content: String) -> Task {
    Task {
        status_indicator: StatusIndicator::None,
        kind: TaskKind::Thought { title: None, content },
    }
}

/// A tool's name as a person would write it: `get_order`, `getOrder` and `acme:get-order` are all
/// orders to get.
fn in_words(name: &str) -> String {
    let name = name.rsplit([':', '/', '.']).find(|part| !part.is_empty()).unwrap_or(name);
    let mut words = String::new();
    let mut before = ' ';
    for letter in name.chars().take(LONGEST_NAME) {
        if matches!(letter, '_' | '-') || letter.is_whitespace() || letter.is_control() {
            if !words.is_empty() && before != ' ' {
                words.push(' ');
            }
            before = ' ';
            continue;
        }
        if letter.is_uppercase() && before.is_lowercase() {
            words.push(' ');
            words.extend(letter.to_lowercase());
        } else if words.is_empty() {
            words.extend(letter.to_uppercase());
        } else {
            words.push(letter);
        }
        before = letter;
    }
    let words = words.trim_end();
    if words.is_empty() { "Tool".to_owned() } else { words.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn a_tools_name_becomes_words() {
        for (name, words) in [
            ("get_order", "Get order"),
            ("getOrder", "Get order"),
            ("search", "Search"),
            ("lookup-HTTP_status", "Lookup HTTP status"),
            ("acme:get__order_", "Get order"),
            ("__", "Tool"),
            ("", "Tool"),
        ] {
            assert_eq!(in_words(name), words, "{name:?}");
        }
    }
}
