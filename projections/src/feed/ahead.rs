//! What the log has behind a place of the ordered feed, also what that feed may not show yet. For what must hold at once,
//! and cannot wait for a table that a foreign transaction holds back.

use super::Cursor;
use crate::db::{Db, DbError, Row, Value};

/// Events that one read looks at.
pub const PAGE: i64 = 20_000;

/// Streams that began in one part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    pub aggregate_ids: Vec<String>,
    /// Where the next part begins; `None` at the end of the log.
    pub next: Option<Cursor>,
}

/// Streams of a type whose first event is visible, stands behind `from`, and holds all of these ids as JSON strings, in
/// whichever field: who calls has to look. One call reads [`PAGE`] events. What was visible when the first call began is
/// found; what becomes visible meanwhile may be.
pub async fn begun_after(db: &Db, from: Cursor, aggregate_type: &str, mentions: &[String]) -> Result<Begun, DbError> {
    let next = part_end(db, from).await?;
    let to = next.unwrap_or(Cursor { txid: i64::MAX, position: i64::MAX });
    let mut values: Vec<Value> = match db {
        Db::Postgres(_) => vec![from.txid.into(), from.position.into(), to.txid.into(), to.position.into()],
        Db::Sqlite { .. } => vec![from.position.into(), to.position.into()],
    };
    values.push(aggregate_type.into());
    // The plus keeps SQLite from walking the primary key, which begins with the type, instead of the positions.
    let mut sql = match db {
        Db::Postgres(_) => {
            "SELECT aggregate_id FROM events WHERE (txid, position) > ($1, $2) \
                            AND (txid, position) <= ($3, $4) AND aggregate_type = $5 AND sequence = 1"
        }
        Db::Sqlite { .. } => {
            "SELECT aggregate_id FROM events WHERE position > $1 AND position <= $2 \
                              AND +aggregate_type = $3 AND sequence = 1"
        }
    }
    .to_owned();
    for id in mentions {
        values.push(format!("%\"{id}\"%").into());
        sql += &format!(" AND CAST(payload AS text) LIKE ${}", values.len());
    }
    let rows = db.fetch(&sql, &values).await?;
    let aggregate_ids: Result<_, DbError> = rows.iter().map(|row| row.text(0)).collect();
    Ok(Begun { aggregate_ids: aggregate_ids?, next })
}

/// Where the part of the log behind `from` ends; `None` when there are no more than [`PAGE`] events.
async fn part_end(db: &Db, from: Cursor) -> Result<Option<Cursor>, DbError> {
    let rows = match db {
        Db::Postgres(_) => {
            let sql = "SELECT txid, position FROM events WHERE (txid, position) > ($1, $2) \
                       ORDER BY txid, position LIMIT 1 OFFSET $3";
            db.fetch(sql, &[from.txid.into(), from.position.into(), PAGE.into()]).await?
        }
        Db::Sqlite { .. } => {
            let sql = "SELECT txid, position FROM events WHERE position > $1 ORDER BY position LIMIT 1 OFFSET $2";
            db.fetch(sql, &[from.position.into(), PAGE.into()]).await?
        }
    };
    rows.first().map(place).transpose()
}

/// The place of the last event that is visible; `None` for an empty log. Earlier ones may appear later.
pub async fn end(db: &Db) -> Result<Option<Cursor>, DbError> {
    let sql = match db {
        Db::Postgres(_) => "SELECT txid, position FROM events ORDER BY txid DESC, position DESC LIMIT 1",
        Db::Sqlite { .. } => "SELECT txid, position FROM events ORDER BY position DESC LIMIT 1",
    };
    db.fetch(sql, &[]).await?.first().map(place).transpose()
}

fn place(row: &Row) -> Result<Cursor, DbError> {
    Ok(Cursor { txid: row.int(0)?, position: row.int(1)? })
}
