//! Giving their codes to the events that were there before events had any (migration 0013): the log is taken for true as it
//! is, once. Goes on where it was interrupted. And making codes anew when a pepper is retired. docs/decisions/0016 says why nobody can have it done again.

use grantlog_projections::db::{Db, Row, Value};
use grantlog_projections::log::Log;
use grantlog_projections::mac::{Content, MacKeys, Verdict};
use sqlx::Executor as _;

use super::error::StoreError;
use super::partitions;
use crate::secrets::{KnownPepper, Secrets};

/// Events of one transaction.
const STEP: i64 = 1000;

/// How far it is. Positions stand for events; a few of them may never have been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attesting {
    pub done: i64,
    pub total: i64,
}

/// Whether every event has its code, as far as it is known who appended it.
pub(super) async fn is_done(db: &Db) -> Result<bool, StoreError> {
    let rows = db.fetch("SELECT attested_at FROM log_identity", &[]).await?;
    Ok(rows.first().map(|row| row.opt_int(0)).transpose()?.flatten().is_some())
}

/// Gives every event without a code its own. Answers how many there were.
pub(super) async fn run(
    log: &Log,
    secrets: &Secrets,
    known: &[KnownPepper],
    now: i64,
    progress: &mut (dyn FnMut(Attesting) + Send),
) -> Result<u64, StoreError> {
    if !secrets.knew_before_codes(known) {
        return Err(StoreError::CodesLost);
    }
    if log.is_postgres() && !may_change(log).await? {
        return Err(StoreError::Unattested);
    }
    let keys = secrets.mac_keys();
    let mut count = 0;
    for table in tables(log) {
        count += each(log, table, &|row| missing(&keys, row), true, progress).await?;
    }
    validate(log).await?;
    finish(log, secrets, now).await?;
    Ok(count)
}

/// The role of a server that does not own the log may not change it.
async fn may_change(db: &Db) -> Result<bool, StoreError> {
    let sql = "SELECT CASE WHEN has_table_privilege('events', 'UPDATE') AND has_table_privilege('log_identity', 'UPDATE') \
               THEN 1 ELSE 0 END";
    Ok(db.fetch(sql, &[]).await?.first().map(|row| row.flag(0)).transpose()?.unwrap_or(false))
}

fn tables(db: &Db) -> &'static [&'static str] {
    if db.is_postgres() { &["events", "events_base"] } else { &["events"] }
}

/// Makes the codes anew that were made under that pepper. Answers how many are left, because this role may not.
pub(super) async fn renew(
    log: &Log,
    pepper: u16,
    progress: &mut (dyn FnMut(Attesting) + Send),
) -> Result<u64, StoreError> {
    let may = !log.is_postgres() || may_change(log).await?;
    let (keys, mut left) = (log.keys()?, 0);
    for table in tables(log) {
        let count = each(log, table, &|row| under(keys, pepper, row), may, progress).await?;
        left += if may { 0 } else { count };
    }
    Ok(left)
}

/// Gives the events of a table the codes that `code` makes, or only counts them; those for which it makes none stay as they
/// are.
async fn each(
    log: &Log,
    table: &str,
    code: &(dyn Fn(&Row) -> Result<Option<Code>, StoreError> + Sync),
    may_write: bool,
    progress: &mut (dyn FnMut(Attesting) + Send),
) -> Result<u64, StoreError> {
    let end = log.fetch(&format!("SELECT COALESCE(MAX(position), 0) FROM {table}"), &[]).await?;
    let total = end.first().map_or(Ok(0), |row| row.int(0))?;
    let page = format!(
        "SELECT position, sequence, aggregate_type, aggregate_id, event_type, event_version, CAST(payload AS text), \
         CAST(metadata AS text), mac FROM {table} WHERE position > $1 ORDER BY position LIMIT {STEP}"
    );
    let (mut after, mut count) = (0, 0);
    loop {
        let rows = log.fetch(&page, &[after.into()]).await?;
        let Some(last) = rows.last() else { return Ok(count) };
        after = last.int(0)?;
        let mut codes = Vec::new();
        for row in &rows {
            match code(row) {
                Ok(Some(code)) => codes.push(code),
                Ok(None) => {}
                // Nothing can be made of it; it stays what it is, damaged.
                Err(error) => {
                    tracing::error!(position = row.int(0)?, %error, "an event cannot be read: it gets no code")
                }
            }
        }
        count += codes.len() as u64;
        if may_write {
            write(log, table, &codes).await?;
        }
        progress(Attesting { done: after.min(total), total });
    }
}

/// Where an event is, and its code.
type Code = (String, String, i64, String);

/// `None` when it has one.
fn missing(keys: &MacKeys, row: &Row) -> Result<Option<Code>, StoreError> {
    match row.opt_str(8)? {
        None => of_row(row, |content| Some(keys.attested(content))),
        Some(_) => Ok(None),
    }
}

/// `None` when it is under another key, or wrong: that it stays.
fn under(keys: &MacKeys, pepper: u16, row: &Row) -> Result<Option<Code>, StoreError> {
    match row.opt_str(8)? {
        Some(mac) if MacKeys::named_in(mac) == Some(pepper) => {
            of_row(row, |content| match keys.verify(content, Some(mac)) {
                Verdict::Genuine(origin) => Some(keys.of(origin, content)),
                Verdict::Forged | Verdict::UnknownKey(_) => None,
            })
        }
        _ => Ok(None),
    }
}

fn of_row(row: &Row, code: impl FnOnce(&Content<'_>) -> Option<String>) -> Result<Option<Code>, StoreError> {
    let content = Content {
        sequence: row.int(1)?,
        aggregate_type: row.str(2)?,
        aggregate_id: row.str(3)?,
        event_type: row.str(4)?,
        event_version: row.str(5)?,
        payload: row.str(6)?,
        metadata: row.str(7)?,
    };
    let (aggregate_type, aggregate_id) = (content.aggregate_type.to_owned(), content.aggregate_id.to_owned());
    Ok(code(&content).map(|code| (aggregate_type, aggregate_id, content.sequence, code)))
}

async fn write(db: &Db, table: &str, codes: &[Code]) -> Result<(), StoreError> {
    if codes.is_empty() {
        return Ok(());
    }
    let of_row = "e.aggregate_type = c.aggregate_type AND e.aggregate_id = c.aggregate_id AND e.sequence = c.sequence";
    if !db.is_postgres() {
        let sql = format!(
            "UPDATE {table} AS e SET mac = c.mac FROM (SELECT value ->> 0 AS aggregate_type, value ->> 1 AS aggregate_id, \
             value ->> 2 AS sequence, value ->> 3 AS mac FROM json_each($1)) AS c WHERE {of_row}"
        );
        db.execute(&sql, &[serde_json::json!(codes).to_string().into()]).await?;
        return Ok(());
    }
    let texts = |of: fn(&Code) -> &String| Value::TextArray(codes.iter().map(|code| Some(of(code).clone())).collect());
    let sql = format!(
        "UPDATE {table} AS e SET mac = c.mac FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::text[]) \
         AS c (aggregate_type, aggregate_id, sequence, mac) WHERE {of_row}"
    );
    let sequences = Value::IntArray(codes.iter().map(|code| Some(code.2)).collect());
    db.execute(&sql, &[texts(|code| &code.0), texts(|code| &code.1), sequences, texts(|code| &code.3)]).await?;
    Ok(())
}

/// Lets PostgreSQL see for itself that none is left out.
async fn validate(db: &Db) -> Result<(), StoreError> {
    let Db::Postgres(pool) = db else { return Ok(()) };
    let mut session = partitions::session(pool).await?;
    let outcome = session.execute("SET lock_timeout = 0; ALTER TABLE events VALIDATE CONSTRAINT events_mac").await;
    outcome.map(drop).map_err(|error| StoreError::Database(error.into()))
}

/// From here on an event without a code is one that nobody decided, and the database knows its peppers in another way.
async fn finish(db: &Db, secrets: &Secrets, now: i64) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    for pepper in secrets.known_peppers() {
        let sql = "UPDATE peppers SET check_value = $1 WHERE pepper_id = $2";
        tx.execute(sql, &[pepper.check_value.into(), i64::from(pepper.id).into()]).await?;
    }
    tx.execute("UPDATE log_identity SET attested_at = $1", &[now.into()]).await?;
    Ok(tx.commit().await?)
}
