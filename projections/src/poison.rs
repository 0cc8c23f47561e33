//! Events that a table could not take in. Their aggregates are quarantined: later events of the same aggregate are held
//! back, everything else goes on, and nothing from a quarantined aggregate is active.

use std::collections::HashSet;

use crate::db::{Db, DbError, Tx, Value};

/// Longest error text that is kept, in characters.
const ERROR_CHARS_MAX: usize = 500;

/// An event that was not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    pub table_name: String,
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub sequence: i64,
    /// Why; for a later event of the same aggregate, that it is held back.
    pub error: String,
    /// Unix milliseconds: when the event was recorded.
    pub recorded_at: i64,
}

/// Poison of all tables in their order; at most `limit`.
pub async fn list(db: &Db, limit: i64) -> Result<Vec<Poison>, DbError> {
    let sql = "SELECT table_name, aggregate_type, aggregate_id, sequence, error, recorded_at FROM projection_poison \
               ORDER BY table_name, aggregate_type, aggregate_id, sequence LIMIT $1";
    let rows = db.fetch(sql, &[limit.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Poison {
                table_name: row.text(0)?,
                aggregate_type: row.text(1)?,
                aggregate_id: row.text(2)?,
                sequence: row.int(3)?,
                error: row.text(4)?,
                recorded_at: row.int(5)?,
            })
        })
        .collect()
}

/// Quarantined aggregates of the tables that answer: type and id.
pub(crate) async fn aggregates(tx: &mut Tx) -> Result<Vec<(String, String)>, DbError> {
    let sql = "SELECT DISTINCT aggregate_type, aggregate_id FROM projection_poison \
               WHERE table_name IN (SELECT table_name FROM active_projection)";
    tx.fetch(sql, &[]).await?.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
}

/// Quarantined aggregates of one table.
pub(crate) async fn of_table(tx: &mut Tx, table_name: &str) -> Result<HashSet<(String, String)>, DbError> {
    let sql = "SELECT DISTINCT aggregate_type, aggregate_id FROM projection_poison WHERE table_name = $1";
    tx.fetch(sql, &[table_name.into()]).await?.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
}

pub(crate) async fn insert(tx: &mut Tx, poison: &Poison) -> Result<(), DbError> {
    let sql = "INSERT INTO projection_poison (table_name, aggregate_type, aggregate_id, sequence, error, recorded_at) \
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    // Texts with NUL would be refused by PostgreSQL.
    let error: String = poison.error.chars().filter(|c| *c != '\0').take(ERROR_CHARS_MAX).collect();
    let values: [Value; 6] = [
        poison.table_name.as_str().into(),
        poison.aggregate_type.as_str().into(),
        poison.aggregate_id.as_str().into(),
        poison.sequence.into(),
        error.into(),
        poison.recorded_at.into(),
    ];
    tx.execute(sql, &values).await.map(drop)
}
