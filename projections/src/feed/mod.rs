//! Reading the event log in order: from where one stopped, without missing an event that commits late.
//!
//! [`ordered`] gives one total order, the same for every reader; table projections, audit and export use it.
//! [`eager`] gives events as soon as they are visible, in an order that only holds within one aggregate; live models use
//! it, because a foreign transaction left open does not delay it. [`ahead`] looks at what the ordered feed may not show yet.

pub mod ahead;
mod appended;
pub mod eager;
pub mod ordered;
pub(crate) mod pages;
mod stored;
pub mod stream;
#[cfg(test)]
mod tests;
mod wake;

pub use appended::Appended;
pub(crate) use stored::Entry;
pub use stored::{Fault, Stored};
pub use wake::Wake;

use crate::db::{DbError, Row};
use crate::log::Log;

/// How far a reader of the ordered feed has come; everything up to and including it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// 0 on SQLite.
    pub txid: i64,
    pub position: i64,
}

impl Cursor {
    /// Before the first event.
    pub const START: Self = Self { txid: 0, position: 0 };
}

/// The channel on which appends are announced (PostgreSQL). The announcement carries nothing: it only wakes.
pub const CHANNEL: &str = "grantlog_events";

/// Columns of an event, in the order in which [`Stored`] reads them.
pub(crate) const POSTGRES_COLUMNS: &str = "aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text, \
     metadata::text, txid, position, (extract(epoch FROM recorded_at) * 1000)::bigint, mac";
const SQLITE_COLUMNS: &str = "aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
     txid, position, recorded_at, mac";
/// The same, as they are read in bulk: what the server would have to work for is left as it is.
const POSTGRES_BULK: &str = "aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, txid, position, recorded_at, mac";

/// Reads rows of `POSTGRES_COLUMNS` or `SQLITE_COLUMNS`.
async fn stored(log: &Log, rows: &[Row]) -> Result<Vec<Stored>, DbError> {
    let keys = log.shared_keys()?;
    let events = rows.iter().map(|row| Stored::read(row, &keys)).collect::<Result<_, _>>()?;
    log.settle_all(events).await
}
