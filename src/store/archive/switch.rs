//! The moment in which a partition leaves the log, and the rows that remember it.

use std::path::Path;

use grantlog_projections::db::{Db, DbError};
use sqlx::{Acquire as _, Executor as _, PgConnection, Row as _};

use super::PROGRAM;
use super::error::ArchiveError;
use super::format::Totals;
use super::writer::Written;
use crate::store::partitions::{self, LOCK_PAUSE, PARENT, Range};

/// How often the lock is asked for: for about a minute and a half.
const ATTEMPTS: u32 = 120;

/// A row of `archives`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: String,
    pub id_from: Option<String>,
    pub id_to: String,
    pub totals: Totals,
    /// Unix seconds.
    pub over_since: i64,
    pub file: String,
    pub file_bytes: i64,
    pub file_sha256: String,
    pub events_sha256: String,
    pub kept: bool,
    /// Unix seconds; 0 before it is stored.
    pub archived_at: i64,
}

impl Record {
    pub(super) fn new(partition: &str, range: &Range, written: &Written, file: &Path, kept: bool) -> Self {
        Self {
            partition: partition.to_owned(),
            id_from: range.from.map(crate::store::Bound::id),
            id_to: range.to.id(),
            totals: written.trailer.totals,
            over_since: written.trailer.over_since,
            file: file.display().to_string(),
            file_bytes: i64::try_from(written.bytes).unwrap_or(i64::MAX),
            file_sha256: written.sha256.clone(),
            events_sha256: written.trailer.events_sha256.clone(),
            kept,
            archived_at: 0,
        }
    }
}

/// What was archived, the oldest first.
///
/// # Errors
/// [`DbError`].
pub async fn records(db: &Db) -> Result<Vec<Record>, DbError> {
    let sql = "SELECT partition_name, id_from, id_to, events, grants, first_txid, last_txid, first_position, \
               last_position, over_since, file, file_bytes, file_sha256, events_sha256, \
               CASE WHEN kept THEN 1 ELSE 0 END, extract(epoch FROM archived_at)::bigint FROM archives ORDER BY id_to";
    let mut records = Vec::new();
    for row in db.fetch(sql, &[]).await? {
        let count = |index| row.int(index).map(|count| u64::try_from(count).unwrap_or(0));
        records.push(Record {
            partition: row.text(0)?,
            id_from: row.opt_text(1)?,
            id_to: row.text(2)?,
            totals: Totals {
                events: count(3)?,
                grants: count(4)?,
                first_txid: row.int(5)?,
                last_txid: row.int(6)?,
                first_position: row.int(7)?,
                last_position: row.int(8)?,
            },
            over_since: row.int(9)?,
            file: row.text(10)?,
            file_bytes: row.int(11)?,
            file_sha256: row.text(12)?,
            events_sha256: row.text(13)?,
            kept: row.flag(14)?,
            archived_at: row.int(15)?,
        });
    }
    Ok(records)
}

/// Detaches a partition and records where it is, in one transaction, unless an event was appended to it meanwhile.
///
/// Whoever reads or appends waits for the lock; it is held for a moment, and asked for only briefly each time.
pub(super) async fn detach(session: &mut PgConnection, record: &Record) -> Result<(), ArchiveError> {
    let mut attempts = 1;
    loop {
        match try_detach(session, record).await {
            Err(error) if partitions::is_locked(&error) && attempts < ATTEMPTS => attempts += 1,
            Err(error) if partitions::is_locked(&error) => return Err(ArchiveError::InUse),
            Err(error) => return Err(error.into()),
            Ok(true) => return Ok(()),
            Ok(false) => return Err(ArchiveError::Changed(record.partition.clone())),
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

async fn try_detach(session: &mut PgConnection, record: &Record) -> Result<bool, sqlx::Error> {
    let name = &record.partition;
    let mut tx = session.begin().await?;
    tx.execute(format!("ALTER TABLE {PARENT} DETACH PARTITION {name}").as_str()).await?;
    // Nobody can append any more. What was appended since has greater places; both are the ends of indexes.
    let ends = format!("SELECT coalesce(max(txid), 0), coalesce(max(position), 0) FROM {name}");
    let ends: (i64, i64) = sqlx::query_as(&ends).fetch_one(&mut *tx).await?;
    if ends != (record.totals.last_txid, record.totals.last_position) {
        tx.rollback().await?;
        return Ok(false);
    }
    // The triggers of the log do not go with it.
    let protect = format!(
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON {name} \
         FOR EACH ROW EXECUTE FUNCTION refuse_log_change()"
    );
    tx.execute(protect.as_str()).await?;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO archives (partition_name, id_from, id_to, events, grants, first_txid, last_txid, first_position, \
         last_position, over_since, file, file_bytes, file_sha256, events_sha256, kept, program) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(name)
    .bind(&record.id_from)
    .bind(&record.id_to)
    .bind(count(record.totals.events))
    .bind(count(record.totals.grants))
    .bind(record.totals.first_txid)
    .bind(record.totals.last_txid)
    .bind(record.totals.first_position)
    .bind(record.totals.last_position)
    .bind(record.over_since)
    .bind(&record.file)
    .bind(record.file_bytes)
    .bind(&record.file_sha256)
    .bind(&record.events_sha256)
    .bind(record.kept)
    .bind(PROGRAM)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}

/// A detached partition that should have been dropped.
pub(super) struct Left {
    pub(super) partition: String,
    pub(super) file: String,
    pub(super) file_sha256: String,
}

pub(super) async fn left_behind(session: &mut PgConnection) -> Result<Vec<Left>, ArchiveError> {
    let sql = "SELECT a.partition_name, a.file, a.file_sha256 FROM archives a \
               JOIN pg_class c ON c.oid = to_regclass(a.partition_name) WHERE NOT a.kept AND NOT c.relispartition \
               ORDER BY a.id_to";
    let mut left = Vec::new();
    for row in session.fetch_all(sql).await? {
        left.push(Left { partition: row.try_get(0)?, file: row.try_get(1)?, file_sha256: row.try_get(2)? });
    }
    Ok(left)
}

pub(super) async fn drop_detached(session: &mut PgConnection, partition: &str) -> Result<(), ArchiveError> {
    Ok(partitions::change(session, &[format!("DROP TABLE {partition}")]).await?)
}
