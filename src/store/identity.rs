//! Whether this log still lives in the PostgreSQL cluster that gave its transaction ids. After a logical restore it does
//! not: the ids begin anew, and new events would be sorted before old ones. A bias lifts them.

use grantlog_projections::db::Db;
use sqlx::PgPool;

use super::error::StoreError;

/// Room between the last old transaction id and the first new one.
const BIAS_MARGIN: i64 = 1_000;

/// Refuses a log whose cluster is another one.
pub(super) async fn check(db: &Db) -> Result<(), StoreError> {
    let Db::Postgres(pool) = db else { return Ok(()) };
    let (recorded, actual): (i64, i64) =
        sqlx::query_as("SELECT l.system_identifier, c.system_identifier FROM log_identity l, pg_control_system() c")
            .fetch_one(pool)
            .await
            .map_err(database)?;
    if recorded == actual { Ok(()) } else { Err(StoreError::ForeignLog { recorded, actual }) }
}

/// Makes the log at home in this cluster. Answers the new bias; `None` when it was at home already.
///
/// Nobody may write meanwhile; the lock makes late writers wait.
pub(super) async fn rebase(db: &Db) -> Result<Option<i64>, StoreError> {
    match db {
        Db::Postgres(pool) => match check(db).await {
            Err(StoreError::ForeignLog { .. }) => rebase_postgres(pool).await.map(Some).map_err(database),
            at_home => at_home.map(|()| None),
        },
        Db::Sqlite { .. } => Ok(None),
    }
}

async fn rebase_postgres(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::query("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").execute(&mut *tx).await?;
    let bias: i64 =
        sqlx::query_scalar("SELECT coalesce(max(txid), 0) + $1 - pg_current_xact_id()::text::bigint FROM events")
            .bind(BIAS_MARGIN)
            .fetch_one(&mut *tx)
            .await?;
    // A default takes no parameter; a number is safe to write out.
    let default =
        format!("ALTER TABLE events ALTER COLUMN txid SET DEFAULT (pg_current_xact_id()::text::bigint + ({bias}))");
    sqlx::raw_sql(&default).execute(&mut *tx).await?;
    sqlx::query(
        "UPDATE log_identity SET system_identifier = c.system_identifier, bias = $1 FROM pg_control_system() c",
    )
    .bind(bias)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(bias)
}

fn database(error: sqlx::Error) -> StoreError {
    StoreError::Database(error.into())
}
