//! A row of the log, and the event in it if this binary can read it.

use std::borrow::Cow;

use grantlog_domain::{DecodeError, Event, EventMetadata, Recorded};
use serde::Deserialize;
use uuid::Uuid;

use super::Cursor;
use crate::db::{DbError, Row};

/// Why a row is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A newer binary wrote it: stop here, skip nothing.
    #[error("this version does not know the event type {0}")]
    UnknownType(String),
    /// It is damaged: its aggregate is quarantined.
    #[error("{0}")]
    Undecodable(String),
}

/// A row of the log. Its place is known even when its content cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub sequence: i64,
    pub cursor: Cursor,
    /// Unix milliseconds.
    pub recorded_at: i64,
    pub event: Result<Recorded, Fault>,
}

impl Stored {
    /// Reads the columns of `POSTGRES_COLUMNS` or `SQLITE_COLUMNS`.
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        let aggregate_type = row.str(0)?;
        let aggregate_id = row.str(1)?;
        let sequence = row.int(2)?;
        let cursor = Cursor { txid: row.int(7)?, position: row.int(8)? };
        let recorded_at = row.int(9)?;
        let event = decode(row, aggregate_type).map(|(event, metadata)| Recorded {
            aggregate_id: aggregate_id.to_owned(),
            sequence,
            event,
            metadata,
            txid: cursor.txid,
            position: cursor.position,
            recorded_at,
        });
        Ok(Self {
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
            sequence,
            cursor,
            recorded_at,
            event,
        })
    }
}

fn decode(row: &Row, aggregate_type: &str) -> Result<(Event, EventMetadata), Fault> {
    let text = |index| row.str(index).map_err(|error| Fault::Undecodable(error.to_string()));
    let event = Event::decode(aggregate_type, text(3)?, text(4)?, text(5)?).map_err(|error| match error {
        DecodeError::UnknownType(name) => Fault::UnknownType(name),
        undecodable @ DecodeError::Undecodable { .. } => Fault::Undecodable(undecodable.to_string()),
    })?;
    Ok((event, metadata(text(6)?)?))
}

/// The fields of `EventMetadata::to_map`, read without the map: this runs once for each event of a replay.
#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    correlation: Option<String>,
    #[serde(default)]
    source_address: Option<String>,
}

fn metadata(text: &str) -> Result<EventMetadata, Fault> {
    let bad = |what: &str| Fault::Undecodable(format!("event metadata: {what}"));
    let metadata: Metadata<'_> = serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?;
    Ok(EventMetadata {
        event_id: Uuid::try_parse(&metadata.event_id).map_err(|_| bad("event_id is malformed"))?,
        actor: metadata.actor.parse().map_err(|_| bad("actor is malformed"))?,
        request_id: metadata.request_id,
        correlation: metadata.correlation,
        source_address: metadata.source_address,
    })
}
