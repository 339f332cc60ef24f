//! How is a list read without holding more of it than is wanted? In batches, row by row, until
//! whoever asked has enough.

use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::StoreError;
use super::database::Row;
use crate::protocol::{Id, Page};

/// What a page of a list holds at the most, in bytes of its elements' JSON; it holds one element in
/// any case.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// Takes the elements of a list one by one, each with the bytes of its JSON, and says whether it
/// wants more.
pub type Each<'a, T> = &'a mut (dyn FnMut(T, usize) -> ControlFlow<()> + Send);

/// A page of no more than [`PAGE_BYTES`] that is being filled.
pub(super) struct Filling<T> {
    data: Vec<T>,
    bytes: usize,
    is_full: bool,
}

impl<T> Filling<T> {
    pub(super) fn new() -> Self {
        Self { data: Vec::new(), bytes: 0, is_full: false }
    }

    /// Takes an element, unless the page is full without it.
    pub(super) fn take(&mut self, element: T, bytes: usize) -> ControlFlow<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.is_full = !self.data.is_empty() && self.bytes > PAGE_BYTES;
        if self.is_full {
            return ControlFlow::Break(());
        }
        self.data.push(element);
        ControlFlow::Continue(())
    }

    /// The page; `follows`: whether something stands behind what was asked for.
    pub(super) fn page(self, follows: bool, id: impl Fn(&T) -> &Id) -> Page<T> {
        let has_more = follows || self.is_full;
        let after = self.data.last().filter(|_| has_more).map(|last| id(last).clone());
        Page { data: self.data, has_more, after }
    }
}

/// The first batch: a page of the usual size, and one more that says whether something follows.
const FIRST_BATCH: u32 = 21;
/// A larger batch saves nothing any more.
const LARGEST_BATCH: u32 = 1000;

/// How a list is read on: a statement reads so many rows, the next one twice as many. What nobody
/// takes of a batch was read for nothing, so the first ones are small.
pub(super) struct Batches {
    left: u32,
    size: u32,
}

/// One batch, as far as its rows have come.
pub(super) struct Batch {
    wanted: u32,
    taken: u32,
    follows: bool,
    has_enough: bool,
}

impl Batches {
    /// Of a list of which so many elements are asked for.
    pub(super) fn of(limit: u32) -> Self {
        Self { left: limit, size: FIRST_BATCH }
    }

    pub(super) fn next(&self) -> Batch {
        Batch { wanted: self.left.min(self.size), taken: 0, follows: false, has_enough: false }
    }

    /// How many rows a batch asks for: the last one for one more than is wanted, which says whether
    /// something follows.
    pub(super) fn rows(&self, batch: &Batch) -> i64 {
        i64::from(batch.wanted) + i64::from(batch.wanted == self.left)
    }

    /// Whether something follows what was asked for, once all of that has been read, or enough of
    /// it.
    pub(super) fn end(&mut self, batch: &Batch) -> Option<bool> {
        self.left -= batch.taken;
        self.size = self.size.saturating_mul(2).min(LARGEST_BATCH);
        let is_last = self.left == 0 || batch.taken < batch.wanted || batch.has_enough;
        is_last.then_some(batch.follows)
    }
}

impl Batch {
    /// Hands over the JSON of a row's first column.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        row: &Row,
        each: &mut (dyn FnMut(T, usize) -> ControlFlow<()> + Send),
    ) -> Result<ControlFlow<()>, StoreError> {
        // It is the last row: a statement that is read to its end leaves its connection free at
        // once.
        if self.taken == self.wanted {
            self.follows = true;
            return Ok(ControlFlow::Continue(()));
        }
        self.taken += 1;
        let text = row.text(0)?;
        let flow = each(serde_json::from_str(&text)?, text.len());
        self.has_enough = flow.is_break();
        Ok(flow)
    }
}
