//! A write transaction on SQLite that does not wait for the disk.
//!
//! `PRAGMA synchronous` belongs to the connection and cannot change inside a transaction. The connection is shared with
//! durable writers, so it must never return to the pool while it is relaxed, not even when the transaction is dropped.

use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, Sqlite, SqliteConnection, SqlitePool};

use super::DbError;

#[derive(Debug)]
pub(super) struct RelaxedSqlite(Option<PoolConnection<Sqlite>>);

impl RelaxedSqlite {
    pub(super) async fn begin(pool: &SqlitePool) -> Result<Self, DbError> {
        let mut tx = Self(Some(pool.acquire().await?));
        let connection = tx.connection()?;
        connection.execute("PRAGMA synchronous = NORMAL").await?;
        connection.execute("BEGIN IMMEDIATE").await?;
        Ok(tx)
    }

    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, DbError> {
        self.0.as_deref_mut().ok_or_else(|| DbError::Malformed("the transaction has ended".to_owned()))
    }

    pub(super) async fn commit(mut self) -> Result<(), DbError> {
        let connection = self.connection()?;
        connection.execute("COMMIT").await?;
        connection.execute("PRAGMA synchronous = FULL").await?;
        self.0 = None;
        Ok(())
    }

    pub(super) async fn rollback(mut self) -> Result<(), DbError> {
        let Some(connection) = self.0.take() else { return Ok(()) };
        restore(connection).await;
        Ok(())
    }
}

impl Drop for RelaxedSqlite {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(restore(connection))),
            // A closed connection rolls back; the next one starts durable.
            Err(_) => connection.close_on_drop(),
        }
    }
}

async fn restore(mut connection: PoolConnection<Sqlite>) {
    // Refused when no transaction is open, which is what is wanted.
    let _ = connection.execute("ROLLBACK").await;
    if connection.execute("PRAGMA synchronous = FULL").await.is_err() {
        connection.close_on_drop();
    }
}
