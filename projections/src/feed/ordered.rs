//! The ordered feed: the whole log in one order, complete behind the cursor.
//!
//! PostgreSQL: by `(txid, position)`, and only what no running transaction can still come before. The filter and the
//! rows are one statement, so they see the same snapshot. A write transaction anywhere in the cluster holds it back
//! until it ends. SQLite has one writer, so the position is the order of commits.

use std::sync::LazyLock;

use super::{Cursor, POSTGRES_COLUMNS, SQLITE_COLUMNS, Stored};
use crate::db::{Db, DbError};

static POSTGRES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {POSTGRES_COLUMNS} FROM events WHERE (txid, position) > ($1, $2) \
         AND txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + (SELECT bias FROM log_identity) \
         ORDER BY txid, position LIMIT $3"
    )
});

static SQLITE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {SQLITE_COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2"));

/// The next events after `cursor`, at most `limit`. An empty answer means that there are none yet.
pub async fn read(db: &Db, cursor: Cursor, limit: i64) -> Result<Vec<Stored>, DbError> {
    let rows = match db {
        Db::Postgres(_) => db.fetch(&POSTGRES, &[cursor.txid.into(), cursor.position.into(), limit.into()]).await?,
        Db::Sqlite { .. } => db.fetch(&SQLITE, &[cursor.position.into(), limit.into()]).await?,
    };
    rows.iter().map(Stored::read).collect()
}

/// The end of the log as it is now: the greatest position. 0 for an empty log.
pub async fn end(db: &Db) -> Result<i64, DbError> {
    let rows = db.fetch("SELECT COALESCE(MAX(position), 0) FROM events", &[]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}
