//! Threads that nobody has touched for longer than they are kept are deleted, and no others.

use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use super::client::{create, thread_of};
use super::setting::{Model, goes_on, server, sqlite, until, user};
use crate::process::TempFolder;

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_goes_when_it_was_not_touched_for_longer_than_it_is_kept() {
    let (model, folder) = (Model::start(), TempFolder::new("retention"));
    let url = sqlite(&folder);
    let mut earlier = server(&model.base(), &[("DATABASE_URL", &url)]);
    let ada = user(&earlier, "ada");
    let old = thread_of(&ada.events(&create("old")).await);
    let new = thread_of(&ada.events(&create("new")).await);
    earlier.signal("TERM");
    earlier.ended();
    let mut database = SqliteConnection::connect(&url).await.expect("the file is there");
    let two_days_in_microseconds = 2_i64 * 24 * 60 * 60 * 1_000_000;
    let sql = "update threads set touched_at = touched_at - $1 where id = $2";
    let touched =
        sqlx::query(sql).bind(two_days_in_microseconds).bind(&old).execute(&mut database).await;
    assert_eq!(touched.expect("the table is there").rows_affected(), 1);

    let vars = [("DATABASE_URL", url.as_str()), ("CHATKIT_RETENTION_DAYS", "1")];
    let later = server(&model.base(), &vars);
    let ada = user(&later, "ada");
    let is_gone = async || ada.ask("threads.get_by_id", json!({"thread_id": old})).await.0 == 404;
    until("the old thread is deleted", is_gone).await;
    goes_on(&ada, &new).await;
}
