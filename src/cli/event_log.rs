//! The event log as commands read it: rows as they are stored, so that events of a newer Grantlog are shown too.

use std::str::FromStr;

use grantlog_domain::Timestamp;
use grantlog_projections::db::{Db, Row, Value};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{CliError, output};
use crate::store::archive::ArchivedEvent;

/// Rows fetched at once.
pub(super) const PAGE_ROWS: i64 = 1000;

/// A place in the order of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    txid: i64,
    position: i64,
}

/// One event as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct LogEntry {
    pub(super) position: i64,
    #[serde(skip)]
    txid: i64,
    /// RFC 3339, in UTC, with milliseconds.
    pub(super) recorded_at: String,
    pub(super) aggregate_type: String,
    pub(super) aggregate_id: String,
    pub(super) sequence: i64,
    pub(super) event_type: String,
    event_version: String,
    payload: Box<RawValue>,
    pub(super) metadata: Box<RawValue>,
    /// Its code (docs/decisions/0016).
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

/// Which events `list` shows.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) aggregate_id: Option<String>,
    /// A whole type (`grant.revoked`) or an aggregate's (`grant`).
    pub(super) event_type: Option<String>,
    pub(super) before: Option<i64>,
}

impl Wanted {
    /// As the log is asked, for an event that is not in it any more.
    pub(super) fn has(&self, event: &ArchivedEvent) -> bool {
        self.aggregate_id.as_ref().is_none_or(|id| *id == event.aggregate_id)
            && self
                .event_type
                .as_ref()
                .is_none_or(|wanted| *wanted == event.event_type || *wanted == event.aggregate_type)
            && self.before.is_none_or(|before| event.position < before)
    }
}

/// Names the kinds of aggregates, so that an id is found through the primary key.
const OF_ANY_TYPE: &str = "aggregate_type IN ('client', 'user', 'session', 'grant', 'signing_key')";

/// JSON as text and time as milliseconds: the only words in which the two databases differ.
fn columns(db: &Db) -> &'static str {
    if db.is_postgres() {
        "txid, position, (extract(epoch FROM recorded_at) * 1000)::bigint, aggregate_type, aggregate_id, sequence, \
         event_type, event_version, payload::text, metadata::text, mac"
    } else {
        "txid, position, recorded_at, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
         metadata, mac"
    }
}

/// The next page in the order of the log: complete, and the same at every reading.
pub(super) async fn page_after(db: &Db, place: Place) -> Result<Vec<LogEntry>, CliError> {
    let columns = columns(db);
    let (sql, values) = if db.is_postgres() {
        let sql = format!(
            "SELECT {columns} FROM events WHERE (txid, position) > ($1, $2) AND {SETTLED} ORDER BY txid, position \
             LIMIT {PAGE_ROWS}"
        );
        (sql, vec![Value::Int(place.txid), Value::Int(place.position)])
    } else {
        let sql = format!("SELECT {columns} FROM events WHERE position > $1 ORDER BY position LIMIT {PAGE_ROWS}");
        (sql, vec![Value::Int(place.position)])
    };
    entries(db, &sql, &values).await
}

/// No write is under way any more up to this txid, so nothing can appear before it. SQLite has one writer at a time.
const SETTLED: &str = "txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + (SELECT bias FROM log_identity)";

/// The place behind the last event that is settled now.
pub(super) async fn end(db: &Db) -> Result<Place, CliError> {
    let sql = if db.is_postgres() {
        format!("SELECT txid, position FROM events WHERE {SETTLED} ORDER BY txid DESC, position DESC LIMIT 1")
    } else {
        "SELECT txid, position FROM events ORDER BY position DESC LIMIT 1".to_owned()
    };
    match db.fetch(&sql, &[]).await?.first() {
        Some(row) => Ok(Place { txid: row.int(0)?, position: row.int(1)? }),
        None => Ok(Place::default()),
    }
}

/// How many events there are now.
pub(super) async fn count(db: &Db) -> Result<u64, CliError> {
    let rows = db.fetch("SELECT count(*) FROM events", &[]).await?;
    let count = rows.first().map(|row| row.int(0)).transpose()?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

/// The newest events that are wanted, oldest first.
pub(super) async fn newest(db: &Db, wanted: &Wanted, limit: u32) -> Result<Vec<LogEntry>, CliError> {
    let mut conditions = vec!["1 = 1".to_owned()];
    let mut values = Vec::new();
    if let Some(id) = &wanted.aggregate_id {
        values.push(Value::Text(id.clone()));
        conditions.push(format!("{OF_ANY_TYPE} AND aggregate_id = ${}", values.len()));
    }
    if let Some(event_type) = &wanted.event_type {
        values.push(Value::Text(event_type.clone()));
        let column = if event_type.contains('.') { "event_type" } else { "aggregate_type" };
        conditions.push(format!("{column} = ${}", values.len()));
    }
    if let Some(before) = wanted.before {
        values.push(Value::Int(before));
        conditions.push(format!("position < ${}", values.len()));
    }
    let sql = format!(
        "SELECT {} FROM events WHERE {} ORDER BY position DESC LIMIT {limit}",
        columns(db),
        conditions.join(" AND ")
    );
    let mut found = entries(db, &sql, &values).await?;
    found.reverse();
    Ok(found)
}

/// One event by its position.
pub(super) async fn at(db: &Db, position: i64) -> Result<Option<LogEntry>, CliError> {
    let sql = format!("SELECT {} FROM events WHERE position = $1", columns(db));
    Ok(entries(db, &sql, &[Value::Int(position)]).await?.pop())
}

/// Most events that are shown of one aggregate.
pub(super) const STREAM_EVENTS_MAX: i64 = 10_000;

/// The events of one aggregate from its first.
pub(super) async fn stream(db: &Db, aggregate_id: &str) -> Result<Vec<LogEntry>, CliError> {
    let sql = format!(
        "SELECT {} FROM events WHERE {OF_ANY_TYPE} AND aggregate_id = $1 ORDER BY aggregate_type, sequence \
         LIMIT {STREAM_EVENTS_MAX}",
        columns(db)
    );
    entries(db, &sql, &[Value::Text(aggregate_id.to_owned())]).await
}

/// When the first event of an aggregate was recorded; 0 when there is none.
pub(super) async fn began(db: &Db, aggregate_type: &str, aggregate_id: &str) -> Result<Timestamp, CliError> {
    let recorded_at = columns(db).split(", aggregate_type").next().unwrap_or_default();
    let sql =
        format!("SELECT {recorded_at} FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence = 1");
    let rows = db.fetch(&sql, &[Value::Text(aggregate_type.into()), Value::Text(aggregate_id.into())]).await?;
    let millis = rows.first().map(|row| row.int(2)).transpose()?;
    Ok(Timestamp(millis.unwrap_or(0).div_euclid(1000)))
}

/// The ids of the newest aggregates of one kind, newest first, behind `after` (ids are UUIDs version 7; those of keys are in no order).
pub(super) async fn newest_ids<T>(
    db: &Db,
    aggregate_type: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<T>, CliError>
where
    T: FromStr,
{
    let mut values = vec![Value::Text(aggregate_type.to_owned())];
    values.extend(after.map(|after| Value::Text(after.to_owned())));
    let older = if after.is_some() { " AND aggregate_id < $2" } else { "" };
    let sql = format!(
        "SELECT aggregate_id FROM events WHERE aggregate_type = $1 AND sequence = 1{older} \
         ORDER BY aggregate_id DESC LIMIT {limit}"
    );
    let rows = db.fetch(&sql, &values).await?;
    let id = |row: &Row| {
        let text = row.text(0)?;
        text.parse().map_err(|_| CliError::Failed(format!("{aggregate_type} {text} is not an id")))
    };
    rows.iter().map(id).collect()
}

async fn entries(db: &Db, sql: &str, values: &[Value]) -> Result<Vec<LogEntry>, CliError> {
    db.fetch(sql, values).await?.iter().map(LogEntry::from_row).collect()
}

impl LogEntry {
    pub(super) fn place(&self) -> Place {
        Place { txid: self.txid, position: self.position }
    }

    fn from_row(row: &Row) -> Result<Self, CliError> {
        let damaged = |error: serde_json::Error| CliError::Failed(format!("an event is not JSON: {error}"));
        Ok(LogEntry {
            txid: row.int(0)?,
            position: row.int(1)?,
            recorded_at: output::moment_millis(row.int(2)?),
            aggregate_type: row.text(3)?,
            aggregate_id: row.text(4)?,
            sequence: row.int(5)?,
            event_type: row.text(6)?,
            event_version: row.text(7)?,
            payload: RawValue::from_string(row.text(8)?).map_err(damaged)?,
            metadata: RawValue::from_string(row.text(9)?).map_err(damaged)?,
            mac: row.opt_text(10)?,
        })
    }

    /// An event of an archive file.
    pub(super) fn archived(event: ArchivedEvent) -> Result<Self, CliError> {
        let damaged = |error: serde_json::Error| CliError::Failed(format!("an event is not JSON: {error}"));
        Ok(Self {
            txid: event.txid,
            position: event.position,
            recorded_at: event.recorded_at,
            aggregate_type: event.aggregate_type,
            aggregate_id: event.aggregate_id,
            sequence: event.sequence,
            event_type: event.event_type,
            event_version: event.event_version,
            payload: RawValue::from_string(event.payload).map_err(damaged)?,
            metadata: RawValue::from_string(event.metadata).map_err(damaged)?,
            mac: event.mac,
        })
    }

    /// Who caused it, as the metadata says.
    pub(super) fn actor(&self) -> String {
        let metadata: serde_json::Value = serde_json::from_str(self.metadata.get()).unwrap_or_default();
        metadata["actor"].as_str().unwrap_or_default().to_owned()
    }
}
