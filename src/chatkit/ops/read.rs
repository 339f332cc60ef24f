//! What is in the threads? Requests that read.

use crate::chatkit::{Asker, Chat, not_found};
use crate::error::Error;
use crate::protocol::{Item, ListItems, OfThread, Order, Page, PageParams, ThreadView};
use crate::store::{Audience, PageQuery};

/// The size of a page when none is asked for, and of the page in `threads.get_by_id`.
const DEFAULT_LIMIT: u32 = 20;
/// The largest page.
const MAX_LIMIT: u32 = 100;

/// A thread with its oldest items.
pub(super) async fn get_thread(chat: &Chat, asker: &Asker, params: &OfThread) -> Result<ThreadView, Error> {
    let thread = chat.store.thread(&asker.owner, &params.thread_id).await?.ok_or_else(not_found)?;
    let page = PageQuery { limit: DEFAULT_LIMIT, order: Order::Asc, after: None };
    let items = chat.store.items(&asker.owner, &thread.id, &page, Audience::Client).await?;
    let items = items.ok_or_else(not_found)?.map(|item| chat.shown(asker, item));
    Ok(ThreadView::with(&thread, items))
}

/// The threads of the user that are shown, by their making.
pub(super) async fn list_threads(
    chat: &Chat,
    asker: &Asker,
    params: PageParams,
) -> Result<Page<ThreadView>, Error> {
    if !chat.history.enabled {
        return Ok(Page::default());
    }
    let query = query(params);
    let threads = match chat.history.recent_threads {
        Some(most) => chat.store.recent_threads(&asker.owner, &query, most).await?,
        None => chat.store.threads(&asker.owner, &query).await?,
    };
    Ok(threads.ok_or_else(not_found)?.map(|thread| ThreadView::bare(&thread)))
}

/// The items of a thread, by their place.
pub(super) async fn list_items(chat: &Chat, asker: &Asker, params: ListItems) -> Result<Page<Item>, Error> {
    let query = query(params.page);
    let items = chat.store.items(&asker.owner, &params.thread_id, &query, Audience::Client).await?;
    Ok(items.ok_or_else(not_found)?.map(|item| chat.shown(asker, item)))
}

fn query(params: PageParams) -> PageQuery {
    let limit = params.limit.filter(|limit| *limit > 0).unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    PageQuery { limit, order: params.order, after: params.after }
}
