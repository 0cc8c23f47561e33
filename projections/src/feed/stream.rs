//! One aggregate's own events: as pages show them beside what they mean, and as a stale node reads them.

use grantlog_domain::Recorded;

use super::{POSTGRES_COLUMNS, SQLITE_COLUMNS, Stored};
use crate::db::{Db, DbError};

/// The last events of one aggregate, at most `limit`, the oldest first. What this binary cannot read is left out.
pub async fn newest(db: &Db, aggregate_type: &str, aggregate_id: &str, limit: i64) -> Result<Vec<Recorded>, DbError> {
    let columns = columns(db);
    let sql = format!(
        "SELECT {columns} FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence DESC LIMIT $3"
    );
    let rows = db.fetch(&sql, &[aggregate_type.into(), aggregate_id.into(), limit.into()]).await?;
    let stored: Vec<Stored> = rows.iter().map(Stored::read).collect::<Result<_, _>>()?;
    Ok(stored.into_iter().rev().filter_map(|stored| stored.event.ok()).collect())
}

/// All events of one aggregate, in order, readable or not.
pub async fn whole(db: &Db, aggregate_type: &str, aggregate_id: &str) -> Result<Vec<Stored>, DbError> {
    let sql =
        format!("SELECT {} FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence", columns(db));
    let rows = db.fetch(&sql, &[aggregate_type.into(), aggregate_id.into()]).await?;
    rows.iter().map(Stored::read).collect()
}

/// All events of one type of aggregate, each aggregate's in order. For those of which there are few.
pub async fn of_type(db: &Db, aggregate_type: &str) -> Result<Vec<Stored>, DbError> {
    let columns = columns(db);
    let sql = format!("SELECT {columns} FROM events WHERE aggregate_type = $1 ORDER BY aggregate_id, sequence");
    let rows = db.fetch(&sql, &[aggregate_type.into()]).await?;
    rows.iter().map(Stored::read).collect()
}

fn columns(db: &Db) -> &'static str {
    if db.is_postgres() { POSTGRES_COLUMNS } else { SQLITE_COLUMNS }
}
