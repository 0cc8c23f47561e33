//! Reading a partition as it is stored, in one snapshot, and finding out whether its grants are over.

use futures::TryStreamExt as _;
use grantlog_domain::{DecodeError, Event, Timestamp};
use grantlog_projections::feed::Cursor;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Executor as _, PgConnection, Postgres, Row as _, Transaction};

use super::error::ArchiveError;
use super::format::{ArchivedEvent, LogIdentity, Totals};

/// Everything read through it is of the same moment. It writes nothing, so it holds nobody back.
pub(super) struct Scan<'a> {
    tx: Transaction<'a, Postgres>,
    partition: String,
    pub(super) totals: Totals,
    /// The last event in the order of the log.
    pub(super) last: Cursor,
}

/// Whether a partition may leave the log.
pub(super) enum Over {
    /// Nothing in it was of any use from then on.
    Since(Timestamp),
    /// Why not.
    NotYet(String),
}

impl<'a> Scan<'a> {
    pub(super) async fn begin(session: &'a mut PgConnection, partition: &str) -> Result<Self, ArchiveError> {
        let mut tx = session.begin().await?;
        tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        // By the primary key's index: a sort would write all of it to disk once more.
        tx.execute("SET LOCAL enable_sort = off").await?;
        let sql = format!(
            "SELECT count(*), count(*) FILTER (WHERE sequence = 1), coalesce(min(txid), 0), coalesce(max(txid), 0), \
             coalesce(min(position), 0), coalesce(max(position), 0) FROM {partition}"
        );
        let row = tx.fetch_one(sql.as_str()).await?;
        let count = |index| row.try_get::<i64, _>(index).map(|count| u64::try_from(count).unwrap_or(0));
        let totals = Totals {
            events: count(0)?,
            grants: count(1)?,
            first_txid: row.try_get(2)?,
            last_txid: row.try_get(3)?,
            first_position: row.try_get(4)?,
            last_position: row.try_get(5)?,
        };
        let last = format!("SELECT txid, position FROM {partition} ORDER BY txid DESC, position DESC LIMIT 1");
        let last = match tx.fetch_optional(last.as_str()).await? {
            Some(row) => Cursor { txid: row.try_get(0)?, position: row.try_get(1)? },
            None => Cursor::START,
        };
        Ok(Self { tx, partition: partition.to_owned(), totals, last })
    }

    pub(super) async fn end(self) -> Result<(), ArchiveError> {
        Ok(self.tx.rollback().await?)
    }

    pub(super) async fn log_identity(&mut self) -> Result<LogIdentity, ArchiveError> {
        let sql = "SELECT system_identifier, bias, current_database()::text FROM log_identity";
        let row = self.tx.fetch_one(sql).await?;
        Ok(LogIdentity { system_identifier: row.try_get(0)?, bias: row.try_get(1)?, database: row.try_get(2)? })
    }

    /// Hands every event to `each` in the order of grant and sequence, and stops at the first one because of which the
    /// partition has to stay: it was recorded or holds after `cutoff`, or nobody can tell.
    pub(super) async fn each(
        &mut self,
        cutoff: Timestamp,
        mut each: impl FnMut(ArchivedEvent) -> Result<(), ArchiveError> + Send,
    ) -> Result<Over, ArchiveError> {
        let sql = format!(
            "SELECT txid, position, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
             aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text, metadata::text, \
             ceil(extract(epoch FROM recorded_at))::bigint, mac FROM {} ORDER BY aggregate_type, aggregate_id, sequence",
            self.partition
        );
        let mut rows = sqlx::query(&sql).fetch(&mut *self.tx);
        let mut over_since = Timestamp(0);
        while let Some(row) = rows.try_next().await? {
            let event = read(&row)?;
            let until = match holds_until(&event) {
                Ok(until) => until.max(Timestamp(row.try_get(10)?)),
                Err(reason) => return Ok(Over::NotYet(reason)),
            };
            if until > cutoff {
                let days = (until.0 - cutoff.0).div_euclid(86_400) + 1;
                let reason = format!("grant {} was of use too lately: try again in {days} days", event.aggregate_id);
                return Ok(Over::NotYet(reason));
            }
            over_since = over_since.max(until);
            each(event)?;
        }
        Ok(Over::Since(over_since))
    }
}

fn read(row: &PgRow) -> Result<ArchivedEvent, sqlx::Error> {
    Ok(ArchivedEvent {
        txid: row.try_get(0)?,
        position: row.try_get(1)?,
        recorded_at: row.try_get(2)?,
        aggregate_type: row.try_get(3)?,
        aggregate_id: row.try_get(4)?,
        sequence: row.try_get(5)?,
        event_type: row.try_get(6)?,
        event_version: row.try_get(7)?,
        payload: row.try_get(8)?,
        metadata: row.try_get(9)?,
        mac: row.try_get(11)?,
    })
}

/// From when on what the event gave is of no use; the beginning of time when it gave nothing. An error when that cannot
/// be told: a grant's first event says when the grant ends, and later ones never move that.
fn holds_until(event: &ArchivedEvent) -> Result<Timestamp, String> {
    let ArchivedEvent { aggregate_type, aggregate_id, sequence, event_type, event_version, payload, .. } = event;
    let held = match Event::decode(aggregate_type, event_type, event_version, payload) {
        Ok(Event::Grant(event)) => event.holds_until(),
        Ok(_) => return Err(format!("{aggregate_id} is not a grant")),
        Err(DecodeError::UnknownType(name)) => {
            return Err(format!("a newer Grantlog wrote {name} of grant {aggregate_id}: archive with that one"));
        }
        Err(DecodeError::Undecodable { .. }) => None,
    };
    match held {
        None if *sequence == 1 => {
            Err(format!("nobody can tell when grant {aggregate_id} ends: its first event is damaged"))
        }
        held => Ok(held.unwrap_or(Timestamp(0))),
    }
}

/// Events of a table that were recorded before `cutoff`.
pub(super) async fn older_than(
    session: &mut PgConnection,
    table: &str,
    cutoff: Timestamp,
) -> Result<i64, ArchiveError> {
    let sql = format!("SELECT count(*) FROM {table} WHERE recorded_at < to_timestamp($1)");
    Ok(sqlx::query_scalar(&sql).bind(cutoff.0 as f64).fetch_one(session).await?)
}
