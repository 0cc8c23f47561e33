//! Opening the database: pools, sessions, and clear words when it does not work.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use grantlog_projections::db::Db;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::error::StoreError;
use super::options::StoreOptions;
use crate::config::{DatabaseKind, DatabaseUrl};

/// The oldest PostgreSQL that is tested, as `server_version_num`.
const POSTGRES_OLDEST: i32 = 150_000;
/// A pooled connection that was idle for longer is asked for a sign of life before it is used.
const IDLE_UNTRUSTED: Duration = Duration::from_secs(1);

pub(super) async fn open(url: &DatabaseUrl, options: &StoreOptions) -> Result<Db, StoreError> {
    match url.kind() {
        DatabaseKind::Postgres => open_postgres(url, options).await,
        DatabaseKind::Sqlite(file) => open_sqlite(url, file, options).await,
    }
}

/// How the lanes and the pool connect to PostgreSQL. TLS as the URL's `sslmode` says.
pub(super) fn postgres_options(url: &DatabaseUrl) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url.expose()).map_err(|error| failed(url, &error))?;
    Ok(options.application_name("grantlog").disable_statement_logging())
}

/// Bounds every statement, wait for a lock and forgotten transaction of this session, and makes a commit mean that the
/// data is on disk, whatever the server's default is.
pub(super) async fn prepare_session(
    connection: &mut PgConnection,
    statement_timeout: Duration,
) -> Result<(), sqlx::Error> {
    let millis = statement_timeout.as_millis();
    let sql = format!(
        "SET statement_timeout = {millis}; SET lock_timeout = {millis}; \
         SET idle_in_transaction_session_timeout = {millis}; SET client_min_messages = warning; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    );
    connection.execute(sql.as_str()).await?;
    Ok(())
}

async fn open_postgres(url: &DatabaseUrl, options: &StoreOptions) -> Result<Db, StoreError> {
    let statement_timeout = options.statement_timeout;
    let pool = PgPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(options.connect_timeout)
        // A ping on each use costs a round trip; only a connection that rested may have died unseen.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > IDLE_UNTRUSTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| Box::pin(prepare_session(connection, statement_timeout)))
        .connect_with(postgres_options(url)?)
        .await
        .map_err(|error| failed(url, &error))?;
    let version: String = sqlx::query_scalar("SELECT current_setting('server_version_num')")
        .fetch_one(&pool)
        .await
        .map_err(|error| failed(url, &error))?;
    if version.parse().is_ok_and(|version: i32| version < POSTGRES_OLDEST) {
        let reason = format!("PostgreSQL 15 or newer is needed, this is {version}");
        return Err(StoreError::Open { database: url.to_string(), reason });
    }
    Ok(Db::Postgres(pool))
}

async fn open_sqlite(url: &DatabaseUrl, file: &Path, options: &StoreOptions) -> Result<Db, StoreError> {
    if options.create {
        create_private(file).map_err(|error| StoreError::Open {
            database: url.to_string(),
            reason: format!("the file cannot be made: {error}"),
        })?;
    }
    let connect = SqliteConnectOptions::new()
        .filename(file)
        .foreign_keys(true)
        .busy_timeout(options.connect_timeout)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    // Connections never go away: the last one to close would tear the WAL down under the others' feet.
    let pool = |size| {
        SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(size)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(options.connect_timeout)
    };
    let write = pool(1).connect_with(connect.clone()).await.map_err(|error| failed(url, &error))?;
    let read =
        pool(options.connections).connect_with(connect.read_only(true)).await.map_err(|error| failed(url, &error))?;
    Ok(Db::Sqlite { read, write })
}

/// SQLite would make the file readable by everybody; its WAL takes over the mode.
fn create_private(file: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    match options.open(file) {
        // A file that may only be read gets its own words from SQLite.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && file.exists() => Ok(()),
        other => other.map(drop),
    }
}

/// Says what is wrong and what helps.
pub(super) fn failed(url: &DatabaseUrl, error: &sqlx::Error) -> StoreError {
    let code = match error {
        sqlx::Error::Database(database) => database.code().unwrap_or_default().into_owned(),
        _ => String::new(),
    };
    let reason = match (url.kind(), code.as_str()) {
        (DatabaseKind::Postgres, "28P01" | "28000") => "PostgreSQL refused the user name or password".to_owned(),
        (DatabaseKind::Postgres, "3D000") => "there is no such database: make it with createdb".to_owned(),
        (DatabaseKind::Postgres, "53300") => "PostgreSQL has no connection left".to_owned(),
        (DatabaseKind::Sqlite(_), "14") => "the file does not exist or cannot be opened".to_owned(),
        (DatabaseKind::Sqlite(_), "26") => "the file is not an SQLite database".to_owned(),
        (DatabaseKind::Sqlite(_), "5" | "261" | "517") => "the file is locked by another process".to_owned(),
        (DatabaseKind::Sqlite(_), "8" | "264" | "776" | "1032" | "1544") => "the file may only be read".to_owned(),
        _ => match error {
            sqlx::Error::Io(io) => format!("the database cannot be reached: {io}"),
            sqlx::Error::PoolTimedOut => "the database cannot be reached in time".to_owned(),
            other => other.to_string(),
        },
    };
    StoreError::Open { database: url.to_string(), reason }
}
