//! Why archiving ended.

use std::path::PathBuf;

use grantlog_projections::db::DbError;

use crate::store::error::StoreError;

/// The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(
        "archiving needs PostgreSQL: its log is partitioned. In SQLite nothing leaves the log, because its triggers let \
         nobody delete; back the whole file up instead"
    )]
    NeedsPostgres,
    #[error(
        "archiving changes the partitions of the events: give the URL of the role that owns them, or of a member of it"
    )]
    NotOwner,
    #[error("somebody else is archiving or making partitions")]
    Busy,
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{0} exists and is not an earlier attempt at this partition: move it away, or name another folder")]
    FileExists(PathBuf),
    /// Nothing was detached.
    #[error("{0} does not hold what the log holds: {1}")]
    Differs(PathBuf, String),
    /// Nothing was detached.
    #[error("{0} changed while it was archived")]
    Changed(String),
    /// Nothing was detached.
    #[error(
        "somebody reads the log for long, such as a backup: the files are written, nothing has left the log; run this again"
    )]
    InUse,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DbError> for ArchiveError {
    fn from(error: DbError) -> Self {
        Self::Store(error.into())
    }
}

impl From<sqlx::Error> for ArchiveError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(StoreError::Database(error.into()))
    }
}
