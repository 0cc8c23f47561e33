//! The lane into SQLite: the one writing connection of this process, one transaction a batch.

use std::collections::HashMap;

use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Executor as _, Row as _};
use uuid::Uuid;

use super::batch::{Inserted, Lane, LaneError, partial};
use super::{Coded, NewEvent, Placed};

/// A read model may have left the connection less durable; an append never is. IMMEDIATE: the lock is taken before
/// anything is read, so that it is waited for and not refused.
const BEGIN: &str = "PRAGMA synchronous = FULL; BEGIN IMMEDIATE";

/// The batch arrives as one JSON array, so one statement serves every size.
const INSERT: &str = "\
    INSERT INTO events \
        (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, mac, position) \
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
           (SELECT last FROM log_position) + 1 + key \
    FROM json_each($1) WHERE true \
    ON CONFLICT (aggregate_type, aggregate_id, sequence) DO NOTHING \
    RETURNING aggregate_type, aggregate_id, sequence, txid, position, recorded_at";

const READ_BACK: &str = "\
    SELECT e.aggregate_type, e.aggregate_id, e.sequence, e.txid, e.position, e.recorded_at, e.metadata ->> 'event_id' \
    FROM json_each($1) AS wanted \
    JOIN events e ON e.aggregate_type = wanted.value ->> 0 AND e.aggregate_id = wanted.value ->> 1 \
                 AND e.sequence = wanted.value ->> 2";

pub(super) struct SqliteLane {
    writer: SqlitePool,
}

impl SqliteLane {
    /// `writer` is the pool of one connection that every writer of this process shares.
    pub(super) const fn new(writer: SqlitePool) -> Self {
        Self { writer }
    }
}

impl Lane for SqliteLane {
    async fn insert(&mut self, events: &[&Coded], groups: &[usize]) -> Result<Inserted, LaneError> {
        // Nothing is begun before the connection is there.
        let mut connection = self.writer.acquire().await.map_err(|error| LaneError::Unavailable(error.to_string()))?;
        connection.execute(sqlx::raw_sql(BEGIN)).await.map_err(|error| LaneError::Unavailable(error.to_string()))?;
        let outcome = insert(&mut connection, events, groups).await;
        if !matches!(outcome, Ok(Inserted::Committed(_))) && connection.execute("ROLLBACK").await.is_err() {
            // SQLite ends a transaction itself on some errors; when it did not, the connection is of no more use.
            let still_open = connection.execute("BEGIN IMMEDIATE; ROLLBACK").await.is_err();
            if still_open {
                let _ = connection.close().await;
            }
        }
        outcome.map_err(kind)
    }

    async fn read_back(&mut self, events: &[&Coded]) -> Result<Vec<Option<(Uuid, Placed)>>, LaneError> {
        let wanted: Vec<_> =
            events.iter().map(|event| json!([event.aggregate_type, event.aggregate_id, event.sequence])).collect();
        let rows = sqlx::query(READ_BACK).bind(json!(wanted).to_string()).fetch_all(&self.writer).await;
        let rows = rows.map_err(|error| LaneError::Lost(error.to_string()))?;
        let mut found = by_place(&rows, |row| {
            let event_id: Option<String> = row.try_get(6)?;
            let event_id = event_id.and_then(|id| Uuid::try_parse(&id).ok()).unwrap_or_default();
            Ok((event_id, placed(row)?))
        })
        .map_err(kind)?;
        Ok(events.iter().map(|event| found.remove(&place(event))).collect())
    }

    async fn close(self) {}
}

async fn insert(
    connection: &mut SqliteConnection,
    events: &[&Coded],
    groups: &[usize],
) -> Result<Inserted, sqlx::Error> {
    let batch: Vec<_> = events
        .iter()
        .map(|event| {
            (
                &event.aggregate_type,
                &event.aggregate_id,
                event.sequence,
                &event.event_type,
                &event.event_version,
                &event.payload,
                &event.metadata,
                event.mac.as_str(),
            )
        })
        .collect();
    let batch = serde_json::to_string(&batch).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let rows = sqlx::query(INSERT).bind(batch).fetch_all(&mut *connection).await?;
    let mut inserted = by_place(&rows, placed)?;
    let placed: Vec<_> = events.iter().map(|event| inserted.remove(&place(event))).collect();
    let losers = partial(groups, &placed);
    if !losers.is_empty() {
        return Ok(Inserted::Partial(losers));
    }
    connection.execute("COMMIT").await?;
    Ok(Inserted::Committed(placed))
}

type Place<'a> = (&'a str, &'a str, i64);

fn place(event: &NewEvent) -> Place<'_> {
    (&event.aggregate_type, &event.aggregate_id, event.sequence)
}

fn by_place<'r, T>(
    rows: &'r [SqliteRow],
    of: impl Fn(&'r SqliteRow) -> Result<T, sqlx::Error>,
) -> Result<HashMap<Place<'r>, T>, sqlx::Error> {
    rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?), of(row)?))).collect()
}

fn placed(row: &SqliteRow) -> Result<Placed, sqlx::Error> {
    Ok(Placed { txid: row.try_get(3)?, position: row.try_get(4)?, recorded_at: row.try_get(5)? })
}

fn kind(error: sqlx::Error) -> LaneError {
    let text = error.to_string();
    let sqlx::Error::Database(database) = error else {
        // The connection's own thread is gone, perhaps while committing.
        return LaneError::Lost(text);
    };
    let code: i32 = database.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    match code & 0xff {
        // A failed COMMIT may have written: asked again, not guessed.
        10 => LaneError::Lost(text),
        // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, FULL, CANTOPEN, PROTOCOL: rolled back.
        5 | 6 | 7 | 8 | 9 | 13 | 14 | 15 => LaneError::Unavailable(text),
        _ => LaneError::Data(text),
    }
}
