//! What comes before the answer? What a request brings is stored and said, and the agent's side of
//! the turn is prepared.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use super::draft::Draft;
use super::{FILE_GONE, GONE_ON, Plan, Resumption, THREAD_GONE, Turn, TurnError};
use crate::agent::{self, AgentEvent};
use crate::protocol::{
    Action, Answer, ClientToolCall, ClientToolCallStatus, Event, Id, Item, ItemKind, Order,
    QuestionKind, StreamOptions, StructuredAnswers, StructuredInputStatus, Thread, ThreadView,
};
use crate::store::{Added, Audience, PageQuery, TurnAbout, TurnClaim};

/// How much an agent may say before what it said is stored.
const SAID_AHEAD: usize = 64;
/// Where the official server looks for further calls that nobody answers.
const NEWEST: u32 = 20;

/// A turn that is ready for its agent.
pub(super) struct Begun<'a> {
    pub(super) agent_turn: agent::Turn,
    pub(super) events: mpsc::Receiver<Box<AgentEvent>>,
    pub(super) draft: Draft<'a>,
    /// What a person did in a widget, if that is what the agent answers.
    pub(super) act: Option<Box<(Action, Option<Item>)>>,
}

impl Turn {
    pub(super) async fn begin(
        &self,
        plan: Plan,
        claim: &mut TurnClaim,
    ) -> Result<Begun<'_>, TurnError> {
        match plan {
            Plan::Create { thread, message } => {
                let created = Event::ThreadCreated { thread: ThreadView::bare(&thread) };
                self.begin_with_message(thread, message, Some(created))
            }
            Plan::Message { thread, message } => {
                self.add(&message).await?;
                self.begin_with_message(thread, message, None)
            }
            Plan::ToolOutput { thread, call_id, result } => {
                self.begin_with_output(thread, &call_id, result).await
            }
            Plan::StructuredInput { thread, item_id, input } => {
                self.begin_with_answers(thread, &item_id, &input, claim).await
            }
            Plan::Retry { thread, message } => {
                self.say_options();
                self.begin_again(Resumption { thread, preamble: Vec::new(), anchor: message }).await
            }
            Plan::Resume(resumption) => {
                if self.chat.has_gone_on(&self.asker.owner, &resumption.place()).await? {
                    return Err(TurnError::Changed(GONE_ON));
                }
                for event in &resumption.preamble {
                    self.running.feed.say(event);
                }
                self.say_options();
                self.begin_again(resumption).await
            }
            Plan::Act { thread, sender, action } => {
                self.say_options();
                let begun = self.begun(thread, None, None);
                Ok(Begun { act: Some(Box::new((action, sender))), ..begun })
            }
            Plan::Say { .. } => Err(TurnError::Changed("Nothing is to be answered.")),
        }
    }

    fn begin_with_message(
        &self,
        thread: Thread,
        message: Item,
        created: Option<Event>,
    ) -> Result<Begun<'_>, TurnError> {
        let brought = Event::ItemDone { item: self.chat.shown(&self.asker, message.clone()) };
        let preamble: Vec<Event> = created.into_iter().chain([brought]).collect();
        for event in &preamble {
            self.running.feed.say(event);
        }
        self.say_options();
        self.remember(Resumption { thread: thread.clone(), preamble, anchor: message.clone() });
        Ok(self.begun(thread, Some(message), None))
    }

    async fn begin_with_output(
        &self,
        thread: Thread,
        call_id: &Id,
        result: Value,
    ) -> Result<Begun<'_>, TurnError> {
        let newest = self.newest(&thread.id, NEWEST).await?;
        let mut newest = newest.into_iter();
        // The call was the newest item when the request came. Another turn may have come first.
        let call = newest.next().filter(|item| item.id == *call_id && is_pending_call(item));
        let Some(Item { id, thread_id, created_at, kind: ItemKind::ClientToolCall(call) }) = call
        else {
            return Err(TurnError::Changed("No tool call waits for an output."));
        };
        let others: Vec<Id> = newest.filter(is_pending_call).map(|item| item.id).collect();
        let call =
            ClientToolCall { status: ClientToolCallStatus::Completed, output: result, ..call };
        let item = Item { id, thread_id, created_at, kind: ItemKind::ClientToolCall(call) };
        self.save(&item).await?;
        if !others.is_empty() {
            self.chat.store.remove_items(&self.asker.owner, &thread.id, &others).await?;
        }
        self.say_options();
        self.remember(Resumption { thread: thread.clone(), preamble: Vec::new(), anchor: item });
        Ok(self.begun(thread, None, None))
    }

    async fn begin_with_answers(
        &self,
        thread: Thread,
        item_id: &Id,
        input: &StructuredAnswers,
        claim: &mut TurnClaim,
    ) -> Result<Begun<'_>, TurnError> {
        let found = self.chat.store.item(&self.asker.owner, &thread.id, item_id).await?;
        let Some(item) = found.and_then(|item| answered(item, input)) else {
            return Err(TurnError::Changed("These questions are answered already."));
        };
        self.save(&item).await?;
        self.say_options();
        let replaced = Event::ItemReplaced { item };
        self.running.feed.say(&replaced);
        if let Some(anchor) = self.newest(&thread.id, 1).await?.pop() {
            let (item_id, behind) = (item_id.clone(), Some(anchor.id.clone()));
            claim.about = Some(TurnAbout::Answers { item_id, behind });
            // One that is lost is noticed when it is renewed the next time.
            self.keep(&thread.id, claim).await;
            self.remember(Resumption { thread: thread.clone(), preamble: vec![replaced], anchor });
        }
        Ok(self.begun(thread, None, None))
    }

    async fn begin_again(&self, resumption: Resumption) -> Result<Begun<'_>, TurnError> {
        let Resumption { thread, anchor, .. } = resumption.clone();
        self.remember(resumption);
        let has_answer =
            self.newest(&thread.id, 1).await?.first().is_some_and(|item| item.id != anchor.id);
        let replaces = has_answer.then(|| anchor.id.clone());
        let message = matches!(anchor.kind, ItemKind::UserMessage(_)).then_some(anchor);
        Ok(self.begun(thread, message, replaces))
    }

    fn begun(&self, thread: Thread, message: Option<Item>, replaces: Option<Id>) -> Begun<'_> {
        let (sender, events) = mpsc::channel(SAID_AHEAD);
        let draft = Draft::new(&*self.chat.store, &self.asker.owner, thread.id.clone());
        let draft = match &replaces {
            Some(anchor) => draft.replacing(anchor.clone()),
            None => draft,
        };
        let agent_turn = self.chat.agent_turn(&self.asker, thread, message, replaces, sender);
        Begun { agent_turn, events, draft, act: None }
    }

    /// Notes how this turn is taken up again if it is stopped because nobody listens.
    fn remember(&self, mut resumption: Resumption) {
        // What a tool returned is in the store, and would take many times its bytes here.
        if let ItemKind::ClientToolCall(call) = &mut resumption.anchor.kind {
            (call.arguments, call.output) = (Value::Null, Value::Null);
        }
        self.running.resumable(resumption.place(), resumption);
    }

    fn say_options(&self) {
        let stream_options = StreamOptions { allow_cancel: self.agent.allow_cancel() };
        self.running.feed.say(&Event::StreamOptions { stream_options });
    }

    async fn add(&self, message: &Item) -> Result<(), TurnError> {
        match self.chat.store.add_message(&self.asker.owner, message).await? {
            Added::Yes => Ok(()),
            Added::ThreadGone => Err(TurnError::Changed(THREAD_GONE)),
            Added::FileGone => Err(TurnError::Changed(FILE_GONE)),
        }
    }

    async fn save(&self, item: &Item) -> Result<(), TurnError> {
        let is_there = self.chat.store.save_item(&self.asker.owner, item).await?;
        if is_there { Ok(()) } else { Err(TurnError::Changed(THREAD_GONE)) }
    }

    pub(super) async fn newest(&self, thread_id: &Id, limit: u32) -> Result<Vec<Item>, TurnError> {
        self.chat.newest_items(&self.asker.owner, thread_id, limit).await.map_err(TurnError::from)
    }
}

/// Whether an item is a call that waits for its output.
#[must_use]
pub(in crate::chatkit) fn is_pending_call(item: &Item) -> bool {
    matches!(&item.kind, ItemKind::ClientToolCall(call) if call.status == ClientToolCallStatus::Pending)
}

/// The item with answers to its questions. `None` if it asks nothing, or was answered before.
#[must_use]
pub(in crate::chatkit) fn answered(item: Item, given: &StructuredAnswers) -> Option<Item> {
    let ItemKind::StructuredInput { status: StructuredInputStatus::Pending, mut inputs } =
        item.kind
    else {
        return None;
    };
    let is_skipped = given.status == StructuredInputStatus::Skipped;
    for question in &mut inputs {
        let answer = given.answers.get(&question.id);
        let answer =
            answer.filter(|answer| !is_skipped && !answer.skipped && !answer.values.is_empty());
        let mut values = answer.map(|answer| answer.values.clone()).unwrap_or_default();
        if matches!(question.kind, QuestionKind::MultipleChoice { multiple: false, .. }) {
            values.truncate(1);
        }
        question.answer = Some(Answer { skipped: values.is_empty(), values });
    }
    let kind = ItemKind::StructuredInput { status: given.status, inputs };
    Some(Item { kind, ..item })
}

impl crate::chatkit::Chat {
    /// The newest items of a thread, hidden ones too, the newest first.
    pub(in crate::chatkit) async fn newest_items(
        &self,
        owner: &crate::store::Owner,
        thread_id: &str,
        limit: u32,
    ) -> Result<Vec<Item>, crate::store::StoreError> {
        let page = PageQuery { limit, order: Order::Desc, after: None };
        let page = self.store.items(owner, thread_id, &page, Audience::Model).await?;
        Ok(page.unwrap_or_default().data)
    }

    /// What an agent is given to answer with.
    pub(in crate::chatkit) fn agent_turn(
        &self,
        asker: &crate::chatkit::Asker,
        thread: Thread,
        message: Option<Item>,
        newest: Option<Id>,
        events: mpsc::Sender<Box<AgentEvent>>,
    ) -> agent::Turn {
        agent::Turn {
            thread,
            owner: asker.owner.clone(),
            message,
            locale: asker.locale.clone(),
            newest,
            store: self.store.clone(),
            files: self.uploads.files.clone(),
            clock: self.clock.clone(),
            request: Arc::clone(&asker.context),
            events,
        }
    }
}
