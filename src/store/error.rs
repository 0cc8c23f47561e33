//! What can go wrong with the store: at start, while appending, while executing a command.

use grantlog_projections::db::DbError;

use crate::secrets::SecretsError;

/// The store cannot be opened, brought up to date or read. The texts are for the operator and hold no password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `reason` says what to do about it.
    #[error("cannot open {database}: {reason}")]
    Open { database: String, reason: String },
    #[error(
        "the database was last used by a newer Grantlog (its schema has version {found}, this one knows up to {known}): \
         use that Grantlog or a newer one"
    )]
    NewerSchema { found: i64, known: i64 },
    #[error("migration {version} of this database is not the one that this Grantlog has: it was made by another build")]
    ChangedMigration { version: i64 },
    #[error(
        "the database lacks {missing} of {of} migrations: run `grantlog migrate` (`grantlog serve` does the same at its \
         start), as the role that owns the tables"
    )]
    OlderSchema { missing: usize, of: usize },
    #[error(
        "another process has been bringing this database up to date for ten minutes; run this again when it has ended"
    )]
    BeingMigrated,
    #[error("migration {version} failed: {reason}")]
    Migration { version: i64, reason: String },
    #[error(
        "this log was restored into another PostgreSQL cluster (from {recorded} to {actual}), whose transaction ids begin \
         anew; new events would be sorted before old ones. Stop every Grantlog, then: grantlog migrate --rebase"
    )]
    ForeignLog { recorded: i64, actual: i64 },
    #[error(
        "the events that are in this database from before have no codes yet (docs/upgrading.md): stop every Grantlog, then, \
         as the owner of the tables and with the pepper file of the server: grantlog migrate"
    )]
    Unattested,
    #[error(
        "this database says that its events have no codes yet, but it was used by a Grantlog that gives each its own: \
         somebody has changed it. Restore a backup"
    )]
    CodesLost,
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Database(#[from] DbError),
    /// A stored event that cannot follow its stream, or cannot be read.
    #[error("the stream {aggregate_type} {aggregate_id} is damaged: {reason}")]
    Damaged { aggregate_type: &'static str, aggregate_id: String, reason: String },
}

/// An append that did not take place, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended to the stream first.
    #[error("another event has this place in the stream")]
    Conflict,
    /// The queue is full: try later.
    #[error("too many appends are waiting")]
    Busy,
    /// The database is away, read-only, full or slow, or this process is stopping. When the connection was lost while
    /// committing and did not come back in time, the append may have taken place.
    #[error("the event log is not available: {0}")]
    Unavailable(String),
    /// The database refused these very events; it will refuse them again.
    #[error("the event log refused an event: {0}")]
    Refused(String),
}

/// A command that was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<E: std::error::Error> {
    /// The aggregate's rules refused it.
    #[error("{0}")]
    Refused(E),
    /// Somebody else was first, again and again, or the new aggregate exists already.
    #[error("somebody else changed it at the same time")]
    Conflict,
    /// Too much is waiting (503).
    #[error("too many appends are waiting")]
    Busy,
    /// The database is not available (503). The command may or may not have taken effect.
    #[error("the event log is not available: {0}")]
    Unavailable(String),
    /// Its events cannot be read, or make no sense: nothing is decided on it any more. For the log, not for a client.
    #[error("a damaged stream: {0}")]
    Damaged(String),
    /// Anything else; for the log, not for a client.
    #[error("{0}")]
    Fault(String),
}
