//! What a table projection is: rows folded from events, and nothing else.
//!
//! `fold` is pure: no clock, no database, no randomness. The same log gives the same rows, byte for byte.

use grantlog_domain::Recorded;

use crate::db::{DbError, Row, Value};

/// A column. Times are Unix seconds unless the column says otherwise; flags are 0 and 1.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int,
}

impl Column {
    #[must_use]
    pub const fn text(name: &'static str) -> Self {
        Self { name, kind: Kind::Text, nullable: false }
    }

    #[must_use]
    pub const fn int(name: &'static str) -> Self {
        Self { name, kind: Kind::Int, nullable: false }
    }

    #[must_use]
    pub const fn or_null(self) -> Self {
        Self { nullable: true, ..self }
    }
}

/// An event that does not fit what its table holds. It quarantines its aggregate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FoldError(pub String);

/// A table projection.
///
/// Its rows come in groups: all that one event can touch. For most tables a group is one aggregate and at most one row.
pub trait Table: Send + Sync + 'static {
    /// Stable for ever.
    const NAME: &'static str;
    /// Changes whenever the same events would give other rows; the new version is then built beside the old one.
    const VERSION: i64;
    /// The aggregates whose events it reads.
    const AGGREGATES: &'static [&'static str];
    /// The first column names the group. One is called `sequence`: that of the last event that changed the row.
    const COLUMNS: &'static [Column];
    /// How many of the first columns are the primary key.
    const KEY: usize;
    /// Order of the rows within a group.
    const ORDER: &'static str;
    /// Columns of further indexes.
    const INDEXES: &'static [&'static str];
    /// The column that says until when a row is of use; rows leave some time later.
    const EXPIRES: Option<&'static str>;

    type Row: Clone + PartialEq + Send + Sync;

    /// The group that an event belongs to; `None` when it is not for this table.
    fn group(event: &Recorded) -> Option<String>;

    /// Whether the group cannot have rows before this event.
    fn opens(event: &Recorded) -> bool {
        event.sequence == 1
    }

    /// Changes the rows of the event's group. An event that was seen before changes nothing.
    fn fold(rows: &mut Vec<Self::Row>, event: &Recorded) -> Result<(), FoldError>;

    fn read(row: &Row) -> Result<Self::Row, DbError>;

    /// In the order of `COLUMNS`.
    fn write(row: &Self::Row) -> Vec<Value>;
}

/// For tables with one row an aggregate: whether the event is new to the row, in its place. Rows that have left are not
/// missed.
pub(crate) fn follows(sequence: i64, event: &Recorded) -> Result<bool, FoldError> {
    match event.sequence - sequence {
        ..=0 => Ok(false),
        1 => Ok(true),
        _ => Err(FoldError(format!("event {} follows {sequence}", event.sequence))),
    }
}

/// A stored value in JSON.
pub(crate) fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|error| DbError::Malformed(error.to_string()))
}
