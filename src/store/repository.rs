//! Joins cqrs-es to the log: how streams are read. The reads are our own: those of postgres-es and sqlite-es do not ask
//! whether an event was decided, and postgres-es waits for ever on a connection that has died unseen. Appends go their own
//! way, through the group commit.

use cqrs_es::Aggregate;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot};
use grantlog_domain::Event;
use grantlog_projections::db::{DbError, Row};
use grantlog_projections::log::Log;
use grantlog_projections::mac::Content;
use serde_json::Value;

/// How streams are read.
#[derive(Clone)]
pub(super) struct Reads(pub(super) Log);

const EVENTS_OF: &str = "SELECT sequence, event_type, event_version, CAST(payload AS text), CAST(metadata AS text), mac \
     FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence";

impl Reads {
    async fn read<A: Aggregate>(&self, aggregate_id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let rows = self.0.fetch(EVENTS_OF, &[A::TYPE.into(), aggregate_id.into()]).await.map_err(not_read)?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push(self.event(A::TYPE, aggregate_id, row).await?);
        }
        Ok(events)
    }

    /// Refuses an event that nobody decided: nothing is decided on such a stream.
    async fn event(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        row: &Row,
    ) -> Result<SerializedEvent, PersistenceError> {
        let content = content(aggregate_type, aggregate_id, row).map_err(|error| damaged(error.to_string()))?;
        self.0.keys().map_err(not_read)?;
        let mac = row.opt_str(5).map_err(|error| damaged(error.to_string()))?;
        if let Err(mut fault) = self.0.verify(&content, mac) {
            self.0.settle(&mut fault).await.map_err(not_read)?;
            let event = format!("event {} ({})", content.sequence, content.event_type);
            return Err(if fault.stops() {
                PersistenceError::UnknownError(Box::new(DbError::Malformed(format!("{event}: {fault}"))))
            } else {
                tracing::error!(aggregate_type, aggregate_id, sequence = content.sequence, %fault, "a damaged stream");
                damaged(format!("{event}: {fault}"))
            });
        }
        if !Event::may_stand_at(content.event_type, content.sequence) {
            return Err(damaged(format!("a {} begins it anew", content.event_type)));
        }
        let json = |text| serde_json::from_str(text).map_err(|error: serde_json::Error| damaged(error.to_string()));
        Ok(SerializedEvent {
            aggregate_id: aggregate_id.to_owned(),
            sequence: usize::try_from(content.sequence).unwrap_or_default(),
            aggregate_type: aggregate_type.to_owned(),
            event_type: content.event_type.to_owned(),
            event_version: content.event_version.to_owned(),
            payload: json(content.payload)?,
            metadata: json(content.metadata)?,
        })
    }
}

fn content<'a>(aggregate_type: &'a str, aggregate_id: &'a str, row: &'a Row) -> Result<Content<'a>, DbError> {
    Ok(Content {
        aggregate_type,
        aggregate_id,
        sequence: row.int(0)?,
        event_type: row.str(1)?,
        event_version: row.str(2)?,
        payload: row.str(3)?,
        metadata: row.str(4)?,
    })
}

fn not_read(error: DbError) -> PersistenceError {
    if error.is_unavailable() {
        PersistenceError::ConnectionError(Box::new(error))
    } else {
        PersistenceError::UnknownError(Box::new(error))
    }
}

impl PersistedEventRepository for Reads {
    async fn get_events<A: Aggregate>(&self, aggregate_id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let events = self.read::<A>(aggregate_id).await?;
        // An event that does not follow its stream is damage, never something to fold.
        match events.iter().zip(1..).all(|(event, expected)| event.sequence == expected) {
            true => Ok(events),
            false => Err(damaged("its events do not follow each other".to_owned())),
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

fn damaged(reason: String) -> PersistenceError {
    PersistenceError::DeserializationError(reason.into())
}

fn unsupported(what: &'static str) -> PersistenceError {
    PersistenceError::UnknownError(format!("not supported: {what}").into())
}
