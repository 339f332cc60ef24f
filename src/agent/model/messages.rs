//! How does a message of the model grow? Part by part, and each part piece by piece.

use super::answer::Scribe;
use crate::agent::AgentEvent;
use crate::protocol::{Annotation, Id, Item, ItemKind, ItemUpdate, OutputText, Source, SourceKind};
use crate::upstream::model::{self, ItemId, MessagePart};

/// The messages that are under way: one, as a rule.
#[derive(Default)]
pub(super) struct Messages(Vec<Open>);

struct Open {
    model_id: ItemId,
    id: Id,
    /// The parts, by the model's numbers for them.
    parts: Vec<(usize, OutputText)>,
}

impl Messages {
    pub(super) fn is_open(&self, model_id: &ItemId) -> bool {
        self.0.iter().any(|message| message.model_id == *model_id)
    }

    pub(super) fn begin(
        &mut self,
        model_id: ItemId,
        parts: Vec<MessagePart>,
        scribe: &Scribe,
        out: &mut Vec<AgentEvent>,
    ) {
        let content: Vec<OutputText> = parts.into_iter().map(output_text).collect();
        let item = scribe.item(ItemKind::AssistantMessage { content: content.clone() });
        let parts = content.into_iter().enumerate().collect();
        self.0.push(Open { model_id, id: item.id.clone(), parts });
        out.push(AgentEvent::ItemAdded(item));
    }

    /// A message that is open.
    #[expect(clippy::expect_used, reason = "whoever asks has looked, or begun it")]
    pub(super) fn draft(&mut self, model_id: &ItemId) -> Draft<'_> {
        let message = self.0.iter_mut().find(|message| message.model_id == *model_id);
        Draft(message.expect("the message is open"))
    }

    /// Ends a message with what the model says it is; one that was not announced comes whole.
    pub(super) fn end(
        &mut self,
        model_id: &ItemId,
        parts: Vec<MessagePart>,
        scribe: &Scribe,
        out: &mut Vec<AgentEvent>,
    ) {
        let place = self.0.iter().position(|message| message.model_id == *model_id);
        let open = place.map(|place| self.0.remove(place));
        let content: Vec<OutputText> = parts.into_iter().map(output_text).collect();
        match open {
            Some(open) if content.is_empty() => open.end(None, scribe, out),
            Some(open) => open.end(Some(content), scribe, out),
            None => {
                out.push(AgentEvent::ItemDone(scribe.item(ItemKind::AssistantMessage { content })));
            }
        }
    }

    /// Ends what the model began and did not end.
    pub(super) fn end_all(&mut self, scribe: &Scribe, out: &mut Vec<AgentEvent>) {
        for message in self.0.drain(..) {
            message.end(None, scribe, out);
        }
    }
}

impl Open {
    fn end(self, content: Option<Vec<OutputText>>, scribe: &Scribe, out: &mut Vec<AgentEvent>) {
        let content =
            content.unwrap_or_else(|| self.parts.into_iter().map(|(_, part)| part).collect());
        let item = scribe.item(ItemKind::AssistantMessage { content });
        out.push(AgentEvent::ItemDone(Item { id: self.id, ..item }));
    }
}

/// A message that is under way.
pub(super) struct Draft<'a>(&'a mut Open);

impl Draft<'_> {
    pub(super) fn part_added(
        mut self,
        content_index: usize,
        text: String,
        out: &mut Vec<AgentEvent>,
    ) {
        if self.place(content_index).is_none() {
            self.begin_part(content_index, text, out);
        }
    }

    pub(super) fn text(mut self, content_index: usize, delta: String, out: &mut Vec<AgentEvent>) {
        self.known_part(content_index, out).text.push_str(&delta);
        self.say(ItemUpdate::TextDelta { content_index, delta }, out);
    }

    /// A refusal grows unseen: it is shown when the message ends.
    pub(super) fn refusal(mut self, content_index: usize, delta: &str, out: &mut Vec<AgentEvent>) {
        self.known_part(content_index, out).text.push_str(delta);
    }

    pub(super) fn annotation(
        mut self,
        content_index: usize,
        annotation: model::Annotation,
        out: &mut Vec<AgentEvent>,
    ) {
        let annotation = shown(annotation);
        let annotations = &mut self.known_part(content_index, out).annotations;
        annotations.push(annotation.clone());
        let annotation_index = annotations.len() - 1;
        self.say(ItemUpdate::AnnotationAdded { content_index, annotation_index, annotation }, out);
    }

    pub(super) fn text_done(
        mut self,
        content_index: usize,
        text: String,
        out: &mut Vec<AgentEvent>,
    ) {
        self.known_part(content_index, out).text.clone_from(&text);
        let content = OutputText { annotations: Vec::new(), text };
        self.say(ItemUpdate::PartDone { content_index, content }, out);
    }

    /// A part. A server that did not announce it means to begin it.
    fn known_part(&mut self, content_index: usize, out: &mut Vec<AgentEvent>) -> &mut OutputText {
        let place = self.place(content_index);
        let place = place.unwrap_or_else(|| self.begin_part(content_index, String::new(), out));
        &mut self.0.parts[place].1
    }

    fn place(&self, content_index: usize) -> Option<usize> {
        self.0.parts.iter().position(|(index, _)| *index == content_index)
    }

    fn begin_part(
        &mut self,
        content_index: usize,
        text: String,
        out: &mut Vec<AgentEvent>,
    ) -> usize {
        let content = OutputText { annotations: Vec::new(), text };
        self.0.parts.push((content_index, content.clone()));
        self.say(ItemUpdate::PartAdded { content_index, content }, out);
        self.0.parts.len() - 1
    }

    fn say(&self, update: ItemUpdate, out: &mut Vec<AgentEvent>) {
        out.push(AgentEvent::ItemUpdated { item_id: self.0.id.clone(), update });
    }
}

fn output_text(part: MessagePart) -> OutputText {
    OutputText { annotations: part.annotations.into_iter().map(shown).collect(), text: part.text }
}

fn shown(annotation: model::Annotation) -> Annotation {
    let (title, kind, index) = match annotation {
        model::Annotation::Url { url, title, index } => {
            (title, SourceKind::Url { url, attribution: None }, index)
        }
        model::Annotation::File { filename, index } => {
            (filename.clone(), SourceKind::File { filename }, index)
        }
    };
    Annotation { source: source(title, kind), index }
}

/// A source of which nothing more is known.
pub(super) fn source(title: String, kind: SourceKind) -> Source {
    Source { title, description: None, timestamp: None, group: None, kind }
}
