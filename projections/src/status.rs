//! Where the table projections stand: position, lag, poison, and what holds the ordered feed back.

use grantlog_domain::Timestamp;

use crate::checkpoint;
use crate::db::{Db, DbError};
use crate::engine::keepers;
use crate::feed::{Cursor, ordered};
use crate::log::Log;

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStatus {
    pub name: String,
    pub version: i64,
    pub table_name: String,
    /// Whether it answers; the others are being built, or were left behind by a build.
    pub active: bool,
    pub txid: i64,
    pub position: i64,
    /// Positions between it and the end of the log. Some may never have been used.
    pub lag_events: i64,
    /// Seconds since the oldest event that it has not taken in was recorded; 0 when there is none.
    pub lag_seconds: i64,
    /// Events that it could not take in or holds back.
    pub poison: i64,
    /// The process that keeps it, as [`crate::engine::node_name`] names it; `None` when nobody does or it cannot be seen.
    pub keeper: Option<String>,
    /// Why it cannot go on: the next event is of a type that this version does not know.
    pub stopped: Option<String>,
}

/// The log and all tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The greatest position in the log.
    pub end: i64,
    pub tables: Vec<TableStatus>,
    /// Seconds since the oldest transaction of the cluster that can hold the ordered feed back began; `None` when there
    /// is none, and on SQLite.
    pub oldest_write_seconds: Option<i64>,
}

/// Looks at everything once. `now` is the caller's clock.
pub async fn read(db: &Log, now: Timestamp) -> Result<Status, DbError> {
    // The tables first: they may only seem further behind than they are, never ahead.
    let checkpoints = checkpoint::all(db).await?;
    let end = ordered::end(db).await?;
    let kept: Vec<_> = checkpoints.iter().map(|(found, _)| (found.name.as_str(), found.version)).collect();
    let keepers = keepers(db, &kept).await?;
    let mut tables = Vec::with_capacity(checkpoints.len());
    for ((checkpoint, active), keeper) in checkpoints.into_iter().zip(keepers) {
        let next = ordered::read(db, checkpoint.cursor, 1).await?.pop();
        let stopped = next.as_ref().and_then(|next| match &next.event {
            Err(fault) if fault.stops() => Some(fault.to_string()),
            _ => None,
        });
        let waiting_since = match &next {
            Some(next) => Some(next.recorded_at),
            None => hidden_since(db, checkpoint.cursor).await?,
        };
        tables.push(TableStatus {
            poison: poison_of(db, &checkpoint.table_name).await?,
            lag_events: if waiting_since.is_some() { (end - checkpoint.cursor.position).max(1) } else { 0 },
            lag_seconds: waiting_since.map_or(0, |since| (now.0 - since / 1000).max(0)),
            name: checkpoint.name,
            version: checkpoint.version,
            table_name: checkpoint.table_name,
            active,
            // A table that is being built has the same lock as the one that answers.
            keeper: keeper.filter(|_| active),
            txid: checkpoint.cursor.txid,
            position: checkpoint.cursor.position,
            stopped,
        });
    }
    Ok(Status { end, tables, oldest_write_seconds: oldest_write(db).await? })
}

/// When the oldest event behind a place was recorded, in Unix milliseconds, whether the ordered feed may show it yet or
/// not; `None` when there is none.
pub async fn waiting_since(db: &Log, after: Cursor) -> Result<Option<i64>, DbError> {
    match ordered::read(db, after, 1).await?.pop() {
        Some(next) => Ok(Some(next.recorded_at)),
        None => hidden_since(db, after).await,
    }
}

/// When the oldest event was recorded that the ordered feed must not show yet.
async fn hidden_since(db: &Db, after: Cursor) -> Result<Option<i64>, DbError> {
    if !db.is_postgres() {
        return Ok(None);
    }
    let sql = "SELECT (extract(epoch FROM recorded_at) * 1000)::bigint FROM events WHERE (txid, position) > ($1, $2) \
               ORDER BY txid, position LIMIT 1";
    let rows = db.fetch(sql, &[after.txid.into(), after.position.into()]).await?;
    rows.first().map(|row| row.int(0)).transpose()
}

async fn poison_of(db: &Db, table_name: &str) -> Result<i64, DbError> {
    let sql = "SELECT COUNT(*) FROM projection_poison WHERE table_name = $1";
    let rows = db.fetch(sql, &[table_name.into()]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// Only own sessions show their transactions to an ordinary role; a monitoring role sees all of the cluster.
async fn oldest_write(db: &Db) -> Result<Option<i64>, DbError> {
    if !db.is_postgres() {
        return Ok(None);
    }
    let sql = "SELECT extract(epoch FROM clock_timestamp() - MIN(xact_start))::bigint FROM pg_stat_activity \
               WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()";
    let rows = db.fetch(sql, &[]).await?;
    rows.first().map_or(Ok(None), |row| row.opt_int(0))
}
