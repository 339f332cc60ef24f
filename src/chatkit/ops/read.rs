//! What is in the threads? Requests that read. A page of a list ends where it would be over a
//! mebibyte of JSON, so what one request takes in memory is that, and one element beside it.

use std::ops::ControlFlow;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::chatkit::{Asker, Chat, not_found};
use crate::error::Error;
use crate::protocol::{Id, ListItems, OfThread, Order, PageParams, ThreadView};
use crate::store::{Audience, PAGE_BYTES, PageQuery};

/// The size of a page when none is asked for, and of the page in `threads.get_by_id`.
const DEFAULT_LIMIT: u32 = 20;
/// The largest page: OpenAI's own UI asks for 9,999 at once.
const MAX_LIMIT: u32 = 10_000;
/// What stands behind the elements of a page: `has_more`, the cursor, brackets.
const TAIL: usize = 512;

/// A thread with its oldest items.
pub(super) async fn get_thread(
    chat: &Chat,
    asker: &Asker,
    params: &OfThread,
) -> Result<Response, Error> {
    let thread = chat.store.thread(&asker.owner, &params.thread_id).await?.ok_or_else(not_found)?;
    let page = PageQuery { limit: DEFAULT_LIMIT, order: Order::Asc, after: None };
    let mut written = Written::within(&ThreadView::bare(&thread))?;
    let follows = {
        let mut each = |item, _| written.take(&chat.shown(asker, item), |item| &item.id);
        chat.store.each_item(&asker.owner, &thread.id, &page, Audience::Client, &mut each).await?
    };
    written.answer(follows.ok_or_else(not_found)?)
}

/// The threads of the user that are shown, by their making.
pub(super) async fn list_threads(
    chat: &Chat,
    asker: &Asker,
    params: PageParams,
) -> Result<Response, Error> {
    let mut written = Written::alone();
    if !chat.history.enabled {
        return written.answer(false);
    }
    let query = query(params);
    let follows = {
        let mut each = |thread, _| written.take(&ThreadView::bare(&thread), |view| &view.thread.id);
        chat.store.each_thread(&asker.owner, &query, chat.history.recent_threads, &mut each).await?
    };
    written.answer(follows.ok_or_else(not_found)?)
}

/// The items of a thread, by their place.
pub(super) async fn list_items(
    chat: &Chat,
    asker: &Asker,
    params: ListItems,
) -> Result<Response, Error> {
    let query = query(params.page);
    let mut written = Written::alone();
    let follows = {
        let mut each = |item, _| written.take(&chat.shown(asker, item), |item| &item.id);
        chat.store
            .each_item(&asker.owner, &params.thread_id, &query, Audience::Client, &mut each)
            .await?
    };
    written.answer(follows.ok_or_else(not_found)?)
}

fn query(params: PageParams) -> PageQuery {
    let limit = params.limit.filter(|limit| *limit > 0).unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    PageQuery { limit, order: params.order, after: params.after }
}

/// An answer with a page, as it is sent: each element is written to it as it is read.
struct Written {
    json: Vec<u8>,
    /// What stands behind the page.
    end: &'static str,
    last: Option<Id>,
    is_full: bool,
    failure: Option<serde_json::Error>,
}

impl Written {
    /// A page that is the whole answer.
    fn alone() -> Self {
        Self { json: b"{\"data\":[".to_vec(), end: "}", last: None, is_full: false, failure: None }
    }

    /// A page in place of the empty one of a thread, which is the last of its fields.
    fn within(bare: &ThreadView) -> Result<Self, Error> {
        let mut json = serde_json::to_vec(bare).map_err(Error::internal)?;
        let empty = br#"],"has_more":false}}"#;
        let Some(beginning) = json.strip_suffix(empty).map(<[u8]>::len) else {
            return Err(Error::internal("a thread does not end with its page"));
        };
        json.truncate(beginning);
        Ok(Self { json, end: "}}", last: None, is_full: false, failure: None })
    }

    /// Writes an element, unless the answer is full without it.
    fn take<T: Serialize>(&mut self, element: &T, id: impl Fn(&T) -> &Id) -> ControlFlow<()> {
        let before = self.json.len();
        if self.last.is_some() {
            self.json.push(b',');
        }
        if let Err(failure) = serde_json::to_writer(&mut self.json, element) {
            self.failure = Some(failure);
            return ControlFlow::Break(());
        }
        if self.last.is_some() && self.json.len() + TAIL > PAGE_BYTES {
            self.json.truncate(before);
            self.is_full = true;
            return ControlFlow::Break(());
        }
        self.last = Some(id(element).clone());
        ControlFlow::Continue(())
    }

    /// The answer; `follows`: whether something stands behind what was asked for.
    fn answer(self, follows: bool) -> Result<Response, Error> {
        let Self { mut json, end, last, is_full, failure } = self;
        if let Some(failure) = failure {
            return Err(Error::internal(failure));
        }
        let has_more = follows || is_full;
        json.extend_from_slice(format!("],\"has_more\":{has_more}").as_bytes());
        if let Some(after) = last.filter(|_| has_more) {
            json.extend_from_slice(b",\"after\":");
            serde_json::to_writer(&mut json, &after).map_err(Error::internal)?;
        }
        json.extend_from_slice(end.as_bytes());
        // It may wait for a slow reader.
        json.shrink_to_fit();
        let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(([kind], Bytes::from(json)).into_response())
    }
}
