//! Reading a great many rows: a connection of its own, rows in blocks, work on them in other threads.
//!
//! PostgreSQL sends them as binary COPY. On SQLite a thread steps through the statement; sqlx hands over every row by
//! itself, which takes longer than the row.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use rusqlite::types::ValueRef;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::block::Block;
use super::lease::{ANSWER_MAX, LONG_ANSWER_MAX};
use super::open::SEARCH_PATH;
use super::{BEGIN_LONG_READ, Db, DbError};

/// Blocks that wait to be worked on.
const WAITING_MAX: usize = 4;
/// Threads that work on blocks; the database needs one itself.
const WORKERS: usize = 2;

/// A connection that only reads. It is closed when this is dropped, and with it the snapshot.
#[derive(Debug)]
pub(crate) struct Scan(Inner);

#[derive(Debug)]
enum Inner {
    Postgres(Box<PgConnection>),
    /// Lent to a thread while a statement runs; a statement that is interrupted keeps it.
    Sqlite(Option<Box<rusqlite::Connection>>),
}

impl Scan {
    pub(crate) async fn open(db: &Db) -> Result<Self, DbError> {
        Ok(Self(match db {
            Db::Postgres(pool) => {
                let options = pool.connect_options();
                let mut connection = answered(ANSWER_MAX, PgConnection::connect_with(&options)).await?;
                let unbounded = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
                answered(ANSWER_MAX, connection.execute(unbounded)).await?;
                answered(ANSWER_MAX, connection.execute(SEARCH_PATH)).await?;
                Inner::Postgres(Box::new(connection))
            }
            Db::Sqlite { read, .. } => {
                use rusqlite::OpenFlags;
                let options = read.connect_options();
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                // It waits for a lock as long as the other connections do: rusqlite has the same 5 seconds.
                let connection = rusqlite::Connection::open_with_flags(options.get_filename(), flags)?;
                Inner::Sqlite(Some(Box::new(connection)))
            }
        }))
    }

    /// From here on every statement sees the same snapshot.
    pub(crate) async fn begin(&mut self) -> Result<(), DbError> {
        match &mut self.0 {
            Inner::Postgres(connection) => answered(ANSWER_MAX, connection.execute(BEGIN_LONG_READ)).await.map(drop)?,
            Inner::Sqlite(connection) => connection.as_ref().ok_or_else(lent)?.execute_batch("BEGIN")?,
        }
        Ok(())
    }

    /// All rows of a statement without parameters, in its order, to be worked on by whoever holds the other end.
    pub(crate) async fn send(&mut self, sql: String, blocks: &mpsc::Sender<Block>) -> Result<(), DbError> {
        match &mut self.0 {
            Inner::Postgres(connection) => copy_out(connection, &sql, blocks).await,
            Inner::Sqlite(lendable) => {
                let (connection, blocks) = (lendable.take().ok_or_else(lent)?, blocks.clone());
                let stepping = tokio::task::spawn_blocking(move || {
                    let outcome = step_through(&connection, &sql, &blocks);
                    (connection, outcome)
                });
                let (connection, outcome) = stepping.await.map_err(|_| panicked())?;
                *lendable = Some(connection);
                outcome
            }
        }
    }

    /// The same, all at once; for a bounded number of rows.
    pub(crate) async fn fetch(&mut self, sql: String) -> Result<Vec<Block>, DbError> {
        let (blocks, mut received) = mpsc::channel(WAITING_MAX);
        let collect = async {
            let mut all = Vec::new();
            while let Some(block) = received.recv().await {
                all.push(block);
            }
            all
        };
        let send = async move { self.send(sql, &blocks).await };
        let (sent, all) = tokio::join!(send, collect);
        sent.map(|()| all)
    }

    /// Hands all rows to `work`, block by block, in other threads and in no order.
    pub(crate) async fn for_each<F>(&mut self, sql: String, work: F) -> Result<(), DbError>
    where
        F: Fn(&Block) -> Result<(), DbError> + Send + Sync + 'static,
    {
        let (blocks, received) = mpsc::channel(WAITING_MAX);
        let send = async move { self.send(sql, &blocks).await };
        let (sent, worked) = tokio::join!(send, work_on(received, Arc::new(work)));
        // Who cannot work ends the sending too, so its reason comes first.
        worked.and(sent)
    }
}

async fn work_on<F>(received: mpsc::Receiver<Block>, work: Arc<F>) -> Result<(), DbError>
where
    F: Fn(&Block) -> Result<(), DbError> + Send + Sync + 'static,
{
    let blocks = futures::stream::unfold(received, |mut received| async {
        let block = received.recv().await?;
        Some((block, received))
    });
    blocks
        .map(|block| {
            let work = Arc::clone(&work);
            in_thread(move || work(&block))
        })
        .buffer_unordered(WORKERS)
        .try_for_each(|()| async { Ok(()) })
        .await
}

/// Runs something that keeps a core busy where it does not hold up others.
pub(crate) async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DbError> + Send + 'static,
) -> Result<T, DbError> {
    let task: JoinHandle<_> = tokio::task::spawn_blocking(work);
    task.await.map_err(|_| panicked())?
}

/// When it is overdue, the connection is of no more use: whoever was to answer may be gone, or only slow.
async fn answered<T>(longest: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, DbError> {
    timeout(longest, answer).await.map_err(|_| DbError::TimedOut)?.map_err(DbError::from)
}

async fn copy_out(connection: &mut PgConnection, sql: &str, blocks: &mpsc::Sender<Block>) -> Result<(), DbError> {
    let copy = format!("COPY ({sql}) TO STDOUT (FORMAT BINARY)");
    let mut messages = answered(LONG_ANSWER_MAX, connection.copy_out_raw(&copy)).await?;
    let mut block = Block::default();
    while let Some(message) = answered(LONG_ANSWER_MAX, messages.try_next()).await? {
        block.push_copy_data(&message)?;
        if block.is_full() {
            blocks.send(std::mem::take(&mut block)).await.map_err(|_| given_up())?;
        }
    }
    if block.len() > 0 { blocks.send(block).await.map_err(|_| given_up()) } else { Ok(()) }
}

fn step_through(connection: &rusqlite::Connection, sql: &str, blocks: &mpsc::Sender<Block>) -> Result<(), DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut block = Block::default();
    while let Some(row) = rows.next()? {
        block.begin_row(columns);
        for column in 0..columns {
            match row.get_ref(column)? {
                ValueRef::Null => block.push_field(None),
                ValueRef::Integer(int) => block.push_field(Some(&int.to_be_bytes())),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => block.push_field(Some(bytes)),
                ValueRef::Real(_) => return Err(DbError::Malformed("a column is a real number".to_owned())),
            }
        }
        block.end_row()?;
        if block.is_full() {
            blocks.blocking_send(std::mem::take(&mut block)).map_err(|_| given_up())?;
        }
    }
    if block.len() > 0 { blocks.blocking_send(block).map_err(|_| given_up()) } else { Ok(()) }
}

fn given_up() -> DbError {
    DbError::Malformed("nobody takes the rows".to_owned())
}

fn lent() -> DbError {
    DbError::Malformed("an earlier statement was interrupted".to_owned())
}

fn panicked() -> DbError {
    DbError::Malformed("working on rows panicked".to_owned())
}
