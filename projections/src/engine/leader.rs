//! Who keeps a table projection: one process at a time on PostgreSQL, by an advisory lock of a session that does nothing
//! else. Nobody configures who: each process tries, and the first one has it.
//!
//! When the process dies, the server ends its session and another one gets the lock. When it freezes, or is cut off, the
//! server hears nothing on the session and ends it too; so the lock is a lease, which each look renews. That two might
//! believe for a moment that they have it does no harm: the checkpoint row decides.
//!
//! The session says who it is in its `application_name`; [`keepers`] reads that. An ordinary role sees the sessions of its
//! own role only, so nodes should share one.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, Row as _};

use super::projection::Projection;
use crate::db::open::SEARCH_PATH;
use crate::db::{Db, DbError, Tx};

/// First half of the lock's key: "grpr".
const SPACE: i32 = 0x6772_7072;
/// How often a lock that somebody else has is tried for, and one's own session is asked for a sign of life.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for that sign.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// How long the server keeps the session of a process from which it hears nothing. More than the longest pause of the
/// engine between two looks (5 s), or a keeper that waits for its database to come back would lose what it keeps.
const SILENCE_SECONDS: u32 = 6;

/// Before each name in `application_name`, of which the server keeps 63 bytes.
const NAMED: &str = "grantlog keeper ";
const NAME_BYTES_MAX: usize = 63 - NAMED.len();

pub(super) struct Leader {
    pool: Option<PgPool>,
    session: Option<PgConnection>,
    held: Vec<bool>,
    looked: Option<Instant>,
}

impl Leader {
    pub(super) fn new(db: &Db, projections: usize) -> Self {
        let pool = match db {
            Db::Postgres(pool) => Some(pool.clone()),
            Db::Sqlite { .. } => None,
        };
        Self { held: vec![pool.is_none(); projections], pool, session: None, looked: None }
    }

    /// Which projections this process keeps now, in the order of the list.
    pub(super) async fn look(&mut self, projections: &[std::sync::Arc<dyn Projection>]) -> Result<&[bool], DbError> {
        let due = self.looked.is_none_or(|looked| looked.elapsed() >= EVERY);
        let Some(pool) = self.pool.clone().filter(|_| due) else { return Ok(&self.held) };
        let outcome = tokio::time::timeout(SIGN_OF_LIFE, self.ask(&pool, projections)).await;
        self.looked = Some(Instant::now());
        match outcome {
            Ok(Ok(())) => Ok(&self.held),
            Ok(Err(error)) => {
                self.give_up();
                Err(error.into())
            }
            Err(_) => {
                self.give_up();
                Err(sqlx::Error::PoolTimedOut.into())
            }
        }
    }

    fn give_up(&mut self) {
        self.session = None;
        self.held.fill(false);
    }

    async fn ask(&mut self, pool: &PgPool, projections: &[std::sync::Arc<dyn Projection>]) -> Result<(), sqlx::Error> {
        let session = match &mut self.session {
            Some(session) => session,
            None => {
                let options = (*pool.connect_options()).clone().application_name(&format!("{NAMED}{}", node_name()));
                let mut session = PgConnection::connect_with(&options).await?;
                let settings = format!(
                    "{SEARCH_PATH}; SET statement_timeout = 0; SET idle_session_timeout = '{SILENCE_SECONDS}s'"
                );
                session.execute(settings.as_str()).await?;
                self.held.fill(false);
                self.session.insert(session)
            }
        };
        session.ping().await?;
        for (held, projection) in self.held.iter_mut().zip(projections) {
            if !*held {
                let query = sqlx::query("SELECT pg_try_advisory_lock($1, $2)")
                    .bind(SPACE)
                    .bind(key(projection.name(), projection.version()));
                *held = session.fetch_one(query).await?.try_get(0)?;
                if *held {
                    tracing::info!(name = projection.name(), "this process keeps the projection");
                }
            }
        }
        Ok(())
    }
}

/// Process id and host of this process, as [`keepers`] shows them.
#[must_use]
pub fn node_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut name = format!("{}@{}", std::process::id(), host.trim());
        name.retain(|char| char.is_ascii_graphic());
        name.truncate(NAME_BYTES_MAX);
        name
    });
    &NAME
}

/// Who keeps each of these projections (name and version) now, in their order; `None` where nobody does, or where it
/// cannot be seen. On SQLite whoever serves keeps all of them, and nobody can tell.
pub(crate) async fn keepers(db: &Db, projections: &[(&str, i64)]) -> Result<Vec<Option<String>>, DbError> {
    if !db.is_postgres() {
        return Ok(vec![None; projections.len()]);
    }
    let sql = "SELECT l.objid::bigint, a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
               WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.classid::bigint = $1 \
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut found = HashMap::new();
    for row in db.fetch(sql, &[i64::from(SPACE).into()]).await? {
        // Somebody who builds or switches a table holds its lock too, for a moment and without this name.
        if let Some(name) = row.opt_str(1)?.and_then(|name| name.strip_prefix(NAMED)) {
            found.insert(row.int(0)?, name.to_owned());
        }
    }
    // The server shows the key without its sign.
    let key = |(name, version): &(&str, i64)| i64::from(key(name, *version).cast_unsigned());
    Ok(projections.iter().map(|projection| found.get(&key(projection)).cloned()).collect())
}

/// Whether no process keeps this version of a projection; until the transaction ends none can begin to.
pub(super) async fn is_unkept(tx: &mut Tx, name: &str, version: i64) -> Result<bool, DbError> {
    if !tx.is_postgres() {
        return Ok(true);
    }
    let sql = "SELECT CASE WHEN pg_try_advisory_xact_lock($1::int, $2::int) THEN 1 ELSE 0 END";
    let values = [i64::from(SPACE).into(), i64::from(key(name, version)).into()];
    tx.fetch(sql, &values).await?.first().map_or(Ok(false), |row| row.flag(0))
}

/// FNV-1a of name and version: the same in every process.
fn key(name: &str, version: i64) -> i32 {
    let bytes = name.bytes().chain(version.to_be_bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.cast_signed()
}
