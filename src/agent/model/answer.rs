//! What becomes of what a model says? [`Answer`] turns each event of a model into events of the
//! thread. It does no I/O, and a piece of text goes through it without being looked at.
//!
//! The order and the fields are those of ChatKit's own servers. It goes further in four things: ids
//! of items are ours, searches of the web and of files are shown as tasks, a refusal ends an answer
//! without an error, and an item that a server began and never ended is ended with what there is.

use std::sync::Arc;

use super::calls::Calls;
use super::messages::Messages;
use super::tasks::Tasks;
use crate::agent::turn::new_item;
use crate::agent::{AgentError, AgentEvent};
use crate::clock::Clock;
use crate::config::agents::{AgentConfig, ClientTool};
use crate::protocol::{GeneratedImage, Id, Item, ItemKind, ItemUpdate, Timestamp};
use crate::telemetry::request::Tokens;
use crate::upstream::model::{ItemId, ModelEvent};

/// The most text of one answer, thoughts and refusals included, in bytes.
const MOST_TEXT: usize = 8 * 1024 * 1024;

/// One answer of a model, as far as it has come.
pub(super) struct Answer<'a> {
    scribe: Scribe,
    client_tools: &'a [ClientTool],
    /// How many sketches of an image are expected.
    sketches: Option<u64>,
    messages: Messages,
    tasks: Tasks,
    images: Vec<(ItemId, Item)>,
    calls: Calls,
    /// Bytes of text and of thoughts.
    said: usize,
    /// What it took so far, where the server says so.
    tokens: Option<Tokens>,
    /// What waits for an approval, as long as nothing was said after it.
    unapproved: Option<String>,
}

/// An image that has come whole. Its item is done once its bytes are kept.
#[derive(Debug, PartialEq)]
pub(super) struct Drawing {
    pub(super) item: Item,
    pub(super) id: ItemId,
    pub(super) b64: String,
    /// `png`, `jpeg` or `webp`.
    pub(super) format: String,
}

/// Makes the items of a thread.
pub(super) struct Scribe {
    pub(super) thread_id: Id,
    pub(super) clock: Arc<dyn Clock>,
}

impl Scribe {
    pub(super) fn item(&self, kind: ItemKind) -> Item {
        new_item(&self.thread_id, self.now(), kind)
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_epoch(self.clock.now())
    }
}

impl<'a> Answer<'a> {
    /// An answer that has not begun. `newest` are the two newest items of the thread, the newest
    /// first: a list of tasks among them goes on.
    pub(super) fn new(config: &'a AgentConfig, scribe: Scribe, newest: Vec<Item>) -> Self {
        let tool = config.hosted_tools.iter().find(|tool| tool["type"] == "image_generation");
        Self {
            scribe,
            client_tools: &config.client_tools,
            sketches: tool.and_then(|tool| tool["partial_images"].as_u64()),
            messages: Messages::default(),
            tasks: Tasks::going_on(newest),
            images: Vec::new(),
            calls: Calls::default(),
            said: 0,
            tokens: None,
            unapproved: None,
        }
    }

    /// Adds to `out` what this event of the model means. An image that comes after all that is
    /// returned.
    ///
    /// # Errors
    /// When the model says more than an answer may hold, has called a function that it was not
    /// given, or ends because it waits for an approval.
    pub(super) fn apply(
        &mut self,
        event: ModelEvent,
        out: &mut Vec<AgentEvent>,
    ) -> Result<Option<Box<Drawing>>, AgentError> {
        self.grow(length(&event))?;
        let Self { scribe, messages, tasks, unapproved, .. } = self;
        match event {
            ModelEvent::TextDelta { item_id, content_index, delta } => {
                self.message(&item_id, out).text(content_index, delta, out);
            }
            ModelEvent::MessageAdded { item_id, parts } => {
                *unapproved = None;
                tasks.close(scribe.now(), out);
                messages.begin(item_id, parts, scribe, out);
            }
            ModelEvent::PartAdded { item_id, content_index, kind: _, text } => {
                self.message(&item_id, out).part_added(content_index, text, out);
            }
            ModelEvent::Annotation { item_id, content_index, annotation } => {
                self.message(&item_id, out).annotation(content_index, annotation, out);
            }
            ModelEvent::TextDone { item_id, content_index, text } => {
                self.message(&item_id, out).text_done(content_index, text, out);
            }
            ModelEvent::RefusalDelta { item_id, content_index, delta } => {
                self.message(&item_id, out).refusal(content_index, &delta, out);
            }
            ModelEvent::MessageDone { item_id, parts } => {
                if !messages.is_open(&item_id) {
                    *unapproved = None;
                    tasks.close(scribe.now(), out);
                }
                messages.end(&item_id, parts, scribe, out);
            }
            ModelEvent::ReasoningAdded { .. } => tasks.open(scribe, out),
            ModelEvent::ThoughtDelta { item_id, summary_index, delta } => {
                tasks.thought((item_id, summary_index), &delta, out);
            }
            ModelEvent::ThoughtDone { item_id, summary_index, text } => {
                tasks.thought_done(&(item_id, summary_index), text, out);
            }
            ModelEvent::WebSearch { item_id, status, queries, sources } => {
                tasks.web_search(item_id, status, queries, sources, scribe, out);
            }
            ModelEvent::FileSearch { item_id, status, queries, files } => {
                tasks.file_search(item_id, status, queries, files, scribe, out);
            }
            ModelEvent::FunctionCall { item_id: _, call_id, name, arguments } => {
                self.calls.add(call_id, name, arguments, self.client_tools);
            }
            ModelEvent::FunctionOutput { call_id } => {
                self.calls.returned(&call_id, tasks, scribe, out)
            }
            ModelEvent::WentOn => {
                messages.end_all(scribe, out);
                self.calls.went_on(tasks, scribe, out);
            }
            ModelEvent::ImageAdded { item_id } => self.image_added(item_id, out),
            ModelEvent::ImagePartial { item_id, index, b64 } => {
                self.sketch(&item_id, index, &b64, out)
            }
            ModelEvent::ImageDone { item_id, b64, format } => {
                return Ok(Some(Box::new(self.image_done(item_id, b64, format))));
            }
            ModelEvent::ApprovalWanted { server, tool } => {
                *unapproved =
                    Some(format!("{:?} of the MCP server {:?}", short(&tool), short(&server)));
            }
            ModelEvent::Completed { usage } => {
                if let Some(usage) = usage {
                    let tokens = self.tokens.get_or_insert_default();
                    tokens.input += usage.input_tokens;
                    tokens.output += usage.output_tokens;
                }
                self.complete(out)?;
            }
        }
        Ok(None)
    }

    /// What it took so far, where the server says so.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        self.tokens
    }

    /// A message that is under way. A server that did not announce it means to begin it.
    fn message(
        &mut self,
        item_id: &ItemId,
        out: &mut Vec<AgentEvent>,
    ) -> super::messages::Draft<'_> {
        if !self.messages.is_open(item_id) {
            self.unapproved = None;
            self.tasks.close(self.scribe.now(), out);
            self.messages.begin(item_id.clone(), Vec::new(), &self.scribe, out);
        }
        self.messages.draft(item_id)
    }

    fn image_added(&mut self, item_id: ItemId, out: &mut Vec<AgentEvent>) {
        let item = self.scribe.item(ItemKind::GeneratedImage { image: None });
        out.push(AgentEvent::ItemAdded(item.clone()));
        self.images.push((item_id, item));
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody counts so many sketches")]
    fn sketch(&self, item_id: &ItemId, index: u64, b64: &str, out: &mut Vec<AgentEvent>) {
        let Some((_, item)) = self.images.iter().find(|(id, _)| id == item_id) else { return };
        // It lives as long as the stream: nothing of it is stored, so nothing of it is to be thrown
        // away.
        let image =
            GeneratedImage { id: item_id.to_string(), url: format!("data:image/png;base64,{b64}") };
        let progress = self.sketches.filter(|sketches| *sketches > 0);
        let progress = progress.map_or(0.0, |sketches| (index as f64 / sketches as f64).min(1.0));
        let update = ItemUpdate::ImageUpdated { image, progress: Some(progress) };
        out.push(AgentEvent::ItemUpdated { item_id: item.id.clone(), update });
    }

    fn image_done(&mut self, id: ItemId, b64: String, format: String) -> Drawing {
        let begun = self.images.iter().position(|(begun, _)| *begun == id);
        let begun = begun.map(|begun| self.images.swap_remove(begun).1);
        let item =
            begun.unwrap_or_else(|| self.scribe.item(ItemKind::GeneratedImage { image: None }));
        Drawing { item, id, b64, format }
    }

    /// Whether the server seems to be at work on calls of its own that are not shown.
    pub(super) fn has_unshown_calls(&self) -> bool {
        self.calls.are_unshown()
    }

    /// Shows the calls that the server is at work on.
    pub(super) fn show_calls(&mut self, out: &mut Vec<AgentEvent>) {
        self.calls.show(&mut self.tasks, &self.scribe, out);
    }

    /// What the end of the stream before that of the answer means, if it is more than that.
    pub(super) fn cut(&self) -> Option<AgentError> {
        self.calls.unknown()
    }

    /// Counts what was said.
    fn grow(&mut self, bytes: usize) -> Result<(), AgentError> {
        self.said = self.said.saturating_add(bytes);
        if self.said <= MOST_TEXT {
            return Ok(());
        }
        Err(AgentError::failed(format_args!(
            "the model said more than {MOST_TEXT} bytes in one answer"
        )))
    }

    fn complete(&mut self, out: &mut Vec<AgentEvent>) -> Result<(), AgentError> {
        let call = self.calls.last()?;
        self.messages.end_all(&self.scribe, out);
        self.tasks.keep(out);
        out.extend(call.map(|call| AgentEvent::ItemDone(self.scribe.item(call))));
        let Some(call) = self.unapproved.take() else { return Ok(()) };
        let cause =
            format!("{call} waits for an approval: set the tool's require_approval to \"never\"");
        Err(AgentError::Failed { cause, allow_retry: false })
    }
}

/// A name that the model gave, as much of it as a log needs.
pub(super) fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

/// The bytes of text that an event brings. What a message was said to be at its end came before, as
/// a rule.
fn length(event: &ModelEvent) -> usize {
    match event {
        ModelEvent::TextDelta { delta, .. }
        | ModelEvent::RefusalDelta { delta, .. }
        | ModelEvent::ThoughtDelta { delta, .. } => delta.len(),
        ModelEvent::PartAdded { text, .. } => text.len(),
        _ => 0,
    }
}
