//! Proof that a table is what the log says: the log is replayed into a scratch table up to the same place, and both are
//! compared byte for byte.

use aws_lc_rs::digest::{Context, SHA256};
use grantlog_domain::Timestamp;
use tokio::sync::mpsc;

use crate::base;
use crate::checkpoint::{self, Checkpoint};
use crate::db::{Block, Db, DbError, Scan, in_thread};
use crate::engine::builds::{self, Indexes};
use crate::engine::projection::{Projection, named};
use crate::log::Log;
use crate::read_models::{self, SCRATCH};
use crate::rebuild::{Build, RebuildError, RebuildProgress};

/// Two tables at the same place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub left: Sum,
    pub right: Sum,
}

impl Comparison {
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.left == self.right
    }
}

/// The rows of a table in the order of their keys, without those that have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub rows: u64,
    /// SHA-256, in hex.
    pub checksum: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub name: String,
    pub table_name: String,
    /// The place in the log at which it was compared.
    pub position: i64,
    /// Left: the table that answers; right: the replay.
    pub comparison: Comparison,
    /// Events replayed.
    pub events: u64,
}

/// Blocks of rows that wait to be summed.
const WAITING_MAX: usize = 4;

/// Whether a table is the scratch table of a check.
pub(crate) fn is_scratch(table_name: &str) -> bool {
    table_name.ends_with(SCRATCH)
}

/// Replays the log into a scratch table and compares it with the one that answers. Neither readers nor the engine are
/// held up. `now`: rows that have expired are left out.
pub async fn check(
    db: &Log,
    name: &str,
    now: Timestamp,
    mut report: impl FnMut(RebuildProgress) + Send,
) -> Result<Checked, RebuildError> {
    let projection = named(name).ok_or_else(|| RebuildError::UnknownProjection(name.to_owned()))?;
    read_models::are_ours(db).await?;
    base::verify(db).await?;
    let scratch = make_scratch(db, &*projection).await?;
    let table = scratch.table_name.clone();
    let checked = replay(db, projection, scratch, now, &mut report).await;
    let mut tx = db.begin().await?;
    builds::drop_table(&mut tx, &table).await?;
    tx.commit().await?;
    checked
}

async fn replay(
    db: &Log,
    projection: std::sync::Arc<dyn Projection>,
    scratch: Checkpoint,
    now: Timestamp,
    report: &mut (impl FnMut(RebuildProgress) + Send),
) -> Result<Checked, RebuildError> {
    let (name, version) = (projection.name(), projection.version());
    let mut build = Build::new(db, projection.clone(), scratch).await?;
    // Most of it, up to where the table is now; the rest, up to where the snapshot has it.
    let mut tx = db.begin_read().await?;
    let near = checkpoint::active(&mut tx, name, version).await?;
    tx.rollback().await?;
    let near = near.ok_or_else(|| RebuildError::UnknownProjection(name.to_owned()))?;
    build.run_to(Some(near.cursor), report).await?;
    let mut snapshot = Scan::open(db).await?;
    snapshot.begin().await?;
    let active = checkpoint::active_in(&mut snapshot, name, version).await?;
    let (table_name, at) = active.filter(|(_, at)| *at >= near.cursor).ok_or(RebuildError::Busy)?;
    build.run_to(Some(at), report).await?;
    let scratch = build.progress.checkpoint.table_name.clone();
    let comparison = compare(db, &mut snapshot, &*projection, [&table_name, &scratch], now).await?;
    let (name, position, events) = (name.to_owned(), at.position, build.events);
    Ok(Checked { name, table_name, position, comparison, events })
}

/// An empty scratch table; what an interrupted check left behind goes first.
async fn make_scratch(db: &Db, projection: &dyn Projection) -> Result<Checkpoint, DbError> {
    let (name, version) = (projection.name(), projection.version());
    let table_name = format!("{name}_v{version}{SCRATCH}");
    let mut tx = db.begin().await?;
    builds::exclusively(&mut tx).await?;
    builds::drop_table(&mut tx, &table_name).await?;
    let scratch = builds::make_named(&mut tx, projection, table_name, Indexes::Later).await?;
    tx.commit().await?;
    Ok(scratch)
}

/// The first table as the snapshot has it, the second as it is.
pub(crate) async fn compare(
    db: &Db,
    snapshot: &mut Scan,
    projection: &dyn Projection,
    [left, right]: [&str; 2],
    now: Timestamp,
) -> Result<Comparison, DbError> {
    let mut other = Scan::open(db).await?;
    let (left, right) =
        tokio::try_join!(sum(snapshot, projection, left, now), sum(&mut other, projection, right, now))?;
    Ok(Comparison { left, right })
}

/// Reads the rows in the order of their keys and keeps none of them.
async fn sum(scan: &mut Scan, projection: &dyn Projection, table: &str, now: Timestamp) -> Result<Sum, DbError> {
    let columns: Vec<&str> = projection.columns().iter().map(|column| column.name).collect();
    let key = columns[..projection.key()].join(", ");
    let condition = projection.expires().map_or_else(String::new, |expires| format!("WHERE {expires} > {now}"));
    let sql = format!("SELECT {} FROM {table} {condition} ORDER BY {key}", columns.join(", "));
    let (blocks, mut received) = mpsc::channel(WAITING_MAX);
    let hashing = in_thread(move || {
        let (mut context, mut rows) = (Context::new(&SHA256), 0);
        while let Some(block) = received.blocking_recv() {
            let block: Block = block;
            rows += block.len() as u64;
            // Every field has its length and a null is none, so no two different rows give the same bytes.
            context.update(block.bytes());
        }
        let checksum = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Sum { rows, checksum })
    });
    let sending = async move { scan.send(sql, &blocks).await };
    let ((), sum) = tokio::try_join!(sending, hashing)?;
    Ok(sum)
}
