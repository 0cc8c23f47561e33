//! What archived events leave behind for the read models (PostgreSQL).
//!
//! A partition leaves the log only when every grant in it is over, so what folds from it has expired and would leave the
//! tables anyway. One table keeps rows without an end: the activity of users shows their last events, however old. The
//! archived events that it shows stay, whole, in `events_base`, and whoever builds a table anew reads them in their places
//! of the log. So the fold is the same function over the same events, and a new version of it can be built too.
//!
//! An event that the activity does not show any more never comes back into it: later events only push others out. So the
//! base holds no more than that table does.

use aws_lc_rs::digest::{Context, SHA256};

use crate::checkpoint;
use crate::db::{Db, DbError, Row, Tx, Value};
use crate::engine::is_known;
use crate::feed::{Cursor, POSTGRES_COLUMNS};
use crate::read_models;
use crate::tables::activity;

/// What the base holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseSum {
    pub events: i64,
    /// SHA-256 of all of them, in hex.
    pub sha256: String,
}

/// Why a partition whose last event is at `last` must not leave the log yet; `None` when it may.
pub async fn objection(db: &Db, last: Cursor) -> Result<Option<String>, DbError> {
    for (found, answers) in checkpoint::all(db).await? {
        if !answers {
            continue;
        }
        if !is_known(&found.name, found.version) {
            return Ok(Some(format!(
                "the read model {} has a table of another version ({}): finish the update of every node, then rebuild it",
                found.name, found.version
            )));
        }
        if found.cursor < last {
            return Ok(Some(format!("the read model {} has not come that far: is a server running?", found.name)));
        }
    }
    Ok(None)
}

/// Rows of the activity that are carried over at a time.
const CARRIED: i64 = 10_000;

/// Makes the base anew for when `partition`, whose last event has the position `last`, has left the log: adds the events of
/// it that are shown, and removes those that no longer are. Nobody else may do this at the same time.
///
/// `read_models` is the database as the role sees it that the read models belong to. What they show comes over as numbers:
/// the owner of the log never reads a view or table that another role has made.
pub async fn renew(db: &Db, read_models: &Db, partition: &str, last: i64) -> Result<BaseSum, DbError> {
    read_models::are_ours(read_models).await?;
    let mut tx = db.begin().await?;
    tx.take_long().await?;
    tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0", &[]).await?;
    // First what is there: a foreign change is reported, not taken for right.
    verify_in(&mut tx).await?;
    carry_shown(&mut tx, read_models, last).await?;
    let remove = "DELETE FROM events_base base WHERE NOT EXISTS \
         (SELECT 1 FROM pg_temp.shown shown WHERE shown.txid = base.txid AND shown.position = base.position)";
    tx.execute(remove, &[]).await?;
    let columns = "aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, txid, position, \
                   recorded_at, mac";
    let add = format!(
        "INSERT INTO events_base ({columns}) SELECT {columns} FROM {partition} event WHERE (txid, position) IN \
         (SELECT txid, position FROM pg_temp.shown) ON CONFLICT DO NOTHING"
    );
    tx.execute(&add, &[]).await?;
    let sum = sum(&mut tx).await?;
    let note = "INSERT INTO events_base_sums (events, sha256, partition_name) VALUES ($1, $2, $3)";
    tx.execute(note, &[sum.events.into(), sum.sha256.as_str().into(), partition.into()]).await?;
    tx.commit().await?;
    Ok(sum)
}

/// Lays beside the log which of its events the activity shows, as far as they can be archived.
async fn carry_shown(tx: &mut Tx, read_models: &Db, last: i64) -> Result<(), DbError> {
    tx.execute(
        "CREATE TEMP TABLE shown (txid bigint, position bigint, PRIMARY KEY (txid, position)) ON COMMIT DROP",
        &[],
    )
    .await?;
    let based = tx.fetch("SELECT coalesce(max(position), 0) FROM events_base", &[]).await?;
    let last = based.first().map(|row| row.int(0)).transpose()?.unwrap_or(0).max(last);
    let page = format!(
        "SELECT user_id, position, txid FROM {}_v{} WHERE (user_id, position) > ($1, $2) AND position <= $3 \
         ORDER BY user_id, position LIMIT $4",
        activity::NAME,
        activity::VERSION
    );
    let mut shown = read_models.begin_long_read().await?;
    let (mut user_id, mut position) = (String::new(), 0);
    loop {
        let rows = shown.fetch(&page, &[user_id.into(), position.into(), last.into(), CARRIED.into()]).await?;
        let Some(end) = rows.last() else { break };
        (user_id, position) = (end.text(0)?, end.int(1)?);
        let column = |at| rows.iter().map(|row| row.int(at).map(Some)).collect::<Result<_, _>>().map(Value::IntArray);
        let carry = "INSERT INTO pg_temp.shown SELECT * FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING";
        tx.execute(carry, &[column(2)?, column(1)?]).await?;
    }
    shown.rollback().await
}

/// Checks that the base is what the last archive run left. Nothing to do on SQLite.
pub async fn verify(db: &Db) -> Result<(), DbError> {
    if !db.is_postgres() {
        return Ok(());
    }
    let mut tx = db.begin_long_read().await?;
    let verified = verify_in(&mut tx).await;
    tx.rollback().await?;
    verified
}

async fn verify_in(tx: &mut Tx) -> Result<(), DbError> {
    let newest = "SELECT events, sha256 FROM events_base_sums ORDER BY base_id DESC LIMIT 1";
    let noted = match tx.fetch(newest, &[]).await?.first() {
        Some(row) => BaseSum { events: row.int(0)?, sha256: row.text(1)? },
        None => BaseSum { events: 0, sha256: hex(Context::new(&SHA256)) },
    };
    let found = sum(tx).await?;
    if found == noted {
        return Ok(());
    }
    Err(DbError::Malformed(format!(
        "events_base holds {} events ({}), the last archive run left {} ({}): restore it from the archives",
        found.events, found.sha256, noted.events, noted.sha256
    )))
}

async fn sum(tx: &mut Tx) -> Result<BaseSum, DbError> {
    let sql = format!("SELECT {POSTGRES_COLUMNS} FROM events_base ORDER BY txid, position");
    let (mut context, mut events) = (Context::new(&SHA256), 0);
    tx.fetch_each(&sql, &[], |row| {
        events += 1;
        add(&mut context, row)
    })
    .await?;
    Ok(BaseSum { events, sha256: hex(context) })
}

/// Each value with its length, so that no two different rows give the same bytes.
fn add(context: &mut Context, row: &Row) -> Result<(), DbError> {
    for column in [0, 1, 3, 4, 5, 6] {
        let text = row.str(column)?;
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    for column in [2, 7, 8, 9] {
        context.update(&row.int(column)?.to_be_bytes());
    }
    Ok(())
}

fn hex(context: Context) -> String {
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::projection;

    /// Whoever adds a table of grants without an end has to say here what it needs of archived events.
    #[test]
    fn every_table_of_grants_either_expires_or_is_the_one_that_the_base_is_for() {
        for projection in projection::all() {
            let reads_grants = projection.aggregates().contains(&"grant");
            let is_safe = projection.expires().is_some() || projection.name() == activity::NAME;
            assert!(!reads_grants || is_safe, "{}", projection.name());
        }
    }
}
