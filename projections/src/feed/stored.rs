//! A row of the log, and the event in it if this binary can read it.

use std::borrow::Cow;

use grantlog_domain::{Actor, DecodeError, Event, EventMetadata, Recorded};
use serde::Deserialize;
use uuid::Uuid;

use super::Cursor;
use crate::db::{DbError, Fields, Row};
use crate::log::Keys;
use crate::mac::Content;

/// Why a row is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A newer binary wrote it: stop here, skip nothing.
    #[error("this version does not know the event type {0}")]
    UnknownType(String),
    /// It is damaged: its aggregate is quarantined.
    #[error("{0}")]
    Undecodable(String),
    /// Nobody decided it: its code is missing or wrong. The same follows.
    #[error("it was not decided: somebody wrote it into the database")]
    Forged,
    /// Its code is under a key that is not here. As an unknown type, once the log says that there is such a key; see
    /// [`crate::log::Log::settle`].
    #[error("this node does not have pepper {0}")]
    UnknownKey(u16),
}

impl Fault {
    /// Whether a reader has to stop here; any other fault ends one aggregate.
    #[must_use]
    pub const fn stops(&self) -> bool {
        matches!(self, Self::UnknownType(_) | Self::UnknownKey(_))
    }
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
    pub(super) fn read(row: &Row, keys: &Keys) -> Result<Self, DbError> {
        let entry = Entry {
            aggregate_type: row.str(0)?,
            aggregate_id: row.str(1)?,
            sequence: row.int(2)?,
            cursor: Cursor { txid: row.int(7)?, position: row.int(8)? },
            recorded_at: row.int(9)?,
            content: content([row.str(3), row.str(4), row.str(5), row.str(6)]),
            mac: row.opt_str(10).unwrap_or_default(),
            keys,
        };
        Ok(entry.stored())
    }
}

impl From<Recorded> for Stored {
    fn from(recorded: Recorded) -> Self {
        Self {
            aggregate_type: recorded.event.aggregate_type().to_owned(),
            aggregate_id: recorded.aggregate_id.clone(),
            sequence: recorded.sequence,
            cursor: Cursor { txid: recorded.txid, position: recorded.position },
            recorded_at: recorded.recorded_at,
            event: Ok(recorded),
        }
    }
}

/// A row of the log as it was read in bulk: nothing of it is copied or decoded.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) aggregate_type: &'a str,
    pub(crate) aggregate_id: &'a str,
    pub(crate) sequence: i64,
    pub(crate) cursor: Cursor,
    /// Unix milliseconds.
    pub(crate) recorded_at: i64,
    /// Event type, its version, payload, metadata.
    content: Result<[&'a str; 4], Fault>,
    mac: Option<&'a str>,
    keys: &'a Keys,
}

impl<'a> Entry<'a> {
    /// Reads the columns of `POSTGRES_BULK` or `SQLITE_COLUMNS`.
    pub(super) fn read(mut row: Fields<'a>, postgres: bool, keys: &'a Keys) -> Result<Self, DbError> {
        let (aggregate_type, aggregate_id, sequence) = (row.str()?, row.str()?, row.int()?);
        let content = content([row.str(), row.str(), row.str(), row.str()]);
        let cursor = Cursor { txid: row.int()?, position: row.int()? };
        let recorded_at = if postgres { milliseconds(row.int()?) } else { row.int()? };
        let mac = row.opt_str().unwrap_or_default();
        Ok(Self { aggregate_type, aggregate_id, sequence, cursor, recorded_at, content, mac, keys })
    }

    /// What it says, if it was decided: nothing is made of what was not, not even whether it can be read.
    fn decided(&self) -> Result<[&'a str; 4], Fault> {
        let content = self.content.clone()?;
        let [event_type, event_version, payload, metadata] = content;
        let Self { aggregate_type, aggregate_id, sequence, .. } = *self;
        let signed = Content { aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata };
        self.keys.verify(&signed, self.mac).map(|()| content)
    }

    /// The event alone. Refuses what [`Self::stored`] refuses: also metadata that cannot be read.
    pub(crate) fn event(&self) -> Result<Event, Fault> {
        let [event_type, version, payload, metadata] = self.decided()?;
        let event = decode(self.aggregate_type, self.sequence, [event_type, version, payload])?;
        Metadata::read(metadata)?;
        Ok(event)
    }

    /// Refuses a type that this version does not know, and does not look at the rest if it can.
    pub(crate) fn known(&self) -> Result<(), Fault> {
        match self.content {
            Ok([event_type, version, ..]) if Event::is_current(event_type, version) => Ok(()),
            // What is damaged, or was not decided, is for the fold to hold back. So is a key that may be unknown for now.
            _ => match self.event() {
                Err(unknown @ Fault::UnknownType(_)) => Err(unknown),
                _ => Ok(()),
            },
        }
    }

    pub(crate) fn stored(self) -> Stored {
        let Self { aggregate_type, aggregate_id, sequence, cursor, recorded_at, .. } = self;
        let event = self.decided().and_then(|[event_type, version, payload, metadata]| {
            Ok(Recorded {
                aggregate_id: aggregate_id.to_owned(),
                sequence,
                event: decode(aggregate_type, sequence, [event_type, version, payload])?,
                metadata: Metadata::read(metadata)?.into_owned(),
                txid: cursor.txid,
                position: cursor.position,
                recorded_at,
            })
        });
        Stored {
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
            sequence,
            cursor,
            recorded_at,
            event,
        }
    }
}

/// A text that cannot be read is the fault of its event alone.
fn content(texts: [Result<&str, DbError>; 4]) -> Result<[&str; 4], Fault> {
    let mut content = [""; 4];
    for (text, content) in texts.into_iter().zip(&mut content) {
        *content = text.map_err(|error| Fault::Undecodable(error.to_string()))?;
    }
    Ok(content)
}

/// PostgreSQL's own form of a time, microseconds since 2000-01-01, in Unix milliseconds; rounded as `::bigint` does.
const fn milliseconds(microseconds: i64) -> i64 {
    const FROM_1970: i64 = 946_684_800_000;
    FROM_1970.saturating_add(microseconds.saturating_add(500).div_euclid(1000))
}

fn decode(aggregate_type: &str, sequence: i64, texts: [&str; 3]) -> Result<Event, Fault> {
    let [event_type, version, payload] = texts;
    if !Event::may_stand_at(event_type, sequence) {
        return Err(Fault::Undecodable(format!("a {event_type} begins a stream that has begun")));
    }
    Event::decode(aggregate_type, event_type, version, payload).map_err(|error| match error {
        DecodeError::UnknownType(name) => Fault::UnknownType(name),
        undecodable @ DecodeError::Undecodable { .. } => Fault::Undecodable(undecodable.to_string()),
    })
}

/// The fields of `EventMetadata::to_map`, read without the map: this runs once for each event of a replay.
#[derive(Deserialize)]
struct Fetched<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(default, borrow)]
    request_id: Option<Text<'a>>,
    #[serde(default, borrow)]
    correlation: Option<Text<'a>>,
    #[serde(default, borrow)]
    source_address: Option<Text<'a>>,
}

/// serde borrows a bare `Cow`, but not one in an `Option`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Metadata<'a> {
    event_id: Uuid,
    actor: Actor,
    rest: [Option<Text<'a>>; 3],
}

impl<'a> Metadata<'a> {
    fn read(text: &'a str) -> Result<Self, Fault> {
        let bad = |what: &str| Fault::Undecodable(format!("event metadata: {what}"));
        let fetched: Fetched<'a> = serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?;
        Ok(Self {
            event_id: Uuid::try_parse(&fetched.event_id).map_err(|_| bad("event_id is malformed"))?,
            actor: fetched.actor.parse().map_err(|_| bad("actor is malformed"))?,
            rest: [fetched.request_id, fetched.correlation, fetched.source_address],
        })
    }

    fn into_owned(self) -> EventMetadata {
        let [request_id, correlation, source_address] = self.rest.map(|text| text.map(|text| text.0.into_owned()));
        EventMetadata { event_id: self.event_id, actor: self.actor, request_id, correlation, source_address }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_as_the_database_does_it() {
        assert_eq!(milliseconds(0), 946_684_800_000);
        assert_eq!(milliseconds(1_499), 946_684_800_001);
        assert_eq!(milliseconds(1_500), 946_684_800_002);
    }
}
