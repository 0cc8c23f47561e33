//! How far each table has come, and which one answers.

use crate::db::{Block, Db, DbError, Scan, Tx, Value};
use crate::feed::Cursor;
use crate::read_models;

/// A table of a projection and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub table_name: String,
    pub name: String,
    pub version: i64,
    /// Everything up to here was taken in.
    pub cursor: Cursor,
    /// Unix milliseconds: when the last event taken in was recorded; 0 when there was none.
    pub recorded_at: i64,
}

const COLUMNS: &str = "c.table_name, c.name, c.version, c.txid, c.position, c.recorded_at";

fn read(row: &crate::db::Row) -> Result<Checkpoint, DbError> {
    let (table_name, name, version) = (row.text(0)?, row.text(1)?, row.int(2)?);
    read_models::number_of(&table_name, &name, version)?;
    Ok(Checkpoint {
        table_name,
        name,
        version,
        cursor: Cursor { txid: row.int(3)?, position: row.int(4)? },
        recorded_at: row.int(5)?,
    })
}

/// The checkpoint of the table that answers for this version of a projection; `None` before it is made.
pub async fn active(tx: &mut Tx, name: &str, version: i64) -> Result<Option<Checkpoint>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM active_projection a JOIN projection_checkpoint c ON c.table_name = a.table_name \
         WHERE a.name = $1 AND a.version = $2"
    );
    let active = tx.fetch(&sql, &[name.into(), version.into()]).await?.first().map(read).transpose()?;
    if let Some(active) = &active {
        read_models::check_owned(tx, &[&active.table_name, &format!("{name}_v{version}")]).await?;
    }
    Ok(active)
}

/// The table that answers and how far it has come, in the snapshot of `scan`; `None` before it is made.
pub(crate) async fn active_in(scan: &mut Scan, name: &str, version: i64) -> Result<Option<(String, Cursor)>, DbError> {
    // The names are those of this program.
    let sql = format!(
        "SELECT c.table_name, c.txid, c.position FROM active_projection a JOIN projection_checkpoint c \
         ON c.table_name = a.table_name WHERE a.name = '{name}' AND a.version = {version}"
    );
    let blocks = scan.fetch(sql).await?;
    let mut rows = blocks.iter().flat_map(Block::rows);
    let Some(mut row) = rows.next() else { return Ok(None) };
    let table_name: String = row.parse()?;
    read_models::number_of(&table_name, name, version)?;
    Ok(Some((table_name, Cursor { txid: row.int()?, position: row.int()? })))
}

/// Every table, by name, and whether it is the one that answers.
pub async fn all(db: &Db) -> Result<Vec<(Checkpoint, bool)>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS}, CAST(CASE WHEN a.name IS NULL THEN 0 ELSE 1 END AS BIGINT) FROM projection_checkpoint c \
         LEFT JOIN active_projection a ON a.table_name = c.table_name ORDER BY c.name, c.version, c.table_name"
    );
    db.fetch(&sql, &[]).await?.iter().map(|row| Ok((read(row)?, row.flag(6)?))).collect()
}

/// Tables of this version that do not answer: builds under way or left behind.
pub(crate) async fn building(tx: &mut Tx, name: &str, version: i64) -> Result<Vec<Checkpoint>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM projection_checkpoint c WHERE c.name = $1 AND c.version = $2 \
         AND c.table_name NOT IN (SELECT table_name FROM active_projection) ORDER BY c.table_name"
    );
    tx.fetch(&sql, &[name.into(), version.into()]).await?.iter().map(read).collect()
}

/// The checkpoint of a table, locked until the transaction ends so that nobody else writes to it; `None` when the table
/// is gone.
pub(crate) async fn lock(tx: &mut Tx, table_name: &str) -> Result<Option<Checkpoint>, DbError> {
    Ok(lock_all(tx, &[table_name]).await?.pop())
}

/// The checkpoints of these tables, locked in the same way. A table that is gone is missing. Always locked in one order,
/// so that two writers cannot wait for each other.
pub(crate) async fn lock_all(tx: &mut Tx, tables: &[&str]) -> Result<Vec<Checkpoint>, DbError> {
    // On SQLite the transaction is the only writer already.
    let lock = if tx.is_postgres() { " FOR UPDATE" } else { "" };
    let (among, tables) = among(tx, 1, tables);
    let sql = format!("SELECT {COLUMNS} FROM projection_checkpoint c WHERE {among} ORDER BY c.table_name{lock}");
    tx.fetch(&sql, &[tables]).await?.iter().map(read).collect()
}

pub(crate) async fn advance(tx: &mut Tx, tables: &[&str], to: Cursor, recorded_at: i64) -> Result<(), DbError> {
    let (among, tables) = among(tx, 4, tables);
    let sql = format!("UPDATE projection_checkpoint AS c SET txid = $1, position = $2, recorded_at = $3 WHERE {among}");
    tx.execute(&sql, &[to.txid.into(), to.position.into(), recorded_at.into(), tables]).await.map(drop)
}

/// A condition on the table's name, and its parameter.
fn among(tx: &Tx, parameter: usize, tables: &[&str]) -> (String, Value) {
    if tx.is_postgres() {
        let names = tables.iter().map(|name| Some((*name).to_owned())).collect();
        return (format!("c.table_name = ANY(${parameter})"), Value::TextArray(names));
    }
    let names = serde_json::json!(tables).to_string();
    (format!("c.table_name IN (SELECT value FROM json_each(${parameter}))"), names.into())
}
