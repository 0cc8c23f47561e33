//! The time that the log has come to. A process that starts goes on from there, so that nothing which expired before
//! comes back to life with a clock that was set back (docs/decisions/0010).

use std::time::Duration;

use grantlog_projections::db::{Db, DbError};
use uuid::Uuid;

use super::error::StoreError;
use crate::clock::Clock;

/// A clock that is behind the log by more than this is worth a warning; less is the nature of clocks.
const BEHIND_NOTICED: Duration = Duration::from_secs(2);

/// PostgreSQL's own clock is the one that every node shares. The newest events as well, in case it was set back itself;
/// not the times that nodes wrote into them, because one node with a wrong clock would take all others along.
const POSTGRES: &str = "\
    SELECT (extract(epoch FROM greatest(clock_timestamp(), (SELECT max(recorded_at) FROM \
        (SELECT recorded_at FROM events ORDER BY position DESC LIMIT 10000) AS newest))) * 1000)::bigint";

/// SQLite is used by one machine. Its processes write their own time, which does not go back, into every event's id.
const SQLITE: &str = "SELECT metadata ->> 'event_id' FROM events ORDER BY position DESC LIMIT 1";

/// Moves a clock that is behind to where the log is.
pub(super) async fn go_on_from(db: &Db, clock: &Clock) -> Result<(), StoreError> {
    let Some(latest) = latest(db).await? else { return Ok(()) };
    let behind = clock.not_before(latest);
    if behind > BEHIND_NOTICED {
        tracing::warn!(
            behind_seconds = behind.as_secs(),
            "this machine's clock is behind the event log; time goes on from the log, so that nothing expired comes \
             back to life. Set the clock right and start again when it has passed the log's"
        );
    }
    Ok(())
}

/// Unix milliseconds; `None` for an empty log.
async fn latest(db: &Db) -> Result<Option<i64>, DbError> {
    let rows = match db {
        Db::Postgres(_) => db.fetch(POSTGRES, &[]).await?,
        Db::Sqlite { .. } => db.fetch(SQLITE, &[]).await?,
    };
    let Some(row) = rows.first() else { return Ok(None) };
    if db.is_postgres() {
        return row.int(0).map(Some);
    }
    // An id that is none tells no time; it is for the reader of that event to say so.
    let id = row.str(0).ok().and_then(|id| Uuid::try_parse(id).ok()).filter(|id| id.get_version_num() == 7);
    Ok(id.and_then(|id| i64::try_from(id.as_u128() >> 80).ok()))
}
