//! Proof that a table is what the log says: the log is replayed into a scratch table up to the same place, and both are
//! compared byte for byte.

use aws_lc_rs::digest::{Context, SHA256};
use grantlog_domain::Timestamp;

use crate::checkpoint::{self, Checkpoint};
use crate::db::{Db, DbError, Row, Tx};
use crate::engine::builds;
use crate::engine::projection::{Projection, named};
use crate::rebuild::{Build, RebuildError, RebuildProgress};
use crate::table::Kind;

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

const SCRATCH: &str = "_check";

/// Whether a table is the scratch table of a check.
pub(crate) fn is_scratch(table_name: &str) -> bool {
    table_name.ends_with(SCRATCH)
}

/// Replays the log into a scratch table and compares it with the one that answers. Neither readers nor the engine are
/// held up. `now`: rows that have expired are left out.
pub async fn check(
    db: &Db,
    name: &str,
    now: Timestamp,
    mut report: impl FnMut(RebuildProgress) + Send,
) -> Result<Checked, RebuildError> {
    let projection = named(name).ok_or_else(|| RebuildError::UnknownProjection(name.to_owned()))?;
    let scratch = make_scratch(db, &*projection).await?;
    let table = scratch.table_name.clone();
    let checked = replay(db, projection, scratch, now, &mut report).await;
    let mut tx = db.begin().await?;
    builds::drop_table(&mut tx, &table).await?;
    tx.commit().await?;
    checked
}

async fn replay(
    db: &Db,
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
    let mut snapshot = db.begin_read().await?;
    let active = checkpoint::active(&mut snapshot, name, version).await?;
    let active = active.filter(|active| active.cursor >= near.cursor).ok_or(RebuildError::Busy)?;
    build.run_to(Some(active.cursor), report).await?;
    let scratch = build.progress.checkpoint.table_name.clone();
    let comparison = compare(db, &mut snapshot, &*projection, &active.table_name, &scratch, now).await?;
    snapshot.rollback().await?;
    Ok(Checked {
        name: name.to_owned(),
        table_name: active.table_name,
        position: active.cursor.position,
        comparison,
        events: build.events,
    })
}

/// An empty scratch table; what an interrupted check left behind goes first.
async fn make_scratch(db: &Db, projection: &dyn Projection) -> Result<Checkpoint, DbError> {
    let (name, version) = (projection.name(), projection.version());
    let table_name = format!("{name}_v{version}{SCRATCH}");
    let mut tx = db.begin().await?;
    builds::exclusively(&mut tx).await?;
    builds::drop_table(&mut tx, &table_name).await?;
    let scratch = builds::make_named(&mut tx, projection, table_name).await?;
    tx.commit().await?;
    Ok(scratch)
}

/// `left` as the snapshot has it, `right` as it is.
pub(crate) async fn compare(
    db: &Db,
    snapshot: &mut Tx,
    projection: &dyn Projection,
    left: &str,
    right: &str,
    now: Timestamp,
) -> Result<Comparison, DbError> {
    let left = sum(snapshot, projection, left, now).await?;
    let mut tx = db.begin_read().await?;
    let right = sum(&mut tx, projection, right, now).await?;
    tx.rollback().await?;
    Ok(Comparison { left, right })
}

async fn sum(tx: &mut Tx, projection: &dyn Projection, table: &str, now: Timestamp) -> Result<Sum, DbError> {
    let columns: Vec<&str> = projection.columns().iter().map(|column| column.name).collect();
    let key = columns[..projection.key()].join(", ");
    let (condition, values) = match projection.expires() {
        Some(expires) => (format!("WHERE {expires} > $1"), vec![now.0.into()]),
        None => (String::new(), Vec::new()),
    };
    let sql = format!("SELECT {} FROM {table} {condition} ORDER BY {key}", columns.join(", "));
    let (mut context, mut rows) = (Context::new(&SHA256), 0);
    tx.fetch_each(&sql, &values, |row| {
        rows += 1;
        add(&mut context, projection, row)
    })
    .await?;
    let checksum = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Sum { rows, checksum })
}

/// Each value with a mark for its kind and its length, so that no two different rows give the same bytes.
fn add(context: &mut Context, projection: &dyn Projection, row: &Row) -> Result<(), DbError> {
    for (at, column) in projection.columns().iter().enumerate() {
        match column.kind {
            Kind::Text => match row.opt_str(at)? {
                None => context.update(b"n"),
                Some(text) => {
                    context.update(b"t");
                    context.update(&(text.len() as u64).to_be_bytes());
                    context.update(text.as_bytes());
                }
            },
            Kind::Int => match row.opt_int(at)? {
                None => context.update(b"n"),
                Some(int) => {
                    context.update(b"i");
                    context.update(&int.to_be_bytes());
                }
            },
        }
    }
    Ok(())
}
