//! A connection of the PostgreSQL pool on which nobody waits for ever, alone or in a transaction.
//!
//! The server bounds its statements, but not a network that swallows everything: on such a connection an answer is awaited
//! for a quarter of an hour. One whose answer is overdue is closed instead of put back, and the pool makes another.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use parking_lot::Mutex;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, Postgres};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::DbError;

/// Longest wait for an answer; more than the server gives a statement (10 s), so that its own refusal is heard.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(12);
/// The same where the server does not bound its statements: a large index, a table that is read whole.
pub(super) const LONG_ANSWER_MAX: Duration = Duration::from_secs(3600);
/// Longest wait for the sign of life with which a connection goes back into the pool.
const RETURN_MAX: Duration = Duration::from_secs(2);

/// When somebody last gave up waiting for an answer on a connection that is not a [`Lease`].
static GIVEN_UP: Mutex<Option<Instant>> = Mutex::new(None);

/// Waits for what another library asks of the pool, for as long as for an answer of ours.
pub(super) async fn bounded<T>(asking: impl Future<Output = T>) -> Result<T, DbError> {
    let mut asking = pin!(asking);
    // Dropped before what is asked, and so before its connection: also when nobody waits for it any more.
    let given_up = GivenUp;
    let answer = timeout(ANSWER_MAX, asking.as_mut()).await.map_err(|_| DbError::TimedOut)?;
    std::mem::forget(given_up);
    Ok(answer)
}

struct GivenUp;

impl Drop for GivenUp {
    fn drop(&mut self) {
        *GIVEN_UP.lock() = Some(Instant::now());
    }
}

/// Whether a connection that comes back to the pool may be one that [`bounded`] gave up, and gives no sign of life. The pool
/// would wait for it without a bound, and keep its place.
pub(super) async fn is_dead(connection: &mut PgConnection) -> bool {
    let lately = GIVEN_UP.lock().is_some_and(|at| at.elapsed() < ANSWER_MAX);
    lately && !matches!(timeout(RETURN_MAX, connection.ping()).await, Ok(Ok(())))
}

type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

#[derive(Debug)]
pub(super) struct Lease(Option<PoolConnection<Postgres>>);

impl Lease {
    pub(super) async fn acquire(pool: &PgPool) -> Result<Self, DbError> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    /// The rows of one statement.
    pub(super) async fn fetch(&mut self, query: PgQuery<'_>, longest: Duration) -> Result<Vec<PgRow>, DbError> {
        let connection = self.0.as_mut().ok_or(DbError::TimedOut)?;
        let answer = timeout(longest, connection.fetch_all(query)).await;
        self.answered(answer)
    }

    /// How many rows one statement changed.
    pub(super) async fn execute(&mut self, query: PgQuery<'_>, longest: Duration) -> Result<u64, DbError> {
        let connection = self.0.as_mut().ok_or(DbError::TimedOut)?;
        let answer = timeout(longest, connection.execute(query)).await;
        self.answered(answer).map(|done| done.rows_affected())
    }

    /// Hands on each row as it arrives; `longest` is the wait for one.
    async fn fetch_each<F>(&mut self, query: PgQuery<'_>, longest: Duration, mut each: F) -> Result<(), DbError>
    where
        F: FnMut(PgRow) -> Result<(), DbError> + Send,
    {
        let connection = self.0.as_mut().ok_or(DbError::TimedOut)?;
        let mut rows = connection.fetch(query);
        let ended = loop {
            match timeout(longest, rows.try_next()).await {
                Ok(Ok(Some(row))) => each(row)?,
                Ok(Ok(None)) => break Ok(Ok(())),
                Ok(Err(error)) => break Ok(Err(error)),
                Err(overdue) => break Err(overdue),
            }
        };
        drop(rows);
        self.answered(ended)
    }

    /// Statements of our own without parameters.
    async fn run(&mut self, sql: &'static str) -> Result<(), DbError> {
        let connection = self.0.as_mut().ok_or(DbError::TimedOut)?;
        let answer = timeout(ANSWER_MAX, connection.execute(sql)).await;
        self.answered(answer).map(drop)
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
            runtime.spawn(async move { timeout(RETURN_MAX, returned).await });
        }
    }
}

/// A transaction on such a connection; dropped it is rolled back. When an answer is overdue it is over, and nobody knows
/// how it ended: the server ends it when it has heard nothing for as long as a statement may take.
#[derive(Debug)]
pub(super) struct PostgresTx {
    lease: Lease,
    /// Longest wait for an answer.
    longest: Duration,
}

impl PostgresTx {
    pub(super) async fn begin(pool: &PgPool, sql: &'static str) -> Result<Self, DbError> {
        let mut tx = Self { lease: Lease::acquire(pool).await?, longest: ANSWER_MAX };
        tx.lease.run(sql).await?;
        Ok(tx)
    }

    /// From here on answers are awaited for as long as [`LONG_ANSWER_MAX`].
    pub(super) const fn take_long(&mut self) {
        self.longest = LONG_ANSWER_MAX;
    }

    pub(super) async fn fetch(&mut self, query: PgQuery<'_>) -> Result<Vec<PgRow>, DbError> {
        self.lease.fetch(query, self.longest).await
    }

    pub(super) async fn fetch_each<F>(&mut self, query: PgQuery<'_>, each: F) -> Result<(), DbError>
    where
        F: FnMut(PgRow) -> Result<(), DbError> + Send,
    {
        self.lease.fetch_each(query, self.longest, each).await
    }

    pub(super) async fn execute(&mut self, query: PgQuery<'_>) -> Result<u64, DbError> {
        self.lease.execute(query, self.longest).await
    }

    pub(super) async fn commit(self) -> Result<(), DbError> {
        self.end("COMMIT").await
    }

    pub(super) async fn rollback(self) -> Result<(), DbError> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, sql: &'static str) -> Result<(), DbError> {
        self.lease.run(sql).await?;
        // It goes back into the pool as it is.
        drop(Lease(self.lease.0.take()));
        Ok(())
    }
}

impl Drop for PostgresTx {
    fn drop(&mut self) {
        let Some(mut connection) = self.lease.0.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(connection.detach());
            return;
        };
        runtime.spawn(async move {
            match timeout(RETURN_MAX, connection.execute("ROLLBACK")).await {
                Ok(Ok(_)) => drop(Lease(Some(connection))),
                _ => drop(connection.detach()),
            }
        });
    }
}
