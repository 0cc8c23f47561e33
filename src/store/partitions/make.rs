//! Making partitions ahead of time.

use sqlx::{Executor as _, PgConnection};

use super::{Bound, DEFAULT, PARENT, Range, change, database, list_on};
use crate::store::error::StoreError;

/// Partitions are there for at least so many of their lengths from now on.
const AHEAD: i64 = 2;
/// Room between now and the first bound: whoever appends meanwhile does not reach it.
const ROOM_MILLIS: i64 = 86_400_000;
/// Proves, before the rows of the default partition become a partition, that all of them belong to it.
const PROOF: &str = "events_grant_adopted";
/// As the default partition has it; many inserts and no updates.
const STORAGE: &str = "WITH (autovacuum_vacuum_insert_scale_factor = 0.05)";

/// Makes what is missing; answers the names. The session is the only one that changes partitions.
pub(super) async fn missing(session: &mut PgConnection, now_millis: i64, days: u32) -> Result<Vec<String>, StoreError> {
    // Left by somebody who did not come to the end; it would refuse what the default partition is there to catch.
    let left = "SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass($1) AND conname = $2)";
    if sqlx::query_scalar(left).bind(DEFAULT).bind(PROOF).fetch_one(&mut *session).await.map_err(database)? {
        change(session, &[format!("ALTER TABLE {DEFAULT} DROP CONSTRAINT {PROOF}")]).await?;
    }
    let mut made = Vec::new();
    let mut last =
        list_on(session).await?.into_iter().filter_map(|partition| partition.range).map(|range| range.to).max();
    let next = Bound::after(now_millis + ROOM_MILLIS, days);
    let caught = Range { from: last, to: next };
    let is_due = match last {
        Some(last) => last < next && holds_some(session, &caught).await?,
        None => true,
    };
    if is_due && adopt(session, &caught).await? {
        made.push(name(&caught));
        last = Some(next);
    }
    let ahead = now_millis + AHEAD * i64::from(days) * 86_400_000;
    while last.is_none_or(|last| last.millis() < ahead) {
        // The first one after a pause reaches to the present, however long the pause was.
        let from = last.map_or(now_millis, Bound::millis);
        let range = Range { from: last, to: Bound::after(from.max(now_millis), days) };
        if !create(session, &range).await? {
            tracing::warn!(
                partition = name(&range),
                "the default partition of the grants' events holds ids of this range that do not fit into a partition"
            );
            break;
        }
        made.push(name(&range));
        last = Some(range.to);
    }
    Ok(made)
}

fn name(range: &Range) -> String {
    format!("{PARENT}_until_{}", range.to.stamp())
}

/// A statement trigger does not reach partitions by itself.
fn no_truncate(table: &str) -> String {
    format!(
        "CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON {table} \
         FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change()"
    )
}

/// Whether the default partition holds an id of the range.
async fn holds_some(session: &mut PgConnection, range: &Range) -> Result<bool, StoreError> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {DEFAULT} WHERE {})", condition(range));
    sqlx::query_scalar(&sql).fetch_one(session).await.map_err(database)
}

fn condition(range: &Range) -> String {
    let from = range.from.map(|from| format!(" AND aggregate_id >= '{}'", from.id())).unwrap_or_default();
    format!("aggregate_type = 'grant' AND aggregate_id < '{}'{from}", range.to.id())
}

/// Lets the default partition with all its rows be the partition of `range`, and makes a new default partition. `false`
/// when it holds a row that is not of the range. The rows are looked at without a lock that readers or writers wait for.
async fn adopt(session: &mut PgConnection, range: &Range) -> Result<bool, StoreError> {
    let prove = format!("ALTER TABLE {DEFAULT} ADD CONSTRAINT {PROOF} CHECK ({}) NOT VALID", condition(range));
    change(session, &[prove]).await?;
    let proven = session.execute(format!("ALTER TABLE {DEFAULT} VALIDATE CONSTRAINT {PROOF}").as_str()).await;
    let name = name(range);
    let outcome = match proven {
        Err(error) if super::code(&error) == "23514" => Ok(false),
        Err(error) => Err(database(error)),
        Ok(_) => change(
            session,
            &[
                format!("ALTER TABLE {PARENT} DETACH PARTITION {DEFAULT}"),
                format!("ALTER TABLE {DEFAULT} RENAME TO {name}"),
                format!("ALTER TABLE {PARENT} ATTACH PARTITION {name} {}", range.sql()),
                format!("ALTER TABLE {name} DROP CONSTRAINT {PROOF}"),
                format!("CREATE TABLE {DEFAULT} PARTITION OF {PARENT} DEFAULT {STORAGE}"),
                no_truncate(DEFAULT),
            ],
        )
        .await
        .map(|()| true),
    };
    if !matches!(outcome, Ok(true)) {
        change(session, &[format!("ALTER TABLE {DEFAULT} DROP CONSTRAINT IF EXISTS {PROOF}")]).await?;
    }
    outcome
}

/// Makes an empty partition. `false` when the default partition holds rows of its range.
///
/// Attaching takes a lock on the default partition only that readers wait for; appends go on.
async fn create(session: &mut PgConnection, range: &Range) -> Result<bool, StoreError> {
    let name = name(range);
    let made = change(
        session,
        &[
            format!("CREATE TABLE {name} (LIKE {PARENT} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) {STORAGE}"),
            no_truncate(&name),
            format!("ALTER TABLE {PARENT} ATTACH PARTITION {name} {}", range.sql()),
        ],
    )
    .await;
    match made {
        Ok(()) => Ok(true),
        Err(StoreError::Database(grantlog_projections::db::DbError::Data(error))) if super::code(&error) == "23514" => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
