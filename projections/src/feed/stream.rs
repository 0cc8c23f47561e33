//! One aggregate's own events, as pages show them beside what they mean.

use grantlog_domain::Recorded;

use super::{POSTGRES_COLUMNS, SQLITE_COLUMNS, Stored};
use crate::db::{Db, DbError};

/// The last events of one aggregate, at most `limit`, the oldest first. What this binary cannot read is left out.
pub async fn newest(db: &Db, aggregate_type: &str, aggregate_id: &str, limit: i64) -> Result<Vec<Recorded>, DbError> {
    let columns = if db.is_postgres() { POSTGRES_COLUMNS } else { SQLITE_COLUMNS };
    let sql = format!(
        "SELECT {columns} FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence DESC LIMIT $3"
    );
    let rows = db.fetch(&sql, &[aggregate_type.into(), aggregate_id.into(), limit.into()]).await?;
    let stored: Vec<Stored> = rows.iter().map(Stored::read).collect::<Result<_, _>>()?;
    Ok(stored.into_iter().rev().filter_map(|stored| stored.event.ok()).collect())
}
