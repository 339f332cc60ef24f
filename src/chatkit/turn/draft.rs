//! What becomes of the items that an agent says? A [`Draft`] stores them where the protocol says
//! so, and keeps a copy of those that are under way, because that is what is left of them when the
//! turn is stopped.

use crate::protocol::{DEEPEST, Id, Item, ItemKind, ItemUpdate, OutputText};
use crate::store::{Owner, Store, StoreError, insist};

/// The items of one turn.
pub(super) struct Draft<'a> {
    store: &'a dyn Store,
    owner: &'a Owner,
    thread_id: Id,
    /// An earlier answer that stands behind this item is kept until there is a new one: what is
    /// final by then waits here.
    held_back: Option<HeldBack>,
    /// One, as a rule.
    pending: Vec<Pending>,
}

struct HeldBack {
    anchor: Id,
    items: Vec<Item>,
}

struct Pending {
    item: Item,
    /// The numbers by which updates name the parts of a message. A model may begin with any, and
    /// leave some out.
    parts: Vec<usize>,
    /// How often it has changed.
    changes: u64,
    /// How often it had when it was last stored.
    stored: Option<u64>,
    /// Whether it may be in the store.
    is_stored: bool,
}

/// A message under way that the store does not have as it is.
pub(super) struct Unsaved {
    pub(super) item: Item,
    /// How often it had changed.
    pub(super) changes: u64,
}

/// Why an item can't be stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread was deleted while the turn ran.
    #[error("the thread is gone")]
    ThreadGone,
    /// It could be written, and not read again.
    #[error("JSON in an item nests deeper than {DEEPEST} levels")]
    TooDeep,
}

impl<'a> Draft<'a> {
    /// Items are stored as they become final.
    pub(super) fn new(store: &'a dyn Store, owner: &'a Owner, thread_id: Id) -> Self {
        Self { store, owner, thread_id, held_back: None, pending: Vec::with_capacity(1) }
    }

    /// What stands behind `anchor` is replaced, in one step, when [`Draft::release`] is called.
    pub(super) fn replacing(mut self, anchor: Id) -> Self {
        self.held_back = Some(HeldBack { anchor, items: Vec::new() });
        self
    }

    pub(super) fn thread_id(&self) -> &Id {
        &self.thread_id
    }

    /// Whether an earlier answer is still in its place.
    pub(super) fn is_replacing(&self) -> bool {
        self.held_back.is_some()
    }

    pub(super) fn begin(&mut self, item: Item) {
        let count =
            if let ItemKind::AssistantMessage { content } = &item.kind { content.len() } else { 0 };
        let parts = (0..count).collect();
        self.pending.push(Pending { item, parts, changes: 0, stored: None, is_stored: false });
    }

    pub(super) fn update(&mut self, item_id: &Id, update: &ItemUpdate) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.item.id == *item_id) {
            pending.apply(update);
            pending.changes += 1;
        }
    }

    /// Stores an item that is final. Workflows that began before it stand before it.
    pub(super) async fn save(&mut self, item: &Item) -> Result<(), SaveError> {
        let began = self.pending.iter().position(|pending| pending.item.id == item.id);
        self.place_workflows(began.unwrap_or(self.pending.len())).await?;
        self.pending.retain(|pending| pending.item.id != item.id);
        self.put(item).await?;
        // A page answers a call as soon as it hears of it: the call must be there by then.
        if matches!(item.kind, ItemKind::ClientToolCall(_)) { self.release().await } else { Ok(()) }
    }

    async fn place_workflows(&mut self, before: usize) -> Result<(), SaveError> {
        for index in 0..before {
            let pending = &self.pending[index];
            if !pending.is_stored && matches!(pending.item.kind, ItemKind::Workflow { .. }) {
                let item = pending.item.clone();
                self.put(&item).await?;
                self.pending[index].is_stored = true;
            }
        }
        Ok(())
    }

    async fn put(&mut self, item: &Item) -> Result<(), SaveError> {
        if item.is_too_deep() {
            return Err(SaveError::TooDeep);
        }
        let Some(HeldBack { items, .. }) = &mut self.held_back else {
            return self.store_item(item).await;
        };
        match items.iter_mut().find(|known| known.id == item.id) {
            Some(known) => *known = item.clone(),
            None => items.push(item.clone()),
        }
        Ok(())
    }

    pub(super) async fn remove(&mut self, item_id: &Id) -> Result<(), SaveError> {
        self.pending.retain(|pending| pending.item.id != *item_id);
        if let Some(HeldBack { items, .. }) = &mut self.held_back {
            items.retain(|item| item.id != *item_id);
        }
        let ids = std::slice::from_ref(item_id);
        Ok(insist(|| self.store.remove_items(self.owner, &self.thread_id, ids)).await?)
    }

    /// Puts the new answer in place of the earlier one. From here on items are stored as they
    /// become final.
    pub(super) async fn release(&mut self) -> Result<(), SaveError> {
        let Some(HeldBack { anchor, items }) = self.held_back.take() else { return Ok(()) };
        let replace = || self.store.replace_after(self.owner, &self.thread_id, &anchor, &items);
        let done = insist(replace).await?;
        if done { Ok(()) } else { Err(SaveError::ThreadGone) }
    }

    /// The messages that are under way, have text, and are to be stored, so that a crash loses
    /// little of them.
    pub(super) fn unsaved(&mut self) -> Vec<Unsaved> {
        if self.held_back.is_some() {
            return Vec::new();
        }
        let unsaved = self.pending.iter_mut().filter(|pending| pending.is_unsaved());
        let unsaved = unsaved.map(|pending| {
            // One that seems to fail may come through.
            pending.is_stored = true;
            Unsaved { item: pending.item.clone(), changes: pending.changes }
        });
        unsaved.collect()
    }

    /// Notes that a message is stored as it was after so many changes.
    pub(super) fn is_saved(&mut self, item_id: &Id, changes: u64) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.item.id == *item_id) {
            pending.stored = Some(changes);
        }
    }

    /// Forgets what is under way, also in the store: an answer that failed leaves no half messages.
    pub(super) async fn discard_pending(&mut self) -> Result<(), SaveError> {
        if let Some(HeldBack { items, .. }) = &mut self.held_back {
            items.retain(|item| self.pending.iter().all(|pending| pending.item.id != item.id));
            self.pending.clear();
        }
        let stored = self.pending.drain(..).filter(|pending| pending.is_stored);
        let ids: Vec<Id> = stored.map(|pending| pending.item.id).collect();
        if !ids.is_empty() {
            insist(|| self.store.remove_items(self.owner, &self.thread_id, &ids)).await?;
        }
        Ok(())
    }

    /// Keeps the messages that are under way and have text, as they are, and nothing else that is.
    pub(super) async fn keep_messages(&mut self) -> Result<(), SaveError> {
        for Unsaved { item, .. } in self.unsaved() {
            self.store_item(&item).await?;
        }
        self.pending.retain(|pending| !has_text(&pending.item));
        self.discard_pending().await
    }

    async fn store_item(&self, item: &Item) -> Result<(), SaveError> {
        let is_there = insist(|| self.store.save_item(self.owner, item)).await?;
        if is_there { Ok(()) } else { Err(SaveError::ThreadGone) }
    }
}

fn has_text(item: &Item) -> bool {
    match &item.kind {
        ItemKind::AssistantMessage { content } => {
            content.iter().any(|part| !part.text.trim().is_empty())
        }
        _ => false,
    }
}

impl Pending {
    fn is_unsaved(&self) -> bool {
        self.stored != Some(self.changes) && has_text(&self.item)
    }

    /// Changes the copy of an item as the client changes its own. What doesn't fit is passed over.
    fn apply(&mut self, update: &ItemUpdate) {
        // Workflows, widgets and images that are under way are dropped with their turn.
        let ItemKind::AssistantMessage { content } = &mut self.item.kind else { return };
        let numbers = &mut self.parts;
        match update {
            ItemUpdate::PartAdded { content_index, content: said }
            | ItemUpdate::PartDone { content_index, content: said } => {
                part(content, numbers, *content_index).text.clone_from(&said.text);
            }
            ItemUpdate::TextDelta { content_index, delta } => {
                part(content, numbers, *content_index).text.push_str(delta);
            }
            ItemUpdate::AnnotationAdded { content_index, annotation, .. } => {
                part(content, numbers, *content_index).annotations.push(annotation.clone());
            }
            _ => {}
        }
    }
}

/// The part of this number. One that was not announced begins here.
fn part<'a>(
    content: &'a mut Vec<OutputText>,
    numbers: &mut Vec<usize>,
    content_index: usize,
) -> &'a mut OutputText {
    let place = numbers.iter().position(|number| *number == content_index).unwrap_or_else(|| {
        numbers.push(content_index);
        content.push(OutputText { text: String::new(), annotations: Vec::new() });
        numbers.len() - 1
    });
    &mut content[place]
}
