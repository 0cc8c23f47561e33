//! The partitions of the grants' events (PostgreSQL). Grants have ids in the order of time (UUID version 7), so a range of
//! ids is a range of time, and a partition can leave the log when all of its grants are over.
//!
//! Partitions are made ahead. Where none is made the default partition catches, and no append fails; its rows become a
//! partition of their own as soon as somebody may make one. No range has rows in the default partition when it is made,
//! so nothing is moved and nothing long is done under a lock.

mod bound;
mod make;

use std::time::Duration;

use grantlog_projections::db::open::prepare_session;
use grantlog_projections::db::{Db, DbError};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, Row as _};

pub use bound::Bound;

use super::error::StoreError;

/// The table whose partitions these are.
pub(super) const PARENT: &str = "events_grant";
/// Takes what no range is there for.
pub(super) const DEFAULT: &str = "events_grant_other";
/// Serializes whoever makes or detaches partitions (PostgreSQL advisory lock): "grpartit".
const LOCK: i64 = 0x6772_7061_7274_6974;
/// Longest wait for a lock. Whoever reads or appends waits behind it, so it is short and tried again.
const LOCK_WAIT_MILLIS: u32 = 200;
/// How often a lock is waited for before the change is given up until the next time.
const LOCK_ATTEMPTS: u32 = 20;
/// Pause between two such waits, in which everybody else goes on.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub name: String,
    /// `None`: the default partition.
    pub range: Option<Range>,
    /// With its indexes, in bytes.
    pub bytes: i64,
    /// As the database estimates it.
    pub events: i64,
}

/// Grants made from `from` on and before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// `None`: from the beginning.
    pub from: Option<Bound>,
    pub to: Bound,
}

/// What became of a look at the partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// All that should be there is; these were made.
    Made(Vec<String>),
    /// Another process is at it.
    Busy,
    /// This role does not own the events, or may not make tables: the owner has to.
    NotAllowed,
    /// SQLite has no partitions.
    None,
}

/// Makes the partitions that are missing for what comes next. `days`: length of one.
pub(super) async fn ensure(db: &Db, now_millis: i64, days: u32) -> Result<Ensured, StoreError> {
    let Db::Postgres(pool) = db else { return Ok(Ensured::None) };
    let mut session = session(pool).await?;
    let ensured = if !may(&mut session).await? {
        Ensured::NotAllowed
    } else if try_exclusively(&mut session).await? {
        Ensured::Made(make::missing(&mut session, now_millis, days).await?)
    } else {
        Ensured::Busy
    };
    let _ = session.close().await;
    Ok(ensured)
}

/// All partitions of the grants' events, the oldest first and the default one last.
pub(super) async fn list(db: &Db) -> Result<Vec<Partition>, StoreError> {
    let Db::Postgres(pool) = db else { return Ok(Vec::new()) };
    let mut connection = pool.acquire().await.map_err(database)?;
    list_on(&mut connection).await
}

pub(super) async fn list_on(session: &mut PgConnection) -> Result<Vec<Partition>, StoreError> {
    let sql = "SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid), pg_total_relation_size(c.oid), \
               greatest(c.reltuples, 0)::bigint FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = to_regclass($1) AND NOT i.inhdetachpending";
    let mut partitions = Vec::new();
    for row in sqlx::query(sql).bind(PARENT).fetch_all(session).await.map_err(database)? {
        let text: String = row.try_get(1).map_err(database)?;
        let range = match text.as_str() {
            "DEFAULT" => None,
            text => Some(Range::parse(text).ok_or_else(|| malformed(format!("the bounds of a partition: {text}")))?),
        };
        partitions.push(Partition {
            name: row.try_get(0).map_err(database)?,
            range,
            bytes: row.try_get(2).map_err(database)?,
            events: row.try_get(3).map_err(database)?,
        });
    }
    partitions.sort_by_key(|partition| partition.range.as_ref().map_or(i64::MAX, |range| range.to.millis()));
    Ok(partitions)
}

/// A session of its own: changes take longer than a statement usually may, and their locks end with it.
pub(super) async fn session(pool: &PgPool) -> Result<PgConnection, StoreError> {
    let mut session = PgConnection::connect_with(&pool.connect_options()).await.map_err(database)?;
    prepare_session(&mut session, Duration::ZERO).await.map_err(database)?;
    // What is made is made beside the log.
    let settings = format!("SET lock_timeout = {LOCK_WAIT_MILLIS}; SET search_path = public, pg_temp");
    session.execute(settings.as_str()).await.map_err(database)?;
    Ok(session)
}

/// Whether this role may change the partitions: it owns the events and may make tables beside them.
pub(super) async fn may(session: &mut PgConnection) -> Result<bool, StoreError> {
    let sql = "SELECT pg_has_role(current_user, relowner, 'USAGE') \
               AND has_schema_privilege(current_user, relnamespace, 'CREATE') FROM pg_class WHERE oid = to_regclass($1)";
    sqlx::query_scalar(sql).bind(PARENT).fetch_one(session).await.map_err(database)
}

/// Until the session ends nobody else changes partitions; `false` when somebody is at it.
pub(super) async fn try_exclusively(session: &mut PgConnection) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(session).await.map_err(database)
}

/// Runs statements as one transaction, again when a lock that it needs is not free.
pub(super) async fn change(session: &mut PgConnection, statements: &[String]) -> Result<(), StoreError> {
    let mut attempts = 1;
    loop {
        let outcome = async {
            let mut tx = session.begin().await?;
            for statement in statements {
                tx.execute(statement.as_str()).await?;
            }
            tx.commit().await
        };
        match outcome.await {
            Err(error) if is_locked(&error) && attempts < LOCK_ATTEMPTS => attempts += 1,
            outcome => return outcome.map_err(database),
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Somebody holds a lock for longer than this waits.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    code(error) == "55P03"
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
}

pub(super) fn database(error: sqlx::Error) -> StoreError {
    StoreError::Database(error.into())
}

fn malformed(what: String) -> StoreError {
    StoreError::Database(DbError::Malformed(what))
}
