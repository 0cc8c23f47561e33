//! Who keeps a table projection: one process at a time on PostgreSQL, by an advisory lock of a session that does nothing
//! else. When the process dies the server ends its session and another one gets the lock. On SQLite it is the process
//! that has the file open. That two might believe it for a moment does no harm: the checkpoint row decides.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, Row as _};

use super::projection::Projection;
use crate::db::{Db, DbError, Tx};

/// First half of the lock's key: "grpr".
const SPACE: i32 = 0x6772_7072;
/// How often a lock that somebody else has is tried for, and one's own session is asked for a sign of life.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for that sign.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// So that the server notices within seconds when this process's machine is gone.
const SESSION: &str = "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 4; \
     SET statement_timeout = 0; SET idle_session_timeout = 0";

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
                let mut session = PgConnection::connect_with(&pool.connect_options()).await?;
                session.execute(SESSION).await?;
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
