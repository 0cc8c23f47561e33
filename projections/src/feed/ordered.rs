//! The ordered feed: the whole log in one order, complete behind the cursor.
//!
//! PostgreSQL: by `(txid, position)`, and only what no running transaction can still come before. The filter and the
//! rows are one statement, so they see the same snapshot. A write transaction anywhere in the cluster holds it back
//! until it ends. SQLite has one writer, so the position is the order of commits.

use std::sync::LazyLock;

use super::{Appended, Cursor, POSTGRES_COLUMNS, SQLITE_COLUMNS, Stored, stored};
use crate::db::{Db, DbError, Row};
use crate::log::Log;

/// Selects columns of the next events.
struct Select {
    postgres: String,
    sqlite: String,
}

impl Select {
    fn new(postgres: &str, sqlite: &str) -> Self {
        let postgres = format!(
            "SELECT {postgres} FROM events WHERE (txid, position) > ($1, $2) \
             AND txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + (SELECT bias FROM log_identity) \
             ORDER BY txid, position LIMIT $3"
        );
        let sqlite = format!("SELECT {sqlite} FROM events WHERE position > $1 ORDER BY position LIMIT $2");
        Self { postgres, sqlite }
    }

    async fn rows(&self, db: &Db, cursor: Cursor, limit: i64) -> Result<Vec<Row>, DbError> {
        let Cursor { txid, position } = cursor;
        match db {
            Db::Postgres(_) => db.fetch(&self.postgres, &[txid.into(), position.into(), limit.into()]).await,
            Db::Sqlite { .. } => db.fetch(&self.sqlite, &[position.into(), limit.into()]).await,
        }
    }
}

static EVENTS: LazyLock<Select> = LazyLock::new(|| Select::new(POSTGRES_COLUMNS, SQLITE_COLUMNS));
static PLACES: LazyLock<Select> = LazyLock::new(|| Select::new("txid, position", "txid, position"));

/// The next events after `cursor`, at most `limit`. An empty answer means that there are none yet.
pub async fn read(log: &Log, cursor: Cursor, limit: i64) -> Result<Vec<Stored>, DbError> {
    let rows = EVENTS.rows(log, cursor, limit).await?;
    stored(log, &rows).await
}

/// The same. When all of them were appended by this process and are at hand, only their places are read.
pub async fn read_beside(log: &Log, cursor: Cursor, limit: i64, appended: &Appended) -> Result<Vec<Stored>, DbError> {
    if !appended.is_empty() {
        let place = |row: &Row| Ok(Cursor { txid: row.int(0)?, position: row.int(1)? });
        let places: Result<Vec<Cursor>, DbError> = PLACES.rows(log, cursor, limit).await?.iter().map(place).collect();
        if let Some(events) = appended.take(&places?) {
            return Ok(events);
        }
    }
    read(log, cursor, limit).await
}

/// The end of the log as it is now: the greatest position. 0 for an empty log.
pub async fn end(db: &Db) -> Result<i64, DbError> {
    let rows = db.fetch("SELECT COALESCE(MAX(position), 0) FROM events", &[]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}
