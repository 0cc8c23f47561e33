//! One face for both databases: statements with `$1` placeholders over TEXT and BIGINT, transactions, and errors by kind.
//!
//! What is not here: SQL, the event log, migrations.

mod block;
mod error;
mod lease;
pub mod open;
mod relaxed;
mod scan;
mod value;

use futures::TryStreamExt as _;
use sqlx::{Executor as _, PgPool, Sqlite, SqlitePool, Transaction};

pub(crate) use block::{Block, Fields};
pub use error::DbError;
pub use open::OpenOptions;
pub(crate) use scan::{Scan, in_thread};
pub use value::{Row, Value};

use lease::{ANSWER_MAX, Lease, PostgresTx};
use relaxed::RelaxedSqlite;
use value::{postgres_arguments, sqlite_arguments};

const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const BEGIN_LONG_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// A database. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Db {
    Postgres(PgPool),
    /// `write` is a pool of one connection: the lock between writers of this process.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
    },
}

impl Db {
    /// The same database over at most so many connections of its own (PostgreSQL), opened when they are needed: for who
    /// must not wait behind the requests. SQLite's are shared.
    #[must_use]
    pub fn apart(&self, connections: u32) -> Self {
        match self {
            Self::Postgres(pool) => {
                let options = pool.options().clone().max_connections(connections);
                Self::Postgres(options.connect_lazy_with((*pool.connect_options()).clone()))
            }
            Self::Sqlite { .. } => self.clone(),
        }
    }

    #[must_use]
    pub const fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Rows of a statement that only reads.
    pub async fn fetch(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        match self {
            Self::Postgres(pool) => {
                let query = sqlx::query_with(sql, postgres_arguments(values)?);
                let rows = Lease::acquire(pool).await?.fetch(query, ANSWER_MAX).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite { read, .. } => fetch_sqlite(read, sql, values).await,
        }
    }

    /// Waits for what another library reads over the pool, and on PostgreSQL no longer than for an answer of ours: then it is
    /// [`DbError::TimedOut`], and a connection that gives no sign of life is closed.
    pub async fn bounded<T>(&self, reading: impl Future<Output = T>) -> Result<T, DbError> {
        match self {
            Self::Postgres(_) => lease::bounded(reading).await,
            Self::Sqlite { .. } => Ok(reading.await),
        }
    }

    /// Runs one statement durably in its own transaction. Answers how many rows it changed.
    pub async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, DbError> {
        match self {
            Self::Postgres(pool) => {
                let query = sqlx::query_with(sql, postgres_arguments(values)?);
                Lease::acquire(pool).await?.execute(query, ANSWER_MAX).await
            }
            Self::Sqlite { write, .. } => {
                Ok(write.execute(sqlx::query_with(sql, sqlite_arguments(values)?)).await?.rows_affected())
            }
        }
    }

    /// A transaction whose commit is durable. On SQLite it is the only writer until it ends.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        Ok(Tx(match self {
            Self::Postgres(pool) => Inner::Postgres(PostgresTx::begin(pool, "BEGIN").await?),
            Self::Sqlite { write, .. } => Inner::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
        }))
    }

    /// A transaction that a power failure may undo, whole. Only for what can be built again from the log.
    pub async fn begin_rebuildable(&self) -> Result<Tx, DbError> {
        Ok(Tx(match self {
            Self::Postgres(pool) => {
                Inner::Postgres(PostgresTx::begin(pool, "BEGIN; SET LOCAL synchronous_commit TO off").await?)
            }
            Self::Sqlite { write, .. } => Inner::Relaxed(RelaxedSqlite::begin(write).await?),
        }))
    }

    /// On SQLite a number that changes when another process commits; `None` on PostgreSQL.
    pub(crate) async fn foreign_commits(&self) -> Result<Option<i64>, DbError> {
        match self {
            Self::Postgres(_) => Ok(None),
            // Of one connection; this pool has no second one.
            Self::Sqlite { write, .. } => {
                let rows = fetch_sqlite(write, "PRAGMA data_version", &[]).await?;
                rows.first().map(|row| row.int(0)).transpose()
            }
        }
    }

    /// A transaction in which every statement sees the same snapshot; it cannot write.
    pub async fn begin_read(&self) -> Result<Tx, DbError> {
        Ok(Tx(match self {
            Self::Postgres(pool) => Inner::Postgres(PostgresTx::begin(pool, BEGIN_READ).await?),
            Self::Sqlite { read, .. } => Inner::Sqlite(read.begin().await?),
        }))
    }

    /// The same, for statements that take long, up to an hour.
    pub async fn begin_long_read(&self) -> Result<Tx, DbError> {
        Ok(Tx(match self {
            Self::Postgres(pool) => {
                let mut tx = PostgresTx::begin(pool, BEGIN_LONG_READ).await?;
                tx.take_long();
                Inner::Postgres(tx)
            }
            Self::Sqlite { read, .. } => Inner::Sqlite(read.begin().await?),
        }))
    }
}

/// A transaction; dropped without [`Tx::commit`] it is rolled back. On PostgreSQL no statement waits for ever: after 12 s
/// without an answer it is [`DbError::TimedOut`] and the transaction is over.
#[derive(Debug)]
pub struct Tx(Inner);

#[derive(Debug)]
enum Inner {
    Postgres(PostgresTx),
    Sqlite(Transaction<'static, Sqlite>),
    Relaxed(RelaxedSqlite),
}

impl Tx {
    #[must_use]
    pub const fn is_postgres(&self) -> bool {
        matches!(self.0, Inner::Postgres(_))
    }

    pub async fn fetch(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        match &mut self.0 {
            Inner::Postgres(tx) => {
                let rows = tx.fetch(sqlx::query_with(sql, postgres_arguments(values)?)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Inner::Sqlite(tx) => fetch_sqlite(&mut **tx, sql, values).await,
            Inner::Relaxed(tx) => fetch_sqlite(tx.connection()?, sql, values).await,
        }
    }

    /// Hands each row to `each` as it arrives, so that memory does not grow with the answer.
    pub async fn fetch_each<F>(&mut self, sql: &str, values: &[Value], mut each: F) -> Result<(), DbError>
    where
        F: FnMut(&Row) -> Result<(), DbError> + Send,
    {
        let connection = match &mut self.0 {
            Inner::Postgres(tx) => {
                let query = sqlx::query_with(sql, postgres_arguments(values)?);
                return tx.fetch_each(query, |row| each(&Row::Postgres(row))).await;
            }
            Inner::Sqlite(tx) => &mut **tx,
            Inner::Relaxed(tx) => tx.connection()?,
        };
        let mut rows = connection.fetch(sqlx::query_with(sql, sqlite_arguments(values)?));
        while let Some(row) = rows.try_next().await? {
            each(&Row::Sqlite(row))?;
        }
        Ok(())
    }

    /// Answers how many rows changed.
    pub async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, DbError> {
        let connection = match &mut self.0 {
            Inner::Postgres(tx) => {
                return tx.execute(sqlx::query_with(sql, postgres_arguments(values)?)).await;
            }
            Inner::Sqlite(tx) => &mut **tx,
            Inner::Relaxed(tx) => tx.connection()?,
        };
        Ok(connection.execute(sqlx::query_with(sql, sqlite_arguments(values)?)).await?.rows_affected())
    }

    /// From here on the server does not bound a statement (PostgreSQL), and its answer is awaited for an hour.
    pub(crate) async fn take_long(&mut self) -> Result<(), DbError> {
        if let Inner::Postgres(tx) = &mut self.0 {
            tx.execute(sqlx::query("SET LOCAL statement_timeout = 0")).await?;
            tx.take_long();
        }
        Ok(())
    }

    pub async fn commit(self) -> Result<(), DbError> {
        match self.0 {
            Inner::Postgres(tx) => tx.commit().await?,
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Relaxed(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Like dropping it, but done when this returns.
    pub async fn rollback(self) -> Result<(), DbError> {
        match self.0 {
            Inner::Postgres(tx) => tx.rollback().await?,
            Inner::Sqlite(tx) => tx.rollback().await?,
            Inner::Relaxed(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

async fn fetch_sqlite<'c, E>(executor: E, sql: &str, values: &[Value]) -> Result<Vec<Row>, DbError>
where
    E: sqlx::Executor<'c, Database = Sqlite>,
{
    let rows = executor.fetch_all(sqlx::query_with(sql, sqlite_arguments(values)?)).await?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}

#[cfg(test)]
mod tests;
