//! The tables of a projection: making one, letting one answer, dropping one.
//!
//! Each build has its own table `NAME_vVERSION_bNUMBER`. `NAME_vVERSION` is a view of the one that answers, so readers
//! need not know about builds and a switch is one statement.

use super::projection::{Projection, all};
use crate::checkpoint::{self, Checkpoint};
use crate::db::{Db, DbError, Tx};
use crate::feed::Cursor;

/// Serializes whoever makes and drops tables (PostgreSQL advisory lock).
const LOCK: i64 = 0x6772_616e_746c_6f67;

/// Makes the tables of this version that do not exist yet, empty: the engine fills them from the log. To be called after
/// the migrations; other processes may do the same at the same time.
pub async fn prepare(db: &Db) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    exclusively(&mut tx).await?;
    for projection in all() {
        let (name, version) = (projection.name(), projection.version());
        if checkpoint::active(&mut tx, name, version).await?.is_none() {
            let made = make(&mut tx, &*projection).await?;
            answer_with(&mut tx, &*projection, &made.table_name).await?;
        }
    }
    tx.commit().await
}

pub(crate) async fn exclusively(tx: &mut Tx) -> Result<(), DbError> {
    if tx.is_postgres() {
        tx.fetch("SELECT pg_advisory_xact_lock($1)::text", &[LOCK.into()]).await?;
    }
    Ok(())
}

/// Makes an empty table that does not answer yet.
pub(crate) async fn make(tx: &mut Tx, projection: &dyn Projection) -> Result<Checkpoint, DbError> {
    let (name, version) = (projection.name(), projection.version());
    let prefix = format!("{name}_v{version}_b");
    let used = tx.fetch("SELECT table_name FROM projection_checkpoint WHERE name = $1", &[name.into()]).await?;
    let mut number = 0;
    for row in used {
        number = row.str(0)?.strip_prefix(&prefix).and_then(|text| text.parse().ok()).unwrap_or(0).max(number);
    }
    make_named(tx, projection, format!("{prefix}{}", number + 1)).await
}

/// The same, with a name of the caller's choice.
pub(crate) async fn make_named(
    tx: &mut Tx,
    projection: &dyn Projection,
    table_name: String,
) -> Result<Checkpoint, DbError> {
    let (name, version) = (projection.name(), projection.version());
    for sql in projection.create(&table_name, tx.is_postgres()) {
        tx.execute(&sql, &[]).await?;
    }
    tx.execute(
        "INSERT INTO projection_checkpoint (table_name, name, version, txid, position, recorded_at) \
         VALUES ($1, $2, $3, 0, 0, 0)",
        &[table_name.as_str().into(), name.into(), version.into()],
    )
    .await?;
    Ok(Checkpoint { table_name, name: name.to_owned(), version, cursor: Cursor::START, recorded_at: 0 })
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
    tx.execute(&format!("DROP TABLE IF EXISTS {table_name}"), &[]).await?;
    forget(tx, table_name).await
}

/// Forgets a table that does not answer: its checkpoint and poison.
pub(crate) async fn forget(tx: &mut Tx, table_name: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM projection_poison WHERE table_name = $1", &[table_name.into()]).await?;
    tx.execute("DELETE FROM projection_checkpoint WHERE table_name = $1", &[table_name.into()]).await?;
    Ok(())
}
