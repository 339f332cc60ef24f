//! What does the model get to read of a thread? Its newest turns, whole, as many as the budget
//! holds.
//!
//! The thread is read from its end, item by item, and only as far as the budget goes: what a thread
//! of ten thousand items costs is what its newest part costs.

mod attached;
mod cost;
mod items;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use attached::{Attached, Carried};
pub use cost::cost_of;

use super::{AgentError, Turn};
use crate::protocol::{Item, ItemKind};
use crate::store::room::Held;
use crate::upstream::model::{InputItem, InputPart, Role};

/// How many items tell whether a list of tasks goes on.
const NEWEST: usize = 2;
/// No tokenizer is asked. English takes four bytes a token and more, Chinese three, code and
/// numbers about three.
const BYTES_A_TOKEN: usize = 3;
/// What a message costs beside its words.
const TOKENS_A_MESSAGE: usize = 8;
const TOKENS_AN_IMAGE: usize = 1000;
/// A page costs about 1,500 tokens whatever it holds; models read no more than some dozens of
/// pages.
const TOKENS_A_FILE: std::ops::RangeInclusive<u64> = 1_500..=40_000;
const FILE_BYTES_A_TOKEN: u64 = 8;

/// What was said in a thread before the answer that is due.
#[derive(Debug)]
pub(super) struct Past {
    /// As the model reads it, oldest first. Each call has its output right behind it.
    pub(super) input: Vec<InputItem>,
    /// How many elements of `input` were said before the newest turn.
    pub(super) earlier: usize,
    /// The two newest items, the newest first.
    pub(super) newest: Vec<Item>,
    /// The room in memory that the files of `input` take.
    pub(super) held: Held,
}

impl Past {
    /// Reads a thread from its end until the budget is used up. The message that is answered and
    /// the newest item are there even when they are more; of what the newest turn has between them,
    /// the newest that fits. It waits for room in memory while other turns hold many files.
    ///
    /// # Errors
    /// When the store fails, or a file that is there can't be read.
    pub(super) async fn read(turn: &Turn, max_tokens: u32) -> Result<Self, AgentError> {
        let max_tokens = usize::try_from(max_tokens).unwrap_or(usize::MAX);
        let mut words = Words::new(max_tokens);
        turn.each_item(&mut |item| words.take(item)).await?;
        let mut window = Window::new(max_tokens);
        let mut attached = Attached::new(turn, max_tokens.saturating_mul(cost::BYTES_A_TOKEN));
        for Said { mut input, carried, begins_turn } in words.said {
            let files = attached.files(&carried).await?;
            items::add_files(&mut input, &carried, files);
            if !window.push(input, begins_turn) {
                break;
            }
        }
        if words.is_full {
            window.leave_out_open();
        }
        Ok(Self::of(window, words.newest, attached.held()))
    }

    fn of(window: Window, newest: Vec<Item>, held: Held) -> Self {
        let newest_turn = window.newest_turn;
        let input = window.finish();
        let earlier = newest_turn.map_or(0, |newest_turn| input.len() - newest_turn);
        Self { input, earlier, newest, held }
    }
}

/// Takes the files out of what was said, and says that they stood there. Whether there were any.
pub(super) fn take_out_files(said: &mut [InputItem]) -> bool {
    let mut has_files = false;
    for item in said {
        let InputItem::Message { parts, .. } = item else { continue };
        for part in parts {
            if matches!(part, InputPart::Image { .. } | InputPart::File { .. }) {
                *part = attached::stand_in();
                has_files = true;
            }
        }
    }
    has_files
}

/// Makes the user and the model speak in turns: what the site said between is said by the user, and
/// messages of one side in a row are one. Whether anything is other than it was.
pub(super) fn let_alternate(said: &mut Vec<InputItem>) -> bool {
    let before = said.len();
    let mut has_others = false;
    for mut item in std::mem::take(said) {
        if let InputItem::Message { role: role @ Role::Developer, .. } = &mut item {
            *role = Role::User;
            has_others = true;
        }
        match (said.last_mut(), item) {
            (
                Some(InputItem::Message { role, parts }),
                InputItem::Message { role: same, parts: more },
            ) if *role == same => add_parts(parts, more),
            (_, item) => said.push(item),
        }
    }
    has_others || said.len() < before
}

/// Texts that follow each other become paragraphs of one: some servers take nothing but a text.
fn add_parts(parts: &mut Vec<InputPart>, more: Vec<InputPart>) {
    for part in more {
        match (parts.last_mut(), part) {
            (Some(InputPart::Text(words)), InputPart::Text(more)) => {
                words.push_str("\n\n");
                words.push_str(&more);
            }
            (_, part) => parts.push(part),
        }
    }
}

/// What the newest items of a thread say without their files: no more than the budget holds, the
/// newest first. The items themselves, which may be many times as large in memory, are let go one
/// by one.
struct Words {
    budget: usize,
    cost: usize,
    said: Vec<Said>,
    newest: Vec<Item>,
    /// Whether an older item did not fit.
    is_full: bool,
    /// Whether the newest turn has its beginning.
    has_turn: bool,
    /// Whether something of the newest turn is left out.
    is_cut: bool,
}

/// What one item says.
struct Said {
    input: Vec<InputItem>,
    carried: Carried,
    begins_turn: bool,
}

impl Words {
    fn new(budget: usize) -> Self {
        let (is_full, has_turn, is_cut) = (false, false, false);
        Self { budget, cost: 0, said: Vec::new(), newest: Vec::new(), is_full, has_turn, is_cut }
    }

    /// Takes the next older item, or has enough.
    fn take(&mut self, item: Item) -> ControlFlow<()> {
        let begins_turn = begins_turn(&item);
        if self.is_cut && !begins_turn {
            return ControlFlow::Continue(());
        }
        let input = items::said(&item, Vec::new(), self.newest.is_empty());
        let cost: usize = input.iter().map(tokens).sum();
        let is_over = !self.said.is_empty() && self.cost.saturating_add(cost) > self.budget;
        if is_over && self.has_turn {
            self.is_full = true;
            return ControlFlow::Break(());
        }
        if is_over && !begins_turn {
            self.is_cut = true;
            return ControlFlow::Continue(());
        }
        if is_over {
            self.make_room(cost);
        }
        self.cost = self.cost.saturating_add(cost);
        let carried = Carried::by(&item);
        self.said.push(Said { input, carried, begins_turn });
        self.has_turn |= begins_turn;
        if self.newest.len() < NEWEST {
            self.newest.push(item);
        }
        if self.is_cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Leaves out what stands right behind the beginning of the newest turn, as far as that costs
    /// so much. The newest item stays.
    fn make_room(&mut self, cost: usize) {
        while self.said.len() > 1 && self.cost.saturating_add(cost) > self.budget {
            let oldest = self.said.pop().map(|said| said.input).unwrap_or_default();
            self.cost -= oldest.iter().map(tokens).sum::<usize>();
        }
        self.is_cut = true;
    }
}

fn begins_turn(item: &Item) -> bool {
    matches!(item.kind, ItemKind::UserMessage(_))
}

/// The newest turns that fit into a budget with their files. It is filled from the end of the
/// thread.
struct Window {
    budget: usize,
    cost: usize,
    /// Whole turns, the newest element first.
    kept: Vec<InputItem>,
    /// The turn whose beginning has not come yet.
    open: Vec<InputItem>,
    /// How many elements the newest turn has, once its beginning has come.
    newest_turn: Option<usize>,
}

impl Window {
    fn new(budget: usize) -> Self {
        Self { budget, cost: 0, kept: Vec::new(), open: Vec::new(), newest_turn: None }
    }

    /// Adds what an item says, which stands before everything so far. Whether there is room for
    /// more.
    fn push(&mut self, said: Vec<InputItem>, begins_turn: bool) -> bool {
        self.cost = said.iter().map(tokens).fold(self.cost, usize::saturating_add);
        if self.newest_turn.is_some() && self.cost > self.budget {
            self.open.clear();
            return false;
        }
        self.open.extend(said.into_iter().rev());
        if begins_turn {
            self.kept.append(&mut self.open);
            self.newest_turn.get_or_insert(self.kept.len());
        }
        true
    }

    /// Leaves a turn out whose beginning does not come.
    fn leave_out_open(&mut self) {
        self.open.clear();
    }

    fn finish(mut self) -> Vec<InputItem> {
        self.kept.append(&mut self.open);
        self.kept.reverse();
        self.kept
    }
}

/// About what an element costs, rather more than less.
fn tokens(item: &InputItem) -> usize {
    let text = |bytes: usize| bytes.div_ceil(BYTES_A_TOKEN);
    let part = |part: &InputPart| match part {
        InputPart::Text(words) => text(words.len()),
        InputPart::Image { .. } => TOKENS_AN_IMAGE,
        InputPart::File { data_url, .. } => {
            usize::try_from(tokens_of_pdf(data_url.len() as u64)).unwrap_or(usize::MAX)
        }
    };
    TOKENS_A_MESSAGE
        + match item {
            InputItem::Message { parts, .. } => parts.iter().map(part).sum(),
            InputItem::FunctionCall { name, arguments, .. } => text(name.len() + arguments.len()),
            InputItem::FunctionCallOutput { output, .. } => text(output.len()),
        }
}

/// About what a PDF costs that has so many bytes in base64.
fn tokens_of_pdf(encoded: u64) -> u64 {
    (encoded / FILE_BYTES_A_TOKEN).clamp(*TOKENS_A_FILE.start(), *TOKENS_A_FILE.end())
}
