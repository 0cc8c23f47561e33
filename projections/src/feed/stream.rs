//! One aggregate's own events: as pages show them beside what they mean, and as a stale node reads them.

use grantlog_domain::Recorded;

use super::{POSTGRES_COLUMNS, SQLITE_COLUMNS, Stored, stored};
use crate::db::{Db, DbError};
use crate::log::Log;

/// The last events of one aggregate, at most `limit`, the oldest first. What this binary cannot read is left
/// out, and what nobody decided.
pub async fn newest(log: &Log, aggregate_type: &str, aggregate_id: &str, limit: i64) -> Result<Vec<Recorded>, DbError> {
    let columns = columns(log);
    let sql = format!(
        "SELECT {columns} FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence DESC LIMIT $3"
    );
    let rows = log.fetch(&sql, &[aggregate_type.into(), aggregate_id.into(), limit.into()]).await?;
    Ok(stored(log, &rows).await?.into_iter().rev().filter_map(|stored| stored.event.ok()).collect())
}

/// All events of one aggregate, in order, readable or not.
pub async fn whole(log: &Log, aggregate_type: &str, aggregate_id: &str) -> Result<Vec<Stored>, DbError> {
    let sql = format!(
        "SELECT {} FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence",
        columns(log)
    );
    let rows = log.fetch(&sql, &[aggregate_type.into(), aggregate_id.into()]).await?;
    stored(log, &rows).await
}

/// All events of one type of aggregate, each aggregate's in order. For those of which there are few.
pub async fn of_type(log: &Log, aggregate_type: &str) -> Result<Vec<Stored>, DbError> {
    let columns = columns(log);
    let sql = format!("SELECT {columns} FROM events WHERE aggregate_type = $1 ORDER BY aggregate_id, sequence");
    let rows = log.fetch(&sql, &[aggregate_type.into()]).await?;
    stored(log, &rows).await
}

fn columns(db: &Db) -> &'static str {
    if db.is_postgres() { POSTGRES_COLUMNS } else { SQLITE_COLUMNS }
}
