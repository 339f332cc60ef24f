//! How do statements reach a database? One [`Database`] stands for SQLite and for PostgreSQL, so
//! that each statement is written once: both know `$1`, `returning` and `on conflict`.

use std::borrow::Cow;
use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, PgPool, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, SqlitePool, Transaction,
    postgres::PgRow, sqlite::SqliteRow,
};

use super::StoreError;
use super::sqlite_file::SqliteFile;
use crate::protocol::{Order, Timestamp};
use crate::user::UserId;

/// What the time is by SQLite's clock, in microseconds.
pub(super) const SQLITE_NOW: &str = "cast(unixepoch('now', 'subsec') * 1000000 as integer)";

/// A database with its connections.
#[derive(Debug)]
pub(super) enum Database {
    /// SQLite lets one connection write at a time. Readers never wait for it.
    Sqlite {
        /// One connection.
        writer: SqlitePool,
        /// The others; the same one for a database in memory.
        readers: SqlitePool,
        /// None for a database in memory.
        file: Option<SqliteFile>,
        /// A database in memory lives as long as a connection to it. A call that is given up may
        /// cost the one that it had, so there is another, which nobody uses.
        _keeper: Option<SqlitePool>,
    },
    /// PostgreSQL: any connection for anything.
    Postgres(PgPool),
}

impl Database {
    /// Runs a statement that changes nothing.
    pub(super) async fn read(
        &self,
        sql: impl Into<Sql>,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite { readers, .. } => rows!(Sqlite, sql, values, readers),
            Self::Postgres(pool) => rows!(Postgres, sql, values, pool),
        }
    }

    /// Runs a statement that changes nothing, and hands its rows over as they come, until there are
    /// enough.
    pub(super) async fn read_each(
        &self,
        sql: impl Into<Sql>,
        values: &[Value<'_>],
        each: &mut (dyn FnMut(Row) -> Result<ControlFlow<()>, StoreError> + Send),
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { readers, .. } => each_row!(Sqlite, sql, values, readers, each),
            Self::Postgres(pool) => each_row!(Postgres, sql, values, pool, each),
        }
    }

    /// Runs a statement that is a transaction by itself.
    pub(super) async fn write(
        &self,
        sql: impl Into<Sql>,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite { writer, file, .. } => {
                file.as_ref().map_or(Ok(()), SqliteFile::check)?;
                rows!(Sqlite, sql, values, writer)
            }
            Self::Postgres(pool) => rows!(Postgres, sql, values, pool),
        }
    }

    /// A statement that goes by the database's clock: `{now}` becomes the time now, in
    /// microseconds.
    pub(super) fn timed(&self, template: &'static str) -> Sql {
        let now = match self {
            Self::Sqlite { .. } => SQLITE_NOW,
            Self::Postgres(_) => "(extract(epoch from clock_timestamp()) * 1000000)::bigint",
        };
        Sql(AssertSqlSafe(template.replace("{now}", now)).into_sql_str())
    }

    /// Begins a transaction that will write. It is rolled back unless it is committed.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, file, .. } => {
                file.as_ref().map_or(Ok(()), SqliteFile::check)?;
                // Another process may write to the same file: the lock is taken at once, where it
                // can be waited for.
                Tx::Sqlite(writer.begin_with("begin immediate").await?)
            }
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }
}

/// A transaction.
#[derive(Debug)]
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// Runs a statement.
    pub(super) async fn run(
        &mut self,
        sql: impl Into<Sql>,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(tx) => rows!(Sqlite, sql, values, &mut **tx),
            Self::Postgres(tx) => rows!(Postgres, sql, values, &mut **tx),
        }
    }

    /// Makes it last.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

/// A statement with its values.
macro_rules! statement {
    ($database:ident, $sql:expr, $values:expr) => {{
        let mut query = sqlx::query::<$database>($sql.into().0);
        for value in $values {
            query = match value {
                Value::Text(text) => query.bind(text.as_deref()),
                Value::Number(number) => query.bind(*number),
                Value::Flag(flag) => query.bind(*flag),
            };
        }
        query
    }};
}
use statement;

/// Runs a statement on a connection of either database.
macro_rules! rows {
    ($database:ident, $sql:expr, $values:expr, $connection:expr) => {{
        let query = statement!($database, $sql, $values);
        Ok(query.fetch_all($connection).await?.into_iter().map(Row::$database).collect())
    }};
}
use rows;

/// Runs a statement, and hands its rows over one by one.
macro_rules! each_row {
    ($database:ident, $sql:expr, $values:expr, $connection:expr, $each:expr) => {{
        let mut rows = statement!($database, $sql, $values).fetch($connection);
        while let Some(row) = rows.try_next().await? {
            if $each(Row::$database(row))?.is_break() {
                break;
            }
        }
        Ok(())
    }};
}
use each_row;

/// The text of a statement.
#[derive(Clone)]
pub(super) struct Sql(SqlStr);

impl Sql {
    /// A statement that lists in either order: `{behind}` becomes the comparison with the cursor,
    /// `{order}` the order.
    pub(super) fn listing(template: &'static str, order: Order) -> Self {
        let (behind, order) = match order {
            Order::Asc => (">", "asc"),
            Order::Desc => ("<", "desc"),
        };
        let text = template.replace("{behind}", behind).replace("{order}", order);
        Self(AssertSqlSafe(text).into_sql_str())
    }

    /// A statement about so many values: `{among}` becomes `$1, $2` and so on.
    pub(super) fn about(template: &'static str, count: usize) -> Self {
        let numbers: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
        Self(AssertSqlSafe(template.replace("{among}", &numbers.join(", "))).into_sql_str())
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self(text.into_sql_str())
    }
}

/// A value that goes into a statement.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Number(i64),
    Flag(bool),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(nul::escape(text)))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text.map(nul::escape))
    }
}

impl<'a> From<&'a UserId> for Value<'a> {
    fn from(user: &'a UserId) -> Self {
        user.as_str().into()
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(time: Timestamp) -> Self {
        Self::Number(number(time.0))
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// The values of a statement, in the order of their numbers.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::database::Value::from($value)),*] };
}
pub(super) use values;

/// A number as databases have it; one that is too large becomes the largest.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A row that a statement returned. Columns go by their place.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A text that may be null.
    pub(super) fn maybe_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        let text: Option<String> = match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        };
        Ok(text.map(nul::unescape))
    }

    /// A text.
    pub(super) fn text(&self, column: usize) -> Result<String, StoreError> {
        self.maybe_text(column)?
            .ok_or_else(|| StoreError::Failed(format!("column {column} is null")))
    }

    /// A number.
    pub(super) fn number(&self, column: usize) -> Result<i64, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A number that was never negative.
    pub(super) fn unsigned(&self, column: usize) -> Result<u64, StoreError> {
        Ok(self.number(column)?.unsigned_abs())
    }

    /// Yes or no.
    pub(super) fn flag(&self, column: usize) -> Result<bool, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// PostgreSQL's texts hold every character but NUL. A client may well ask for a thread by such an
/// id, and then it is simply not there. U+FFFF, which is no character, stands before what is
/// written otherwise.
mod nul {
    use std::borrow::Cow;

    const NUL: &str = "\u{FFFF}0";
    const MARK: &str = "\u{FFFF}1";

    pub(super) fn escape(text: &str) -> Cow<'_, str> {
        if text.contains(['\u{0}', '\u{FFFF}']) {
            Cow::Owned(text.replace('\u{FFFF}', MARK).replace('\u{0}', NUL))
        } else {
            Cow::Borrowed(text)
        }
    }

    pub(super) fn unescape(text: String) -> String {
        if text.contains('\u{FFFF}') {
            text.replace(NUL, "\u{0}").replace(MARK, "\u{FFFF}")
        } else {
            text
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_text_comes_back_and_none_has_a_nul() {
            for text in [
                "",
                "plain",
                "\u{0}",
                "a\u{0}b\u{0}",
                "\u{FFFF}0",
                "\u{FFFF}\u{0}1",
                "\u{FFFF}\u{FFFF}01",
            ] {
                let stored = escape(text).into_owned();
                assert!(!stored.contains('\u{0}'), "{text:?}");
                assert_eq!(unescape(stored), text);
            }
        }
    }
}
