//! The log between two places, a part at a time: streams that began there, and the few events of some types among the many.
//!
//! The parts bound what one statement reads and what it costs: a database that plans for any two places, without looking at
//! those that are asked for, would read the whole log for a page of it.

use std::str::FromStr;

use super::Cursor;
use crate::db::{Db, DbError, Row, Value};
use crate::log::Log;
use crate::mac::Content;

/// Events that one read looks at, and the one that ends it.
pub const PAGE: i64 = 20_000;

/// Streams that began in one part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    pub aggregate_ids: Vec<String>,
    /// Where the next part begins; `None` at the end of the log.
    pub next: Option<Cursor>,
}

/// An event that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub aggregate_id: String,
    pub event_type: String,
    pub event_version: String,
    /// JSON text.
    pub payload: String,
    pub cursor: Cursor,
}

impl Found {
    /// The identifier of its aggregate.
    pub fn id<T: FromStr>(&self) -> Result<T, DbError> {
        let id = &self.aggregate_id;
        id.parse().map_err(|_| DbError::Malformed(format!("{id} is no identifier")))
    }
}

/// What was found in one part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// In the order of the log.
    pub found: Vec<Found>,
    /// How far this is; the next part begins there.
    pub to: Cursor,
}

/// The events of these types, which are of these aggregates, behind `from` and up to `to`, as far as one part reaches: call
/// it again from [`Part::to`] until that is `to`.
pub async fn of_types(
    log: &Log,
    from: Cursor,
    to: Cursor,
    aggregate_types: &[&'static str],
    event_types: &[&'static str],
) -> Result<Part, DbError> {
    let to = part_end(log, from).await?.map_or(to, |end| end.min(to));
    let sql = select_types(log, aggregate_types, event_types);
    let read = |row: &Row| {
        let content = Content {
            aggregate_id: row.str(0)?,
            event_type: row.str(1)?,
            event_version: row.str(2)?,
            payload: row.str(3)?,
            aggregate_type: row.str(6)?,
            sequence: row.int(7)?,
            metadata: row.str(8)?,
        };
        let cursor = Cursor { txid: row.int(4)?, position: row.int(5)? };
        let Content { aggregate_id, event_type, event_version, payload, .. } = content;
        let [aggregate_id, event_type, event_version, payload] =
            [aggregate_id, event_type, event_version, payload].map(str::to_owned);
        let found = Found { aggregate_id, event_type, event_version, payload, cursor };
        Ok::<_, DbError>((found, log.verify(&content, row.opt_str(9)?)))
    };
    let mut found = Vec::new();
    for row in &log.fetch(&sql, &between(log, from, to)).await? {
        let (event, mut decided) = read(row)?;
        if let Err(fault) = &mut decided {
            log.settle(fault).await?;
        }
        match decided {
            Ok(()) => found.push(event),
            Err(fault) if fault.stops() => return Err(DbError::Malformed(fault.to_string())),
            // Nothing follows from what nobody decided. Its aggregate counts as ended elsewhere.
            Err(_) => {}
        }
    }
    Ok(Part { found, to })
}

fn select_types(db: &Db, aggregate_types: &[&'static str], event_types: &[&'static str]) -> String {
    // As they are, not as parameters: the partitions of other aggregates are left out when the statement is planned.
    let one_of = |names: &[&str]| format!("'{}'", names.join("', '"));
    let columns = "aggregate_id, event_type, event_version, CAST(payload AS text), txid, position, aggregate_type, sequence, \
                   CAST(metadata AS text), mac";
    let (part, event_types) = (part(db, columns, &one_of(aggregate_types)), one_of(event_types));
    format!("SELECT * FROM ({part}) AS part WHERE event_type IN ({event_types}) ORDER BY txid, position")
}

/// More than a part has, also when events are appended between the look for its end and the read. It is there to be planned
/// with.
const PART_MAX: i64 = 10 * PAGE;

/// Selects the events of a part, whose ends are the first values.
fn part(db: &Db, columns: &str, aggregate_types: &str) -> String {
    match db {
        Db::Postgres(_) => format!(
            "SELECT {columns} FROM events WHERE (txid, position) > ($1, $2) AND (txid, position) <= ($3, $4) \
             AND aggregate_type IN ({aggregate_types}) ORDER BY txid, position LIMIT {PART_MAX}"
        ),
        // The plus keeps SQLite from walking the primary key, which begins with the type, instead of the positions.
        Db::Sqlite { .. } => format!(
            "SELECT {columns} FROM events WHERE position > $1 AND position <= $2 \
             AND +aggregate_type IN ({aggregate_types}) ORDER BY position LIMIT {PART_MAX}"
        ),
    }
}

fn between(db: &Db, from: Cursor, to: Cursor) -> Vec<Value> {
    match db {
        Db::Postgres(_) => vec![from.txid.into(), from.position.into(), to.txid.into(), to.position.into()],
        Db::Sqlite { .. } => vec![from.position.into(), to.position.into()],
    }
}

/// Streams of a type whose first event is visible, stands behind `from`, and holds all of these ids as JSON strings, in
/// whichever field: who calls has to look. One call reads [`PAGE`] events. What was visible when the first call began is
/// found; what becomes visible meanwhile may be.
pub async fn begun_after(db: &Db, from: Cursor, aggregate_type: &str, mentions: &[String]) -> Result<Begun, DbError> {
    let next = part_end(db, from).await?;
    let to = next.unwrap_or(Cursor { txid: i64::MAX, position: i64::MAX });
    let mut values = between(db, from, to);
    values.push(aggregate_type.into());
    let part = part(db, "aggregate_id, sequence, payload, txid, position", &format!("${}", values.len()));
    let mut sql = format!("SELECT aggregate_id FROM ({part}) AS part WHERE sequence = 1");
    for id in mentions {
        values.push(format!("%\"{id}\"%").into());
        sql += &format!(" AND CAST(payload AS text) LIKE ${}", values.len());
    }
    let rows = db.fetch(&sql, &values).await?;
    let aggregate_ids: Result<_, DbError> = rows.iter().map(|row| row.text(0)).collect();
    Ok(Begun { aggregate_ids: aggregate_ids?, next })
}

/// Where the part of the log behind `from` ends; `None` when there are no more than [`PAGE`] events.
async fn part_end(db: &Db, from: Cursor) -> Result<Option<Cursor>, DbError> {
    let rows = match db {
        Db::Postgres(_) => {
            let sql = format!(
                "SELECT txid, position FROM events WHERE (txid, position) > ($1, $2) \
                 ORDER BY txid, position LIMIT 1 OFFSET {PAGE}"
            );
            db.fetch(&sql, &[from.txid.into(), from.position.into()]).await?
        }
        Db::Sqlite { .. } => {
            let sql = format!(
                "SELECT txid, position FROM events WHERE position > $1 ORDER BY position LIMIT 1 OFFSET {PAGE}"
            );
            db.fetch(&sql, &[from.position.into()]).await?
        }
    };
    rows.first().map(place).transpose()
}

/// The place of the last event that is visible; `None` for an empty log. Earlier ones may appear later.
pub async fn end(db: &Db) -> Result<Option<Cursor>, DbError> {
    let sql = match db {
        Db::Postgres(_) => "SELECT txid, position FROM events ORDER BY txid DESC, position DESC LIMIT 1",
        Db::Sqlite { .. } => "SELECT txid, position FROM events ORDER BY position DESC LIMIT 1",
    };
    db.fetch(sql, &[]).await?.first().map(place).transpose()
}

fn place(row: &Row) -> Result<Cursor, DbError> {
    Ok(Cursor { txid: row.int(0)?, position: row.int(1)? })
}

#[cfg(test)]
mod tests {
    use grantlog_domain::session::{EndReason, SessionEvent};

    use super::*;
    use crate::testing::{Fresh, NOW, append, append_forged, on_both, recorded};

    /// `count` events of grants, and behind them the end of a session.
    async fn append_many(db: &Db, name: &str, count: i64) {
        let sql = format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
             INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, mac) \
             SELECT 'grant', '{name}' || n, 1, 'grant.opened', '1.0', '{{}}', '{{}}', '' FROM numbers"
        );
        db.execute(&sql, &[]).await.expect("appended");
        let ended = SessionEvent::Ended { reason: EndReason::SignedOut, at: NOW };
        append(db, &recorded(name, 1, ended.clone())).await;
        // Nobody decided it, so nothing follows from it.
        append_forged(db, &recorded(format!("{name} forged"), 1, ended)).await;
    }

    async fn find(db: &Log, mut from: Cursor, to: Cursor) -> (Vec<String>, usize) {
        let (mut ids, mut parts) = (Vec::new(), 0);
        while from < to {
            let part = of_types(db, from, to, &["session"], &["session.ended"]).await.expect("read");
            assert!(part.to > from && part.found.iter().all(|found| found.cursor > from && found.cursor <= part.to));
            ids.extend(part.found.into_iter().map(|found| found.aggregate_id));
            (from, parts) = (part.to, parts + 1);
        }
        (ids, parts)
    }

    #[tokio::test]
    async fn the_few_are_found_among_the_many_a_part_at_a_time() {
        on_both(|fresh: std::sync::Arc<Fresh>| async move {
            let db = &fresh.db;
            let mut ends = vec![Cursor::START];
            for (name, count) in [("first", PAGE - 1), ("second", PAGE + 5), ("third", 10)] {
                append_many(db, name, count).await;
                ends.push(end(db).await.expect("read").expect("an end"));
            }
            let all = ["first", "second", "third"].map(str::to_owned).to_vec();
            assert_eq!(find(db, ends[0], ends[3]).await, (all.clone(), 3));
            assert_eq!(find(db, ends[0], ends[1]).await, (all[..1].to_vec(), 1), "none behind the end");
            assert_eq!(find(db, ends[1], ends[2]).await, (all[1..2].to_vec(), 2), "none before the beginning");
            assert_eq!(find(db, ends[3], ends[3]).await, (Vec::new(), 0));
        })
        .await;
    }

    /// Whatever places it is planned for.
    #[tokio::test]
    async fn a_part_is_read_without_walking_the_log() {
        on_both(|fresh: std::sync::Arc<Fresh>| async move {
            let db = &fresh.db;
            append_many(db, "many", 30_000).await;
            let sql = select_types(db, &["session"], &["session.ended"]);
            let plan = match db.db() {
                Db::Postgres(pool) => {
                    let mut connection = pool.acquire().await.expect("a connection");
                    let prepare = format!("PREPARE part (bigint, bigint, bigint, bigint) AS {sql}");
                    for sql in ["ANALYZE events", "SET plan_cache_mode = force_generic_plan", &prepare] {
                        sqlx::query(sql).execute(&mut *connection).await.expect("prepared");
                    }
                    let explain = sqlx::query_scalar::<_, String>("EXPLAIN EXECUTE part (0, 0, 1, 1)");
                    let plan = explain.fetch_all(&mut *connection).await.expect("a plan").join("\n");
                    assert!(!plan.contains("events_grant"), "{plan}");
                    return;
                }
                Db::Sqlite { .. } => db.fetch(&format!("EXPLAIN QUERY PLAN {sql}"), &[0.into(), 1.into()]).await,
            };
            let plan: Vec<String> = plan.expect("a plan").iter().map(|row| row.text(3).expect("text")).collect();
            assert!(plan.iter().any(|step| step.contains("USING INDEX events_position")), "{plan:?}");
        })
        .await;
    }
}
