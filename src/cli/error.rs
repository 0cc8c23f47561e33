//! Why a command failed, and its exit code.

use std::error::Error;
use std::process::ExitCode;

use grantlog_projections::db::DbError;

use crate::config::ConfigError;
use crate::store::vault::VaultError;
use crate::store::{EndingError, ExecuteError, StoreError};

/// The text is for people; it holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Unavailable(String),
    /// Whoever read our output has stopped reading.
    #[error("the reader of the output has gone")]
    ReaderGone,
}

impl CliError {
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            CliError::Failed(_) | CliError::ReaderGone => 1,
            CliError::Usage(_) => 2,
            CliError::NotFound(_) => 3,
            CliError::Refused(_) => 4,
            CliError::Unavailable(_) => 5,
        })
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        CliError::Usage(error.to_string())
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Open { .. } | StoreError::BeingMigrated => CliError::Unavailable(text),
            StoreError::Database(error) => error.into(),
            StoreError::NewerSchema { .. }
            | StoreError::ChangedMigration { .. }
            | StoreError::OlderSchema { .. }
            | StoreError::Migration { .. }
            | StoreError::ForeignLog { .. }
            | StoreError::Unattested
            | StoreError::CodesLost
            | StoreError::Secrets(_)
            | StoreError::Damaged { .. } => CliError::Failed(text),
        }
    }
}

impl From<DbError> for CliError {
    fn from(error: DbError) -> Self {
        let text = error.to_string();
        match error {
            // SQLite waits for as long as the setting says before it gives up.
            DbError::Unavailable(_) if text.contains("database is locked") => CliError::Unavailable(
                "the SQLite file is locked by another process that writes to it for long; try again".into(),
            ),
            DbError::Unavailable(_) | DbError::TimedOut => CliError::Unavailable(text),
            DbError::NotOurs(_) => CliError::Refused(text),
            DbError::Conflict(_) | DbError::Data(_) | DbError::Malformed(_) => CliError::Failed(text),
        }
    }
}

impl From<EndingError> for CliError {
    fn from(error: EndingError) -> Self {
        match error {
            EndingError::Database(error) => error.into(),
            EndingError::Grant(_, error) => error.into(),
            EndingError::Session(_, error) => error.into(),
            EndingError::Newer { .. } => CliError::Failed(error.to_string()),
        }
    }
}

impl From<VaultError> for CliError {
    fn from(error: VaultError) -> Self {
        let text = error.to_string();
        match error {
            VaultError::UsernameTaken | VaultError::Username | VaultError::Password(_) => CliError::Refused(text),
            VaultError::Database(error) => error.into(),
            VaultError::Damaged { .. } | VaultError::KeyGeneration => CliError::Failed(text),
        }
    }
}

impl<E: Error> From<ExecuteError<E>> for CliError {
    fn from(error: ExecuteError<E>) -> Self {
        let text = error.to_string();
        match error {
            ExecuteError::Refused(_) => CliError::Refused(text),
            ExecuteError::Conflict | ExecuteError::Damaged(_) | ExecuteError::Fault(_) => CliError::Failed(text),
            ExecuteError::Busy | ExecuteError::Unavailable(_) => CliError::Unavailable(text),
        }
    }
}
