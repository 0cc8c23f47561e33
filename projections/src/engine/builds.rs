//! The tables of a projection: making one, letting one answer, dropping one.
//!
//! Each build has its own table `NAME_vVERSION_bNUMBER`. `NAME_vVERSION` is a view of the one that answers, so readers
//! need not know about builds and a switch is one statement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grantlog_domain::Timestamp;

use super::leader;
use super::projection::{Projection, all};
use crate::checkpoint::{self, Checkpoint};
use crate::db::{Db, DbError, Tx};
use crate::feed::Cursor;
use crate::log::Log;
use crate::read_models;
use crate::rebuild::{RebuildError, RebuildProgress, rebuild};

/// Serializes whoever makes and drops tables (PostgreSQL advisory lock).
const LOCK: i64 = 0x6772_616e_746c_6f67;

/// How long to wait for another process that builds the same table, and between two looks at who keeps one.
const WAIT: Duration = Duration::from_millis(500);
/// After so long without a keeper a table counts as one that nobody keeps. More than it takes a keeper to try again
/// after its database was out of reach (see [`leader`]).
pub(crate) const UNKEPT_FOR: Duration = Duration::from_secs(10);

/// Makes the tables of this version that do not exist yet. To be called after the migrations; other processes may do the
/// same at the same time.
///
/// In a new database they are empty and the engine fills them. After an update that brings a new version of a projection
/// its table is built from the log before this returns; processes of the version before go on with theirs meanwhile.
///
/// # Errors
/// When the read models belong to another role, the database is unavailable, or the log holds an event that this version does not know.
pub async fn prepare(log: &Log) -> Result<(), DbError> {
    read_models::are_ours(log).await?;
    for projection in make_first(log).await? {
        let name = projection.name();
        tracing::info!(name, version = projection.version(), "building a new version of a projection");
        let report = |progress: RebuildProgress| {
            tracing::debug!(name, done = progress.done, total = progress.total, rate = progress.rate, "building");
        };
        while !has_answer(log, &*projection).await? {
            match rebuild(log, name, Timestamp(0), report).await {
                Ok(_) => break,
                Err(RebuildError::Busy) => tokio::time::sleep(WAIT).await,
                Err(RebuildError::Database(error)) => return Err(error),
                Err(error) => return Err(DbError::Malformed(error.to_string())),
            }
        }
    }
    Ok(())
}

/// Makes the tables of a new database: what needs nothing of the log.
///
/// # Errors
/// When the database is unavailable.
pub async fn prepare_new(db: &Db) -> Result<(), DbError> {
    make_first(db).await.map(drop)
}

/// Makes the tables of projections that have none at all. Answers those that have one of another version only, or had one
/// that is not there any more.
async fn make_first(db: &Db) -> Result<Vec<Arc<dyn Projection>>, DbError> {
    let mut tx = db.begin().await?;
    exclusively(&mut tx).await?;
    let mut others = Vec::new();
    for projection in all() {
        let name = projection.name();
        if let Some(active) = checkpoint::active(&mut tx, name, projection.version()).await? {
            if !is_there(&mut tx, &active.table_name).await? {
                // A backup need not hold what can be built again.
                let of_this = [name.into(), projection.version().into()];
                tx.execute("DELETE FROM active_projection WHERE name = $1 AND version = $2", &of_this).await?;
                forget(&mut tx, &active.table_name).await?;
                others.push(projection);
            }
            continue;
        }
        let sql = "SELECT table_name FROM active_projection WHERE name = $1";
        if tx.fetch(sql, &[name.into()]).await?.is_empty() {
            let made = make(&mut tx, &*projection, Indexes::Now).await?;
            answer_with(&mut tx, &*projection, &made.table_name).await?;
        } else {
            others.push(projection);
        }
    }
    tx.commit().await?;
    Ok(others)
}

/// Whether there is a table of that name.
pub(crate) async fn is_there(tx: &mut Tx, table_name: &str) -> Result<bool, DbError> {
    let sql = match tx.is_postgres() {
        true => "SELECT 1 WHERE to_regclass($1) IS NOT NULL",
        false => "SELECT 1 FROM sqlite_master WHERE name = $1",
    };
    Ok(!tx.fetch(sql, &[table_name.into()]).await?.is_empty())
}

async fn has_answer(db: &Db, projection: &dyn Projection) -> Result<bool, DbError> {
    let mut tx = db.begin_read().await?;
    let active = checkpoint::active(&mut tx, projection.name(), projection.version()).await?;
    tx.rollback().await?;
    Ok(active.is_some())
}

/// Drops the tables of other versions that no process keeps any more: of earlier ones after an update, of later ones after
/// the way back. Answers their names.
pub(crate) async fn drop_others(db: &Db, projection: &dyn Projection) -> Result<Vec<String>, DbError> {
    let name = projection.name();
    let unkept = unkept_others(db, projection).await?;
    let mut tx = db.begin().await?;
    exclusively(&mut tx).await?;
    let mut dropped = Vec::new();
    for (other, table_name) in unkept {
        if !leader::is_unkept(&mut tx, name, other).await? {
            continue;
        }
        let view = format!("{name}_v{other}");
        read_models::check_owned(&mut tx, &[&view]).await?;
        tx.execute(&format!("DROP VIEW IF EXISTS {view}"), &[]).await?;
        tx.execute("DELETE FROM active_projection WHERE name = $1 AND version = $2", &[name.into(), other.into()])
            .await?;
        drop_table(&mut tx, &table_name).await?;
        dropped.push(table_name);
    }
    tx.commit().await?;
    Ok(dropped)
}

/// Other versions that nobody has kept for [`UNKEPT_FOR`], and the tables that answer for them. A keeper that is cut off
/// or slow for a moment loses what it keeps for that moment, and must find its tables again.
async fn unkept_others(db: &Db, projection: &dyn Projection) -> Result<Vec<(i64, String)>, DbError> {
    let name = projection.name();
    let sql = "SELECT version, table_name FROM active_projection WHERE name = $1 AND version <> $2 ORDER BY version";
    let rows = db.fetch(sql, &[name.into(), projection.version().into()]).await?;
    let mut others = Vec::new();
    for row in rows {
        let (version, table_name) = (row.int(0)?, row.text(1)?);
        read_models::number_of(&table_name, name, version)?;
        others.push((version, table_name));
    }
    let began = Instant::now();
    while db.is_postgres() && !others.is_empty() && began.elapsed() < UNKEPT_FOR {
        let mut tx = db.begin().await?;
        let mut unkept = Vec::new();
        for (version, table_name) in others {
            if leader::is_unkept(&mut tx, name, version).await? {
                unkept.push((version, table_name));
            }
        }
        tx.rollback().await?;
        others = unkept;
        tokio::time::sleep(WAIT).await;
    }
    Ok(others)
}

/// Whether no process keeps this projection now. On SQLite nobody can tell, and the answer is yes.
pub(crate) async fn is_unkept(db: &Db, projection: &dyn Projection) -> Result<bool, DbError> {
    let mut tx = db.begin().await?;
    let unkept = leader::is_unkept(&mut tx, projection.name(), projection.version()).await?;
    tx.rollback().await?;
    Ok(unkept)
}

pub(crate) async fn exclusively(tx: &mut Tx) -> Result<(), DbError> {
    if tx.is_postgres() {
        tx.fetch("SELECT pg_advisory_xact_lock($1)::text", &[LOCK.into()]).await?;
    }
    Ok(())
}

/// When a table gets its indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indexes {
    Now,
    /// When it is full, which costs less; see [`add_indexes`].
    Later,
}

/// Makes an empty table that does not answer yet.
pub(crate) async fn make(tx: &mut Tx, projection: &dyn Projection, indexes: Indexes) -> Result<Checkpoint, DbError> {
    let (name, version) = (projection.name(), projection.version());
    let prefix = format!("{name}_v{version}_b");
    let used = tx.fetch("SELECT table_name FROM projection_checkpoint WHERE name = $1", &[name.into()]).await?;
    let mut number = 0;
    for row in used {
        // Those of other versions have numbers of their own.
        if row.str(0)?.starts_with(&prefix) {
            number = read_models::number_of(row.str(0)?, name, version)?.max(number);
        }
    }
    make_named(tx, projection, format!("{prefix}{}", number + 1), indexes).await
}

/// The same, with a name of the caller's choice.
pub(crate) async fn make_named(
    tx: &mut Tx,
    projection: &dyn Projection,
    table_name: String,
    indexes: Indexes,
) -> Result<Checkpoint, DbError> {
    let (name, version) = (projection.name(), projection.version());
    tx.execute(&projection.create(&table_name, tx.is_postgres()), &[]).await?;
    if indexes == Indexes::Now {
        for sql in projection.indexes(&table_name) {
            tx.execute(&sql, &[]).await?;
        }
    }
    tx.execute(
        "INSERT INTO projection_checkpoint (table_name, name, version, txid, position, recorded_at) \
         VALUES ($1, $2, $3, 0, 0, 0)",
        &[table_name.as_str().into(), name.into(), version.into()],
    )
    .await?;
    Ok(Checkpoint { table_name, name: name.to_owned(), version, cursor: Cursor::START, recorded_at: 0 })
}

/// Makes an index of a table that is full, unless it is there. Readers of the ordered feed wait meanwhile, as for every
/// write, so each index has a transaction of its own.
async fn add_index(db: &Db, sql: &str) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    tx.take_long().await?;
    tx.execute(sql, &[]).await?;
    tx.commit().await
}

/// Makes the indexes that a table does not have yet.
pub(crate) async fn add_indexes(db: &Db, projection: &dyn Projection, table_name: &str) -> Result<(), DbError> {
    for sql in projection.indexes(table_name) {
        add_index(db, &sql).await?;
    }
    Ok(())
}

/// From the commit on this table answers.
pub(crate) async fn answer_with(tx: &mut Tx, projection: &dyn Projection, table_name: &str) -> Result<(), DbError> {
    let (name, version) = (projection.name(), projection.version());
    tx.execute(
        "INSERT INTO active_projection (name, version, table_name) VALUES ($1, $2, $3) \
         ON CONFLICT (name, version) DO UPDATE SET table_name = excluded.table_name",
        &[name.into(), version.into(), table_name.into()],
    )
    .await?;
    let columns: Vec<&str> = projection.columns().iter().map(|column| column.name).collect();
    let select = format!("SELECT {} FROM {table_name}", columns.join(", "));
    if tx.is_postgres() {
        tx.execute(&format!("CREATE OR REPLACE VIEW {name}_v{version} AS {select}"), &[]).await?;
    } else {
        tx.execute(&format!("DROP VIEW IF EXISTS {name}_v{version}"), &[]).await?;
        tx.execute(&format!("CREATE VIEW {name}_v{version} AS {select}"), &[]).await?;
    }
    Ok(())
}

/// Drops a table that does not answer, with all that is known of it.
pub(crate) async fn drop_table(tx: &mut Tx, table_name: &str) -> Result<(), DbError> {
    read_models::check_owned(tx, &[table_name]).await?;
    tx.execute(&format!("DROP TABLE IF EXISTS {table_name}"), &[]).await?;
    forget(tx, table_name).await
}

/// Forgets a table that does not answer: its checkpoint and poison.
pub(crate) async fn forget(tx: &mut Tx, table_name: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM projection_poison WHERE table_name = $1", &[table_name.into()]).await?;
    tx.execute("DELETE FROM projection_checkpoint WHERE table_name = $1", &[table_name.into()]).await?;
    Ok(())
}
