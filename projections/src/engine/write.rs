//! The SQL that a table projection needs, made from its columns: create, load, upsert, delete, sweep.
//!
//! PostgreSQL takes whole columns as arrays, SQLite all rows as one JSON text: one statement writes a batch of any size.

use serde::Serialize;

use crate::db::{DbError, Row, Tx, Value};
use crate::table::{Column, Kind, Table};

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
    let index = |(number, columns): (usize, &&str)| {
        let first = columns.split(',').next().unwrap_or_default();
        // Nobody looks for a row by what it does not have, and most grants have no user.
        let nullable = T::COLUMNS.iter().any(|column| column.name == first && column.nullable);
        let partial = if nullable { format!(" WHERE {first} IS NOT NULL") } else { String::new() };
        format!("CREATE INDEX IF NOT EXISTS {table}_{number} ON {table} ({columns}){partial}")
    };
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
    tx.fetch(&select("IN (SELECT value FROM json_each($1))"), &[json(&groups)?]).await
}

/// Writes rows; one that stands there with the same or a later sequence stays.
pub(super) async fn upsert<T: Table>(tx: &mut Tx, table: &str, rows: Vec<Vec<Value>>) -> Result<(), DbError> {
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
        return tx.execute(&sql, &transposed::<T>(rows)).await.map(drop);
    }
    // Without the condition SQLite takes ON for the beginning of a join.
    let sql = format!("{insert} SELECT {} FROM json_each($1) WHERE true {conflict}", members(columns.len()));
    tx.execute(&sql, &[json(&rows)?]).await.map(drop)
}

/// Removes rows by their keys.
pub(super) async fn delete<T: Table>(tx: &mut Tx, table: &str, keys: Vec<Vec<Value>>) -> Result<(), DbError> {
    if keys.is_empty() {
        return Ok(());
    }
    if tx.is_postgres() {
        let sql =
            format!("DELETE FROM {table} WHERE ({}) IN (SELECT * FROM UNNEST({}))", key::<T>(), arrays::<T>(T::KEY));
        return tx.execute(&sql, &transposed::<T>(keys)).await.map(drop);
    }
    let sql = format!("DELETE FROM {table} WHERE ({}) IN (SELECT {} FROM json_each($1))", key::<T>(), members(T::KEY));
    tx.execute(&sql, &[json(&keys)?]).await.map(drop)
}

/// The members of each row of a JSON array of arrays.
fn members(count: usize) -> String {
    let all: Vec<String> = (0..count).map(|at| format!("value ->> {at}")).collect();
    all.join(", ")
}

fn json(rows: &impl Serialize) -> Result<Value, DbError> {
    serde_json::to_string(rows).map(Value::Text).map_err(|error| DbError::Malformed(error.to_string()))
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

/// Rows, which have the first columns of the table, as columns.
fn transposed<T: Table>(rows: Vec<Vec<Value>>) -> Vec<Value> {
    let length = rows.first().map_or(0, Vec::len);
    let empty = |column: &Column| match column.kind {
        Kind::Text => Value::TextArray(Vec::with_capacity(rows.len())),
        Kind::Int => Value::IntArray(Vec::with_capacity(rows.len())),
    };
    let mut columns: Vec<Value> = T::COLUMNS[..length].iter().map(empty).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            match (column, value) {
                (Value::TextArray(texts), Value::Text(text)) => texts.push(Some(text)),
                (Value::TextArray(texts), _) => texts.push(None),
                (Value::IntArray(ints), Value::Int(int)) => ints.push(Some(int)),
                (Value::IntArray(ints), _) => ints.push(None),
                _ => {}
            }
        }
    }
    columns
}
