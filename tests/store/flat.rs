//! Long lists: a page costs the same however many elements there are.

use std::time::{Duration, Instant};

use chatkit_server::protocol::{Id, Order};
use chatkit_server::store::{Audience, Owner, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::made::{everything, owner, page, recent, stored};
use crate::place::Place;

const MANY: usize = 100_000;

pub(crate) async fn pages_of_long_lists_read_no_more_than_they_show(place: &Place) {
    let (store, ada, bob) = (place.open().await, owner("ada"), owner("bob"));
    let (long, short) = (stored(&*store, &ada, 1).await, stored(&*store, &bob, 1).await);
    let first = everything(&*store, &ada, &long.id).await[0].id.clone();
    let numbers = format!(
        "with recursive n (n) as (select 2 union all select n + 1 from n where n < {MANY}) "
    );
    let thread = &long.id;
    let threads = format!(
        "insert into threads (id, workflow, usr, created_at, touched_at, last_seq, data, \
         turn_until, create_until) {numbers} select 'thr_' || n, workflow, usr, n, n, 0, \
         replace(data, '{thread}', 'thr_' || n), 0, 0 from n, threads where id = '{thread}'"
    );
    let items = format!(
        "insert into items (thread_id, seq, id, hidden, data) {numbers} select thread_id, n, \
         'msg_' || n, n % 2 = 1, replace(data, '{first}', 'msg_' || n) from n, items where \
         thread_id = '{thread}'"
    );
    // What PostgreSQL's planner knows is that owners have a thread or two. SQLite's knows nothing.
    let others =
        threads.replace("usr, n, n", "usr || n, n, n").replace("'thr_' || n", "'others_' || n");
    let analyze = if place.folder.is_some() { "select 1" } else { "analyze" };
    run(place, [others, analyze.to_owned()]).await;
    run(place, [threads, items]).await;

    for order in [Order::Asc, Order::Desc] {
        let few = typical(async || count_threads(&*store, &bob, order, None).await == 1).await;
        let (near, far) = (None, Some(format!("thr_{}", MANY / 2).into()));
        for after in [near, far] {
            let many =
                typical(async || count_threads(&*store, &ada, order, after.as_ref()).await == 20)
                    .await;
            assert!(
                many < few * 5 + SOME,
                "threads, {order:?} after {after:?}: {few:?}, then {many:?}"
            );
        }
        let newest = Some(format!("thr_{}", MANY - 25).into());
        for after in [None, newest] {
            let many = async || count_recent(&*store, &ada, order, after.as_ref()).await == 20;
            let many = typical(many).await;
            assert!(
                many < few * 5 + SOME,
                "newest, {order:?} after {after:?}: {few:?}, then {many:?}"
            );
        }
        let few =
            typical(async || count_items(&*store, &bob, &short.id, order, None).await == 1).await;
        let (near, far) = (None, Some(format!("msg_{}", MANY / 2).into()));
        for after in [near, far] {
            let many =
                async || count_items(&*store, &ada, &long.id, order, after.as_ref()).await == 20;
            let many = typical(many).await;
            assert!(
                many < few * 5 + SOME,
                "items, {order:?} after {after:?}: {few:?}, then {many:?}"
            );
        }
    }
}

/// What twenty rows may cost more than one. To go through all takes many times as long.
const SOME: Duration = Duration::from_millis(5);

async fn count_threads(
    store: &dyn Store,
    owner: &Owner,
    order: Order,
    after: Option<&Id>,
) -> usize {
    store.threads(owner, &page(20, order, after)).await.unwrap().unwrap().data.len()
}

async fn count_recent(store: &dyn Store, owner: &Owner, order: Order, after: Option<&Id>) -> usize {
    recent(store, owner, &page(20, order, after), 50).await.unwrap().data.len()
}

async fn count_items(
    store: &dyn Store,
    owner: &Owner,
    thread: &Id,
    order: Order,
    after: Option<&Id>,
) -> usize {
    let page = page(20, order, after);
    store.items(owner, thread, &page, Audience::Client).await.unwrap().unwrap().data.len()
}

/// In the middle of many: PostgreSQL plans the first few runs of a statement for their values, and
/// then once for all.
async fn typical(is_full: impl AsyncFn() -> bool) -> Duration {
    let mut times = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        assert!(is_full().await, "the page is full");
        times.push(began.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

async fn run(place: &Place, statements: [String; 2]) {
    for sql in statements.map(|sql| sqlx::raw_sql(AssertSqlSafe(sql))) {
        if place.folder.is_some() {
            let mut connection = SqliteConnection::connect(&place.url).await.unwrap();
            sql.execute(&mut connection).await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&place.url).await.unwrap();
            sql.execute(&mut connection).await.unwrap();
        }
    }
}
