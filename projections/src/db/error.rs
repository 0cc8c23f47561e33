//! What a failed statement means for the caller: try again, somebody else was first, or never.

/// A statement that failed. The three kinds call for three reactions; the texts are for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database is down, busy, full, read-only or starting: the same statement may succeed later.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The database did not answer in time. Whether a change took place is not known.
    #[error("the database did not answer in time")]
    TimedOut,
    /// A unique constraint refused the row: somebody else was first.
    #[error("the row exists already: {0}")]
    Conflict(#[source] sqlx::Error),
    /// The statement or its data is wrong: it will fail again.
    #[error("the database refused a statement: {0}")]
    Data(#[source] sqlx::Error),
    /// A stored row is not what this binary wrote.
    #[error("a stored row is malformed: {0}")]
    Malformed(String),
    /// Not for this role to touch; the text says whose it is and what to do.
    #[error("{0}")]
    NotOurs(String),
}

impl DbError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut)
    }

    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// Whether a value is at fault, rather than the statement or the state of the database.
    #[must_use]
    pub fn blames_the_data(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::TimedOut | Self::NotOurs(_) => false,
            Self::Malformed(_) | Self::Conflict(_) => true,
            Self::Data(error) => {
                let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
                // PostgreSQL: data exceptions and constraints. SQLite: TOOBIG, CONSTRAINT, MISMATCH.
                code.starts_with("22") && code.len() == 5
                    || code.starts_with("23") && code.len() == 5
                    || code.parse().is_ok_and(|code: i32| matches!(code & 0xff, 18..=20) && code < 10_000)
            }
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Io(_)
            | E::Tls(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed
            | E::Protocol(_)
            | E::BeginFailed => Self::Unavailable(error),
            E::Database(database) => match kind(database.as_ref()) {
                Kind::Unavailable => Self::Unavailable(error),
                Kind::Conflict => Self::Conflict(error),
                Kind::Data => Self::Data(error),
            },
            _ => Self::Data(error),
        }
    }
}

/// Of the connections that step through many rows; see `scan.rs`.
impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => sqlite_kind(failure.extended_code),
            _ => Kind::Data,
        };
        let error = sqlx::Error::AnyDriverError(Box::new(error));
        match kind {
            Kind::Unavailable => Self::Unavailable(error),
            Kind::Conflict => Self::Conflict(error),
            Kind::Data => Self::Data(error),
        }
    }
}

enum Kind {
    Unavailable,
    Conflict,
    Data,
}

fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        postgres_kind(&code)
    } else {
        sqlite_kind(code.parse().unwrap_or(0))
    }
}

/// By SQLSTATE class (PostgreSQL documentation, appendix A).
fn postgres_kind(state: &str) -> Kind {
    match state {
        "23505" => Kind::Conflict,
        // Read-only (a standby, or an operator's switch), lock not available, cancelled by a timeout.
        "25006" | "55P03" | "57014" => Kind::Unavailable,
        _ => match state.get(..2) {
            // Connection; rollback (serialization, deadlock); resources; operator intervention; system error.
            Some("08" | "40" | "53" | "57" | "58") => Kind::Unavailable,
            // Idle transaction ended by the server.
            Some("25") => Kind::Unavailable,
            _ => Kind::Data,
        },
    }
}

/// By extended result code; the low byte is the primary code.
const fn sqlite_kind(code: i32) -> Kind {
    match code {
        // PRIMARYKEY, UNIQUE, ROWID
        1555 | 2067 | 2579 => Kind::Conflict,
        _ => match code & 0xff {
            // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL
            5 | 6 | 7 | 8 | 9 | 10 | 13 | 14 | 15 => Kind::Unavailable,
            _ => Kind::Data,
        },
    }
}
