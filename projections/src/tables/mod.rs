//! The table projections, and the questions that pages and the command line ask them.

pub mod activity;
pub mod clients;
pub mod grants;
pub mod keys;
pub mod participants;
pub mod sessions;
pub mod tokens;
pub mod users;

use crate::db::{Db, DbError, Row, Tx, Value};
use crate::table::Table;

/// Most rows of one page of a list.
pub const PAGE_MAX: i64 = 500;

/// Where a page of a list begins and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// From 1 to [`PAGE_MAX`]; others are taken as the nearest of these.
    pub limit: i64,
    /// Rows to leave out first.
    pub offset: i64,
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: 100, offset: 0 }
    }
}

impl Page {
    fn push(self, sql: &mut String, values: &mut Vec<Value>) {
        values.push(self.limit.clamp(1, PAGE_MAX).into());
        values.push(self.offset.max(0).into());
        sql.push_str(&format!(" LIMIT ${} OFFSET ${}", values.len() - 1, values.len()));
    }
}

/// `SELECT` of all columns from the view of the table that answers.
fn select<T: Table>() -> String {
    let columns: Vec<&str> = T::COLUMNS.iter().map(|column| column.name).collect();
    format!("SELECT {} FROM {}_v{}", columns.join(", "), T::NAME, T::VERSION)
}

async fn rows<T: Table>(db: &Db, rest: &str, values: &[Value]) -> Result<Vec<T::Row>, DbError> {
    let sql = format!("{} {rest}", select::<T>());
    db.fetch(&sql, values).await?.iter().map(T::read).collect()
}

async fn count<T: Table>(db: &Db, rest: &str, values: &[Value]) -> Result<i64, DbError> {
    let sql = format!("SELECT COUNT(*) FROM {}_v{} {rest}", T::NAME, T::VERSION);
    db.fetch(&sql, values).await?.first().map_or(Ok(0), |row| row.int(0))
}

async fn each<T: Table>(
    tx: &mut Tx,
    rest: &str,
    values: &[Value],
    mut each: impl FnMut(T::Row) + Send,
) -> Result<(), DbError> {
    let sql = format!("{} {rest}", select::<T>());
    tx.fetch_each(&sql, values, |row: &Row| T::read(row).map(&mut each)).await
}
