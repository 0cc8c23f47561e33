//! Joins cqrs-es to the log: how streams are read. SQLite's reads are those of sqlite-es; those of postgres-es wait for
//! ever on a connection that has died unseen, so PostgreSQL's are our own. Appends go their own way, through the group
//! commit.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use cqrs_es::Aggregate;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot};
use futures::FutureExt as _;
use grantlog_projections::db::{Db, DbError, Row};
use serde_json::Value;
use sqlite_es::SqliteEventRepository;

/// How streams are read.
#[derive(Clone)]
pub(super) enum Reads {
    Postgres(Db),
    Sqlite(Arc<SqliteEventRepository>),
}

impl Reads {
    pub(super) fn of(db: &Db) -> Self {
        match db {
            Db::Postgres(_) => Self::Postgres(db.clone()),
            Db::Sqlite { read, .. } => Self::Sqlite(Arc::new(SqliteEventRepository::new(read.clone()))),
        }
    }

    async fn read<A: Aggregate>(&self, aggregate_id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let read = async {
            match self {
                Self::Postgres(db) => get_events::<A>(db, aggregate_id).await,
                Self::Sqlite(repository) => repository.get_events::<A>(aggregate_id).await,
            }
        };
        // sqlite-es panics on a column that does not decode; a damaged row must end this command, not more.
        AssertUnwindSafe(read).catch_unwind().await.unwrap_or_else(|_| Err(damaged("a row cannot be decoded")))
    }
}

const EVENTS_OF: &str = "SELECT sequence, event_type, event_version, payload::text, metadata::text FROM events \
     WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence";

async fn get_events<A: Aggregate>(db: &Db, aggregate_id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
    let rows = db.fetch(EVENTS_OF, &[A::TYPE.into(), aggregate_id.into()]).await.map_err(|error| {
        if error.is_unavailable() {
            PersistenceError::ConnectionError(Box::new(error))
        } else {
            PersistenceError::UnknownError(Box::new(error))
        }
    })?;
    let event = |row: &Row| {
        let json = |index| serde_json::from_str(row.str(index)?).map_err(|error| DbError::Malformed(error.to_string()));
        Ok(SerializedEvent {
            aggregate_id: aggregate_id.to_owned(),
            sequence: usize::try_from(row.int(0)?).unwrap_or_default(),
            aggregate_type: A::TYPE.to_owned(),
            event_type: row.text(1)?,
            event_version: row.text(2)?,
            payload: json(3)?,
            metadata: json(4)?,
        })
    };
    let events: Result<_, DbError> = rows.iter().map(event).collect();
    events.map_err(|error| PersistenceError::DeserializationError(Box::new(error)))
}

impl PersistedEventRepository for Reads {
    async fn get_events<A: Aggregate>(&self, aggregate_id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let events = self.read::<A>(aggregate_id).await?;
        // An event that does not follow its stream is damage, never something to fold.
        match events.iter().zip(1..).all(|(event, expected)| event.sequence == expected) {
            true => Ok(events),
            false => Err(damaged("its events do not follow each other")),
        }
    }

    async fn persist<A: Aggregate>(
        &self,
        _: &[SerializedEvent],
        _: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        Err(unsupported("appending past the group commit"))
    }

    async fn get_last_events<A: Aggregate>(&self, _: &str, _: usize) -> Result<Vec<SerializedEvent>, PersistenceError> {
        Err(unsupported("reading from a snapshot on"))
    }

    async fn get_snapshot<A: Aggregate>(&self, _: &str) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Err(unsupported("snapshots"))
    }

    async fn stream_events<A: Aggregate>(&self, _: &str) -> Result<ReplayStream, PersistenceError> {
        Err(unsupported("streams that end early without an error"))
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        Err(unsupported("streams that end early without an error"))
    }
}

fn damaged(reason: &'static str) -> PersistenceError {
    PersistenceError::DeserializationError(reason.into())
}

fn unsupported(what: &'static str) -> PersistenceError {
    PersistenceError::UnknownError(format!("not supported: {what}").into())
}
