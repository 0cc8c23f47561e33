//! The SQL that a table projection needs, made from its columns: create, load, upsert, delete, sweep.
//!
//! PostgreSQL takes whole columns as arrays, so one statement writes a batch of any size. SQLite takes rows in chunks of
//! fixed sizes, so that there are few different statements.

use crate::db::{DbError, Row, Tx, Value};
use crate::table::{Kind, Table};

/// Rows of one SQLite statement; what remains goes one by one.
const CHUNK: usize = 32;

/// The statement that makes a table, without its indexes.
pub(super) fn create<T: Table>(table: &str, postgres: bool) -> String {
    let mut columns: Vec<String> = Vec::new();
    for column in T::COLUMNS {
        let kind = match (column.kind, postgres) {
            // The same order in both databases: by bytes.
            (Kind::Text, true) => "text COLLATE \"C\"",
            (Kind::Text, false) => "TEXT",
            (Kind::Int, true) => "bigint",
            (Kind::Int, false) => "INTEGER",
        };
        columns.push(format!("{} {kind}{}", column.name, if column.nullable { "" } else { " NOT NULL" }));
    }
    let strict = if postgres { "" } else { " STRICT" };
    let body = columns.join(", ");
    format!("CREATE TABLE {table} ({body}, PRIMARY KEY ({})){strict}", key::<T>())
}

/// Statements that make the indexes of a table that are not there.
pub(super) fn indexes<T: Table>(table: &str) -> Vec<String> {
    let index = |(number, columns)| format!("CREATE INDEX IF NOT EXISTS {table}_{number} ON {table} ({columns})");
    T::INDEXES.iter().enumerate().map(index).collect()
}

fn key<T: Table>() -> String {
    names::<T>(T::KEY).join(", ")
}

fn names<T: Table>(count: usize) -> Vec<&'static str> {
    T::COLUMNS.iter().take(count).map(|column| column.name).collect()
}

/// The rows of these groups; those of one group stand together and in the table's order.
pub(super) async fn load<T: Table>(tx: &mut Tx, table: &str, groups: &[String]) -> Result<Vec<Row>, DbError> {
    let columns = names::<T>(T::COLUMNS.len()).join(", ");
    let group = T::COLUMNS[0].name;
    let select = |which: &str| {
        format!("SELECT {columns} FROM {table} WHERE {group} {which} ORDER BY {group}, {order}", order = T::ORDER)
    };
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    if tx.is_postgres() {
        let groups = groups.iter().cloned().map(Some).collect();
        return tx.fetch(&select("= ANY($1)"), &[Value::TextArray(groups)]).await;
    }
    let mut rows = Vec::new();
    let (sql, mut values) = (select(&format!("IN ({})", placeholders(0, CHUNK))), Vec::new());
    for chunk in groups.chunks(CHUNK) {
        values.clear();
        values.extend(chunk.iter().map(|group| Value::from(group.as_str())));
        values.resize(CHUNK, Value::Null);
        rows.extend(tx.fetch(&sql, &values).await?);
    }
    Ok(rows)
}

fn placeholders(from: usize, count: usize) -> String {
    let all: Vec<String> = (from + 1..=from + count).map(|number| format!("${number}")).collect();
    all.join(", ")
}

/// Writes rows; one that stands there with the same or a later sequence stays.
pub(super) async fn upsert<T: Table>(tx: &mut Tx, table: &str, rows: &[Vec<Value>]) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns = names::<T>(T::COLUMNS.len());
    let changes: Vec<String> = columns[T::KEY..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let insert = format!("INSERT INTO {table} ({})", columns.join(", "));
    let conflict = format!(
        "ON CONFLICT ({}) DO UPDATE SET {} WHERE {table}.sequence < excluded.sequence",
        key::<T>(),
        changes.join(", ")
    );
    if tx.is_postgres() {
        let sql = format!("{insert} SELECT * FROM UNNEST({}) {conflict}", arrays::<T>(columns.len()));
        return tx.execute(&sql, &transposed::<T>(rows, columns.len())).await.map(drop);
    }
    for chunk in chunks(rows) {
        let tuples: Vec<String> =
            (0..chunk.len()).map(|row| format!("({})", placeholders(row * columns.len(), columns.len()))).collect();
        let sql = format!("{insert} VALUES {} {conflict}", tuples.join(", "));
        tx.execute(&sql, &chunk.concat()).await?;
    }
    Ok(())
}

/// Removes rows by their keys.
pub(super) async fn delete<T: Table>(tx: &mut Tx, table: &str, keys: &[Vec<Value>]) -> Result<(), DbError> {
    if keys.is_empty() {
        return Ok(());
    }
    if tx.is_postgres() {
        let sql =
            format!("DELETE FROM {table} WHERE ({}) IN (SELECT * FROM UNNEST({}))", key::<T>(), arrays::<T>(T::KEY));
        return tx.execute(&sql, &transposed::<T>(keys, T::KEY)).await.map(drop);
    }
    for chunk in chunks(keys) {
        let tuples: Vec<String> =
            (0..chunk.len()).map(|row| format!("({})", placeholders(row * T::KEY, T::KEY))).collect();
        let sql = format!("DELETE FROM {table} WHERE ({}) IN (VALUES {})", key::<T>(), tuples.join(", "));
        tx.execute(&sql, &chunk.concat()).await?;
    }
    Ok(())
}

/// Removes at most `limit` rows that were of no use before `horizon` (Unix seconds). Answers how many.
pub(super) async fn sweep<T: Table>(tx: &mut Tx, table: &str, horizon: i64, limit: i64) -> Result<u64, DbError> {
    let Some(expires) = T::EXPIRES else { return Ok(0) };
    let key = key::<T>();
    let sql = format!(
        "DELETE FROM {table} WHERE ({key}) IN \
         (SELECT {key} FROM {table} WHERE {expires} < $1 ORDER BY {expires} LIMIT $2)"
    );
    tx.execute(&sql, &[horizon.into(), limit.into()]).await
}

/// Whole chunks first, then single rows.
fn chunks(rows: &[Vec<Value>]) -> impl Iterator<Item = &[Vec<Value>]> {
    let whole = rows.len() - rows.len() % CHUNK;
    rows[..whole].chunks(CHUNK).chain(rows[whole..].chunks(1))
}

fn arrays<T: Table>(count: usize) -> String {
    let all: Vec<String> = T::COLUMNS
        .iter()
        .take(count)
        .enumerate()
        .map(|(at, column)| match column.kind {
            Kind::Text => format!("${}::text[]", at + 1),
            Kind::Int => format!("${}::bigint[]", at + 1),
        })
        .collect();
    all.join(", ")
}

/// Rows as columns.
fn transposed<T: Table>(rows: &[Vec<Value>], count: usize) -> Vec<Value> {
    let column = |at: usize| match T::COLUMNS[at].kind {
        Kind::Text => Value::TextArray(
            rows.iter().map(|row| if let Value::Text(text) = &row[at] { Some(text.clone()) } else { None }).collect(),
        ),
        Kind::Int => Value::IntArray(
            rows.iter().map(|row| if let Value::Int(int) = &row[at] { Some(*int) } else { None }).collect(),
        ),
    };
    (0..count).map(column).collect()
}
