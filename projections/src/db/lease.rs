//! A connection of the PostgreSQL pool on which nobody waits for ever.
//!
//! The server bounds its statements, but not a network that swallows everything: on such a connection an answer is awaited
//! for a quarter of an hour. One whose answer is overdue is closed instead of put back, and the pool makes another.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Executor as _, PgPool, Postgres};
use tokio::time::error::Elapsed;

use super::DbError;

/// Longest wait for an answer; more than the server gives a statement (10 s), so that its own refusal is heard.
const ANSWER_MAX: Duration = Duration::from_secs(12);
/// Longest wait for the sign of life with which a connection goes back into the pool.
const RETURN_MAX: Duration = Duration::from_secs(2);

pub(super) struct Lease(Option<PoolConnection<Postgres>>);

impl Lease {
    pub(super) async fn acquire(pool: &PgPool) -> Result<Self, DbError> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    /// The rows of one statement.
    pub(super) async fn fetch(mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, DbError> {
        let Some(connection) = &mut self.0 else { return Err(DbError::TimedOut) };
        let answer = tokio::time::timeout(ANSWER_MAX, connection.fetch_all(query)).await;
        self.answered(answer)
    }

    /// How many rows one statement changed.
    pub(super) async fn execute(mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64, DbError> {
        let Some(connection) = &mut self.0 else { return Err(DbError::TimedOut) };
        let answer = tokio::time::timeout(ANSWER_MAX, connection.execute(query)).await;
        self.answered(answer).map(|done| done.rows_affected())
    }

    fn answered<T>(&mut self, answer: Result<Result<T, sqlx::Error>, Elapsed>) -> Result<T, DbError> {
        match answer {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                // Closed hard: a goodbye would not get through either.
                drop(self.0.take().map(PoolConnection::detach));
                Err(DbError::TimedOut)
            }
        }
    }
}

impl Drop for Lease {
    /// As sqlx does it, but bounded: an answer that is still on its way is awaited, then the connection is put back.
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        let returned = connection.return_to_pool();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { tokio::time::timeout(RETURN_MAX, returned).await });
        }
    }
}
