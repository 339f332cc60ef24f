//! What is in the database before the server starts? Threads that are short, threads that are long,
//! and many of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use chatkit_server::agent::turn::new_item;
use chatkit_server::clock::SystemClock;
use chatkit_server::protocol::{
    Id, InferenceOptions, Item, ItemKind, OutputText, Thread, Timestamp, UserContent, UserMessage,
};
use chatkit_server::store::{self, Claimed, Owner, Store, TurnClaim};
use chatkit_server::user::UserId;
use clap::Args;

/// About 70 tokens.
const WORDS: &str = "When the parcel left the warehouse it was scanned twice, and the second scan \
                     is the one that counts. It says Tuesday, ten past four, gate seven, so the \
                     driver should have it by now.";

/// Fills a database.
#[derive(Args)]
pub(crate) struct Seed {
    /// `sqlite://…`, or `postgres://…`.
    #[arg(long)]
    database: String,
    /// Whose threads they are.
    #[arg(long)]
    user: String,
    /// Under which agent.
    #[arg(long)]
    workflow: String,
    /// The ids are this and a number, from 0.
    #[arg(long)]
    prefix: String,
    #[arg(long)]
    threads: u64,
    /// In each thread.
    #[arg(long)]
    items: usize,
}

impl Seed {
    /// Fills it.
    pub(crate) async fn sow(&self) -> anyhow::Result<()> {
        let store = store::connect(&self.database, Arc::new(SystemClock)).await?;
        let user = UserId::parse(&self.user).context("the user's id is no good")?;
        let owner = Owner { workflow: self.workflow.as_str().into(), user };
        for number in 0..self.threads {
            self.thread(&*store, &owner, number).await?;
        }
        Ok(())
    }

    async fn thread(&self, store: &dyn Store, owner: &Owner, number: u64) -> anyhow::Result<()> {
        let id: Id = format!("{}{number}", self.prefix).into();
        let now = Timestamp(1_763_678_328_000_000 + number);
        let mut thread = Thread::new(id.clone(), now);
        thread.title = Some(format!("Conversation {number}"));
        let first = item(&id, now, 0);
        // It is over as soon as it begins.
        let claim = TurnClaim {
            key: id.to_string(),
            holder: id.to_string(),
            body: None,
            about: None,
            lasts: Duration::ZERO,
        };
        let made = store.create_thread(owner, &thread, &first, &claim).await?;
        ensure!(made == Claimed::Yes, "{id} is there already");
        let rest: Vec<Item> = (1..self.items).map(|place| item(&id, now, place)).collect();
        if !rest.is_empty() {
            ensure!(store.replace_after(owner, &id, &first.id, &rest).await?, "{id} went away");
        }
        Ok(())
    }
}

/// A question or an answer, in turn.
fn item(thread_id: &Id, now: Timestamp, place: usize) -> Item {
    let text = format!("{place}. {WORDS}");
    let kind = if place.is_multiple_of(2) {
        let content = vec![UserContent::InputText { text }];
        ItemKind::UserMessage(UserMessage {
            content,
            attachments: Vec::new(),
            quoted_text: None,
            inference_options: InferenceOptions::default(),
        })
    } else {
        ItemKind::AssistantMessage { content: vec![OutputText { text, annotations: Vec::new() }] }
    };
    new_item(thread_id, now, kind)
}
