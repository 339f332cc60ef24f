//! Long histories, loaded as OpenAI's own UI loads them: it asks for 9,999 at once and goes on
//! behind the last one as long as there is more. One page that is refused leaves the whole history
//! empty.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::client::{Client, add, create, thread_of};
use super::setting::{Model, most_resident, postgres, server, sqlite, user};
use crate::process::TempFolder;
use crate::support::server::TestServer;

const MEBIBYTE: usize = 1024 * 1024;

/// A server with the limits that it has of itself.
fn with_default_limits(model: &Model, database: &str) -> TestServer {
    TestServer::self_hosted(&[
        ("OPENAI_BASE_URL", &model.base()),
        ("CHATKIT_THREAD_TITLES", "off"),
        ("DATABASE_URL", database),
    ])
}

async fn run(url: &str, sql: String) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.expect("the file is there");
        sql.execute(&mut connection).await.expect("it is written");
    } else {
        let mut connection = PgConnection::connect(url).await.expect("the database is there");
        sql.execute(&mut connection).await.expect("it is written");
    }
}

/// Numbers up to `most`, for the statements below.
fn numbers(most: usize) -> String {
    format!("with recursive n (n) as (select 1 union all select n + 1 from n where n < {most}) ")
}

/// Copies a thread so often.
async fn copy_thread(url: &str, thread: &str, times: usize) {
    let numbers = numbers(times);
    run(
        url,
        format!(
            "insert into threads (id, workflow, usr, created_at, touched_at, last_seq, data, \
             turn_until, create_until) {numbers} select 'thr_' || n, workflow, usr, n, n, 0, \
             replace(data, '{thread}', 'thr_' || n), 0, 0 from n, threads where id = '{thread}'"
        ),
    )
    .await;
}

/// Copies the first item of a thread so often behind all that is there, with another text in place
/// of its own.
async fn copy_item(url: &str, thread: &str, own: &str, text: &str, times: usize) {
    let numbers = numbers(times);
    let first = format!("(select min(seq) from items where thread_id = '{thread}')");
    run(
        url,
        format!(
            "insert into items (thread_id, seq, id, hidden, data) {numbers} select thread_id, \
             (select max(seq) from items where thread_id = '{thread}') + n, 'msg_' || \
             length('{text}') || '_' || n, hidden, replace(replace(data, id, 'msg_' || \
             length('{text}') || '_' || n), '{own}', '{text}') from n, items where thread_id = \
             '{thread}' and seq = {first}; update threads set last_seq = (select max(seq) from \
             items where thread_id = '{thread}') where id = '{thread}'"
        ),
    )
    .await;
}

/// The pages of a list, from `after` on: each is answered, and has a mebibyte at the most, or one
/// element.
async fn pages(
    user: &Client,
    kind: &str,
    mut params: Value,
    after: Option<Value>,
) -> Vec<Vec<Value>> {
    let (mut pages, mut after) = (Vec::new(), after);
    loop {
        if let Some(after) = &after {
            params["after"] = after.clone();
        }
        let answer = user.post(&json!({"type": kind, "params": params}), &[]).await;
        assert_eq!(answer.status(), 200, "page {} of {kind}", pages.len() + 1);
        let body = answer.bytes().await.expect("it comes whole");
        let page: Value = serde_json::from_slice(&body).expect("JSON");
        let data = page["data"].as_array().expect("a page has data").clone();
        assert!(
            body.len() <= MEBIBYTE || data.len() == 1,
            "{} bytes, {} elements",
            body.len(),
            data.len()
        );
        assert!(!data.is_empty(), "there is something behind each cursor");
        assert_eq!(page["after"].is_string(), page["has_more"] == true, "{}", page["after"]);
        if page["has_more"] == true {
            assert_eq!(page["after"], data.last().expect("it is not empty")["id"]);
        }
        pages.push(data);
        if page["has_more"] != true {
            return pages;
        }
        after = Some(page["after"].clone());
    }
}

/// What the UI shows of a thread.
async fn opened(user: &Client, thread: &str) -> Vec<Value> {
    let (status, view) = user.ask("threads.get_by_id", json!({"thread_id": thread})).await;
    assert_eq!(status, 200, "{view}");
    let mut items = view["items"]["data"].as_array().expect("a page").clone();
    if view["items"]["has_more"] == true {
        let params = json!({"thread_id": thread, "limit": 9999, "order": "asc"});
        items.extend(
            pages(user, "items.list", params, Some(view["items"]["after"].clone())).await.concat(),
        );
    }
    items
}

fn ids(elements: &[Value]) -> Vec<&str> {
    elements.iter().map(|element| element["id"].as_str().expect("an id")).collect()
}

async fn a_heavy_user_loads_the_page_five_times(database: &str) {
    let model = Model::start();
    let server = with_default_limits(&model, database);
    let ada = user(&server, "ada");
    let thread = thread_of(&ada.events(&create("hello")).await);
    copy_thread(database, &thread, 999).await;
    copy_item(database, &thread, "hello", "Where is the next one?", 898).await;
    for load in 1..=5 {
        let minted = server.mint_as("ada").send().await.expect("an answer");
        assert_eq!(minted.status(), 200, "load {load}");
        let threads = pages(&ada, "threads.list", json!({"limit": 9999, "order": "desc"}), None)
            .await
            .concat();
        let mut seen = ids(&threads);
        assert_eq!((seen.len(), seen[0]), (1000, &*thread), "load {load}: the newest first");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000, "each once");
        let items = opened(&ada, &thread).await;
        let numbers: Vec<&str> = ids(&items)[2..].to_vec();
        let expected: Vec<String> = (1..=898).map(|number| format!("msg_22_{number}")).collect();
        assert_eq!(numbers, expected, "load {load}: in their order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_threads_and_nine_hundred_items_load_at_the_default_limits_from_sqlite() {
    let folder = TempFolder::new("long");
    a_heavy_user_loads_the_page_five_times(&sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_threads_and_nine_hundred_items_load_at_the_default_limits_from_postgres() {
    a_heavy_user_loads_the_page_five_times(&postgres().await).await;
}

/// A thread of the largest messages that a person can send: two are a mention with a long list of
/// numbers, which takes many times as much in memory, and the others are words.
async fn fat_thread(ada: &Client, database: &str) -> String {
    let mut mention = create("hello");
    mention["params"]["input"]["content"] =
        json!([{"type": "input_tag", "id": "a", "text": "b", "data": {"list": ["HERE"]}}]);
    let thread = thread_of(&ada.events(&mention).await);
    copy_item(database, &thread, "\"HERE\"", &vec!["0"; 130_000].join(","), 2).await;
    copy_item(database, &thread, "[\"HERE\"]", &format!("\"{}\"", "x".repeat(260_000)), 98).await;
    thread
}

async fn fat_items_come_page_by_page(database: &str) {
    let model = Model::start();
    let server = server(&model.base(), &[("DATABASE_URL", database)]);
    let ada = user(&server, "ada");
    let thread = fat_thread(&ada, database).await;
    let items = opened(&ada, &thread).await;
    assert_eq!(items.len(), 102);
    for order in ["asc", "desc"] {
        let params = json!({"thread_id": thread, "limit": 9999, "order": order});
        let pages = pages(&ada, "items.list", params, None).await;
        assert!(
            pages.iter().all(|page| page.len() <= 6),
            "a mebibyte holds four of them, and two small ones"
        );
        assert_eq!(pages.concat().len(), 102, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_the_largest_items_comes_page_by_page_from_sqlite() {
    let folder = TempFolder::new("fat");
    fat_items_come_page_by_page(&sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_the_largest_items_comes_page_by_page_from_postgres() {
    fat_items_come_page_by_page(&postgres().await).await;
}

/// What ten lists at once of the largest items, and answers in their thread, may take on two cores:
/// README says so. Each core may be reading an element that takes many times its bytes.
const MOST_MEMORY: usize = 128 * MEBIBYTE;

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_the_largest_items_and_answers_among_them_stay_within_the_bound() {
    let (model, folder) = (Model::start(), TempFolder::new("bound"));
    let database = sqlite(&folder);
    let vars = [("DATABASE_URL", database.as_str()), ("TOKIO_WORKER_THREADS", "2")];
    let server = server(&model.base(), &vars);
    let ada = user(&server, "ada");
    let thread = fat_thread(&ada, &database).await;
    let before = most_resident(&server);
    let list = async |order: &str| {
        let params = json!({"thread_id": thread, "limit": 9999, "order": order});
        let answer = ada.post(&json!({"type": "items.list", "params": params}), &[]).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("it comes whole").len()
    };
    for _ in 0..3 {
        let orders = ["asc", "desc"].into_iter().cycle().take(10);
        let sizes = futures_util::future::join_all(orders.map(&list)).await;
        assert!(sizes.iter().all(|size| *size <= MEBIBYTE), "{sizes:?}");
    }
    let lists = most_resident(&server) - before;
    for number in 0..4 {
        let events = ada.events(&add(&thread, &format!("and now {number}"))).await;
        assert_eq!(events.last().expect("an event")["type"], "thread.item.done", "{events:#?}");
    }
    let grown = most_resident(&server) - before;
    assert!(grown < MOST_MEMORY, "lists took {lists} bytes, with answers {grown}");
}
