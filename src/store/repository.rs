//! Joins cqrs-es to the log. Streams are read by postgres-es and sqlite-es, in one way for both stores: what they read is
//! checked here, event by event, before anything is folded. Appends go through the group commit.
//!
//! - They select from [`postgres`] and [`sqlite`] in the place of the table: the stored texts of an event, wrapped into
//!   JSON, and its code. Made into values the texts could not be verified any more, because keys would be in another order.
//! - They wait for a connection that died unseen for as long as the system does (a quarter of an hour); `Db::bounded`
//!   does not, and closes it.
//! - They panic at a row that has another shape. That is damage, and is told as such.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use cqrs_es::Aggregate;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot};
use futures::FutureExt as _;
use grantlog_domain::{Event, EventMetadata};
use grantlog_projections::db::{Db, DbError};
use grantlog_projections::log::Log;
use grantlog_projections::mac::Content;
use postgres_es::PostgresEventRepository;
use serde_json::Value;
use sqlite_es::SqliteEventRepository;

use super::error::AppendError;
use super::group_commit::{GroupCommit, NewEvent};

/// Events of a stream that are ready for who replays it.
const REPLAY_QUEUE: usize = 200;

/// Streams that are found at once for a replay of all.
const REPLAY_STREAMS: i64 = 500;

/// How streams are read and appended to. Clones share it.
#[derive(Clone)]
pub(super) struct Repository(Arc<Inner>);

struct Inner {
    log: Log,
    group_commit: GroupCommit,
    reads: Reads,
}

/// The crates' own repositories.
enum Reads {
    Postgres(PostgresEventRepository),
    Sqlite(SqliteEventRepository),
}

/// What stands in the place of the table `events` on PostgreSQL.
fn postgres() -> &'static str {
    "(SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, \
      to_json(CAST(payload AS text)) AS payload, \
      json_build_object('text', CAST(metadata AS text), 'mac', mac) AS metadata FROM events) AS stored"
}

/// The same on SQLite, whose columns take values of any type.
fn sqlite() -> &'static str {
    "(SELECT aggregate_type, aggregate_id, sequence, CAST(event_type AS text) AS event_type, \
      CAST(event_version AS text) AS event_version, json_quote(CAST(payload AS text)) AS payload, \
      json_object('text', CAST(metadata AS text), 'mac', CAST(mac AS text)) AS metadata FROM events) AS stored"
}

/// Snapshots that the crates would keep; there are none.
const NO_SNAPSHOTS: &str = "no_snapshots";

impl Repository {
    pub(super) fn new(log: &Log, group_commit: &GroupCommit) -> Self {
        let reads = match log.db() {
            Db::Postgres(pool) => {
                Reads::Postgres(PostgresEventRepository::new(pool.clone()).with_tables(postgres(), NO_SNAPSHOTS))
            }
            Db::Sqlite { read, .. } => {
                Reads::Sqlite(SqliteEventRepository::new(read.clone()).with_tables(sqlite(), NO_SNAPSHOTS))
            }
        };
        Self(Arc::new(Inner { log: log.clone(), group_commit: group_commit.clone(), reads }))
    }

    /// The events of a stream behind `last`, which follow each other and were all decided.
    async fn read<A: Aggregate>(&self, id: &str, last: usize) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let log = &self.0.log;
        log.keys().map_err(not_read)?;
        let reading = async {
            match (&self.0.reads, last) {
                (Reads::Postgres(repository), 0) => repository.get_events::<A>(id).await,
                (Reads::Postgres(repository), last) => repository.get_last_events::<A>(id, last).await,
                (Reads::Sqlite(repository), 0) => repository.get_events::<A>(id).await,
                (Reads::Sqlite(repository), last) => repository.get_last_events::<A>(id, last).await,
            }
        };
        let read = log.bounded(AssertUnwindSafe(reading).catch_unwind()).await.map_err(not_read)?;
        let read = read.map_err(|_panic| damaged("a row has not the shape of an event".to_owned()))?;
        let stored = read.map_err(told_apart)?;
        let mut events = Vec::with_capacity(stored.len());
        for (event, expected) in stored.into_iter().zip(last + 1..) {
            let event = self.event(event).await?;
            // An event that does not follow its stream is damage, never something to fold.
            if event.sequence != expected {
                return Err(damaged("its events do not follow each other".to_owned()));
            }
            events.push(event);
        }
        Ok(events)
    }

    /// Refuses an event that nobody decided: nothing is decided on such a stream.
    async fn event(&self, mut event: SerializedEvent) -> Result<SerializedEvent, PersistenceError> {
        let (payload, metadata, mac) = texts(&event)?;
        let sequence = i64::try_from(event.sequence).unwrap_or_default();
        let (aggregate_type, aggregate_id) = (event.aggregate_type.as_str(), event.aggregate_id.as_str());
        let (event_type, event_version) = (event.event_type.as_str(), event.event_version.as_str());
        let content = Content { aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata };
        let log = &self.0.log;
        if let Err(mut fault) = log.verify(&content, mac) {
            log.settle(&mut fault).await.map_err(not_read)?;
            let event = format!("event {sequence} ({event_type})");
            return Err(if fault.stops() {
                PersistenceError::UnknownError(Box::new(DbError::Malformed(format!("{event}: {fault}"))))
            } else {
                tracing::error!(aggregate_type, aggregate_id, sequence, %fault, "a damaged stream");
                damaged(format!("{event}: {fault}"))
            });
        }
        if !Event::may_stand_at(event_type, sequence) {
            return Err(damaged(format!("a {event_type} begins it anew")));
        }
        let (payload, metadata) = (json(payload)?, json(metadata)?);
        (event.payload, event.metadata) = (payload, metadata);
        Ok(event)
    }

    /// Streams of that type behind the id `after`, in the order of their ids.
    async fn streams(&self, aggregate_type: &str, after: &str) -> Result<Vec<String>, PersistenceError> {
        let sql = "SELECT DISTINCT aggregate_id FROM events WHERE aggregate_type = $1 AND aggregate_id > $2 \
                   ORDER BY aggregate_id LIMIT $3";
        let values = [aggregate_type.into(), after.into(), REPLAY_STREAMS.into()];
        let rows = self.0.log.fetch(sql, &values).await.map_err(not_read)?;
        rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>().map_err(not_read)
    }
}

/// Payload, metadata and code as they are stored.
fn texts(event: &SerializedEvent) -> Result<(&str, &str, Option<&str>), PersistenceError> {
    let metadata = event.metadata.get("text").and_then(Value::as_str);
    match (event.payload.as_str(), metadata) {
        (Some(payload), Some(metadata)) => Ok((payload, metadata, event.metadata.get("mac").and_then(Value::as_str))),
        _ => Err(damaged(format!("event {} has no payload or no metadata", event.sequence))),
    }
}

fn json(text: &str) -> Result<Value, PersistenceError> {
    serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
}

impl PersistedEventRepository for Repository {
    async fn get_events<A: Aggregate>(&self, aggregate_id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.read::<A>(aggregate_id, 0).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.read::<A>(aggregate_id, last_sequence).await
    }

    /// Through the group commit, as every append. Refuses snapshots: cqrs-es 0.5 folds what one holds twice.
    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        if snapshot_update.is_some() {
            return Err(PersistenceError::UnknownError("this log keeps no snapshots".into()));
        }
        let events = events.iter().map(new_event).collect::<Result<_, _>>()?;
        self.0.group_commit.append(events).await.map(drop).map_err(not_appended)
    }

    /// There are none, so every stream is read from its beginning.
    async fn get_snapshot<A: Aggregate>(&self, _: &str) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    /// The crates' own streams end early without an error; this one was read to its end before it begins.
    async fn stream_events<A: Aggregate>(&self, aggregate_id: &str) -> Result<ReplayStream, PersistenceError> {
        let events = self.read::<A>(aggregate_id, 0).await?;
        let (mut feed, stream) = ReplayStream::new(REPLAY_QUEUE);
        tokio::spawn(async move {
            for event in events {
                if feed.push(Ok(event)).await.is_err() {
                    return;
                }
            }
        });
        Ok(stream)
    }

    /// One stream after the other, in the order of their ids. What cannot be read is the last thing that is heard.
    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        let (mut feed, stream) = ReplayStream::new(REPLAY_QUEUE);
        let repository = self.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new().into_iter();
            let mut after = String::new();
            loop {
                let Some(id) = ids.next() else {
                    match repository.streams(A::TYPE, &after).await {
                        Ok(found) if found.is_empty() => return,
                        Ok(found) => ids = found.into_iter(),
                        Err(error) => return drop(feed.push(Err(error)).await),
                    }
                    continue;
                };
                match repository.read::<A>(&id, 0).await {
                    Ok(events) => {
                        for event in events {
                            if feed.push(Ok(event)).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(error) => return drop(feed.push(Err(error)).await),
                }
                after = id;
            }
        });
        Ok(stream)
    }
}

/// The row of an event that cqrs-es wrote; its metadata name it.
fn new_event(event: &SerializedEvent) -> Result<NewEvent, PersistenceError> {
    let metadata = event.metadata.to_string();
    let unnamed = |error: String| PersistenceError::UnknownError(error.into());
    let parsed = serde_json::from_value(event.metadata.clone()).map_err(|error| unnamed(error.to_string()))?;
    let parsed = EventMetadata::from_map(&parsed).map_err(|error| unnamed(error.to_string()))?;
    Ok(NewEvent {
        aggregate_type: event.aggregate_type.clone(),
        aggregate_id: event.aggregate_id.clone(),
        sequence: i64::try_from(event.sequence).unwrap_or(i64::MAX),
        event_type: event.event_type.clone(),
        event_version: event.event_version.clone(),
        payload: event.payload.to_string(),
        metadata,
        event_id: parsed.event_id,
    })
}

fn not_appended(error: AppendError) -> PersistenceError {
    match error {
        AppendError::Conflict => PersistenceError::OptimisticLockError,
        AppendError::Busy | AppendError::Unavailable(_) => PersistenceError::ConnectionError(Box::new(error)),
        AppendError::Refused(_) => PersistenceError::UnknownError(Box::new(error)),
    }
}

/// The crates call a pool without a connection and a server that shuts down unknown errors.
fn told_apart(error: PersistenceError) -> PersistenceError {
    match error {
        PersistenceError::ConnectionError(error) | PersistenceError::UnknownError(error) => {
            match error.downcast::<sqlx::Error>() {
                Ok(error) => not_read(DbError::from(*error)),
                Err(error) => PersistenceError::UnknownError(error),
            }
        }
        error => error,
    }
}

fn not_read(error: DbError) -> PersistenceError {
    if error.is_unavailable() {
        PersistenceError::ConnectionError(Box::new(error))
    } else {
        PersistenceError::UnknownError(Box::new(error))
    }
}

fn damaged(reason: String) -> PersistenceError {
    PersistenceError::DeserializationError(reason.into())
}
