//! Joins concurrent appends into one transaction. While a batch commits, the next one gathers; there is no other wait.
//!
//! A lane is a task with a queue and a connection of its own. All appends to one stream go through the same lane. What
//! is here: the queue and its bound, closing and draining. `batch` decides who won; `postgres` and `sqlite` hold the SQL.

mod batch;
mod postgres;
mod sqlite;

use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use grantlog_projections::db::Db;
use grantlog_projections::log::Log;
use grantlog_projections::mac::{Content, Mac};
use parking_lot::Mutex;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use self::batch::Lane;
use self::postgres::PostgresLane;
use self::sqlite::SqliteLane;
use super::error::AppendError;
use super::options::{EVENT_BYTES_MAX, StoreOptions};

/// A batch of so many appends waits for nobody: the database would do nothing meanwhile. Fewer let in whoever has arrived.
const WORTHWHILE: usize = 5;

/// An event on its way into the log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub sequence: i64,
    pub event_type: String,
    pub event_version: String,
    /// JSON text.
    pub payload: String,
    /// JSON text, with `event_id`.
    pub metadata: String,
    /// Settles whether an append whose answer was lost took place.
    pub event_id: Uuid,
}

/// Where an event came to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// 0 on SQLite.
    pub txid: i64,
    pub position: i64,
    /// Unix milliseconds.
    pub recorded_at: i64,
}

/// An event and its code.
#[derive(Debug)]
struct Coded {
    event: NewEvent,
    mac: Mac,
}

impl Deref for Coded {
    type Target = NewEvent;

    fn deref(&self) -> &NewEvent {
        &self.event
    }
}

impl NewEvent {
    pub(in crate::store) fn content(&self) -> Content<'_> {
        Content {
            aggregate_type: &self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            sequence: self.sequence,
            event_type: &self.event_type,
            event_version: &self.event_version,
            payload: &self.payload,
            metadata: &self.metadata,
        }
    }
}

/// One append: events of one stream, all or none, and who waits for the answer.
struct Append {
    events: Vec<Coded>,
    answer: oneshot::Sender<Result<Vec<Placed>, AppendError>>,
    queued_at: Instant,
}

/// The way into the log. Clones share the lanes.
#[derive(Clone)]
pub struct GroupCommit(Arc<Inner>);

struct Inner {
    /// Has the key that new events get their codes with.
    log: Log,
    lanes: Vec<mpsc::Sender<Append>>,
    closing: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl GroupCommit {
    /// Starts the lanes. `postgres` says how they connect when the database is PostgreSQL; SQLite's one writer is shared.
    #[must_use]
    pub(super) fn start(log: &Log, postgres: Option<&PgConnectOptions>, options: &StoreOptions) -> Self {
        let (closing, _) = watch::channel(false);
        let mut inner = Inner { log: log.clone(), lanes: Vec::new(), closing, tasks: Mutex::new(Vec::new()) };
        match (log.db(), postgres) {
            (Db::Sqlite { write, .. }, _) => inner.add(SqliteLane::new(write.clone()), 1, options),
            (Db::Postgres(_), Some(connect)) => {
                let lanes = options.append_lanes.max(1);
                for _ in 0..lanes {
                    inner.add(PostgresLane::new(connect.clone(), options), lanes, options);
                }
            }
            // Without a way to connect every append is answered as not available.
            (Db::Postgres(_), None) => {}
        }
        Self(Arc::new(inner))
    }

    /// Appends `events`, which belong to one stream and follow each other: all of them or none. Answers where each came
    /// to stand, when they are durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Placed>, AppendError> {
        let Some(first) = events.first() else { return Ok(Vec::new()) };
        if let Some(large) = events.iter().find(|event| event.payload.len() + event.metadata.len() > EVENT_BYTES_MAX) {
            return Err(AppendError::Refused(format!("{} has more than {EVENT_BYTES_MAX} bytes", large.event_type)));
        }
        let stopped = || AppendError::Unavailable("this process is stopping".to_owned());
        let lanes = self.0.lanes.len();
        let lane = self.0.lanes.get(lane_of(&first.aggregate_id, lanes)).ok_or_else(stopped)?;
        // In the task of whoever appends, so that the lane has nothing to do but to write.
        let keys = self.0.log.keys().map_err(|error| AppendError::Refused(error.to_string()))?;
        let coded = |event: NewEvent| Coded { mac: keys.decided(&event.content()), event };
        let events = events.into_iter().map(coded).collect();
        let (answer, answered) = oneshot::channel();
        lane.try_send(Append { events, answer, queued_at: Instant::now() }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                metrics::counter!("grantlog_appends_total", "outcome" => "busy").increment(1);
                AppendError::Busy
            }
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answered.await.map_err(|_| AppendError::Unavailable("the outcome is unknown".to_owned()))?
    }

    /// Takes no more appends, finishes those that wait, for at most `longest`.
    pub async fn close(&self, longest: Duration) {
        self.0.closing.send_replace(true);
        let tasks = std::mem::take(&mut *self.0.tasks.lock());
        let _ = tokio::time::timeout(longest, futures::future::join_all(tasks)).await;
    }
}

impl Inner {
    fn add<L: Lane>(&mut self, lane: L, lanes: usize, options: &StoreOptions) {
        let (sender, receiver) = mpsc::channel((options.append_queue / lanes).max(1));
        let (batch_max, settle) = (options.append_batch.max(1), options.settle_timeout);
        self.lanes.push(sender);
        self.tasks.lock().push(tokio::spawn(run(lane, receiver, self.closing.subscribe(), batch_max, settle)));
    }
}

/// The life of a lane: gather, append, until closed and empty.
async fn run<L: Lane>(
    mut lane: L,
    mut queue: mpsc::Receiver<Append>,
    mut closing: watch::Receiver<bool>,
    batch_max: usize,
    settle: Duration,
) {
    let mut gathered = Vec::with_capacity(batch_max);
    loop {
        let announce_at = lane.announce_at();
        let count = tokio::select! {
            biased;
            count = queue.recv_many(&mut gathered, batch_max) => count,
            () = tokio::time::sleep_until(announce_at.unwrap_or_else(Instant::now)), if announce_at.is_some() => {
                lane.announce().await;
                continue;
            }
            // Also when the last handle was dropped without closing.
            _ = closing.changed(), if !queue.is_closed() => { queue.close(); continue }
        };
        if count == 0 {
            break;
        }
        if gathered.len() < WORTHWHILE {
            // Requests that have arrived already are let in first: a larger batch costs each of them less.
            tokio::task::yield_now().await;
            while gathered.len() < batch_max
                && let Ok(append) = queue.try_recv()
            {
                gathered.push(append);
            }
        }
        // The batch is closed before any SQL: what arrives from here on goes into the next one.
        let batch = batch::append_all(&mut lane, std::mem::take(&mut gathered), settle);
        // A lane that ended would refuse everything until a restart; who waited hears that the outcome is unknown.
        if AssertUnwindSafe(batch).catch_unwind().await.is_err() {
            tracing::error!("appending a batch panicked");
        }
        gathered.reserve(batch_max);
    }
    lane.close().await;
}

/// FNV-1a: the same stream always takes the same lane.
fn lane_of(aggregate_id: &str, lanes: usize) -> usize {
    let hash = aggregate_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    usize::try_from(hash % lanes.max(1) as u64).unwrap_or(0)
}
