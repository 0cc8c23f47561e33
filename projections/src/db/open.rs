//! Opening a database: pools and sessions, for the server, the command line and the tests alike. What is wrong when it
//! cannot be opened is said by the caller, who knows what was asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};

use super::{Db, lease};

/// A pooled connection that was idle for longer is asked for a sign of life before it is used.
const IDLE_UNTRUSTED: Duration = Duration::from_secs(1);
/// Longest wait for it.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// A session that can only read is used for so long; then another one is made.
const READ_ONLY_USED: Duration = Duration::from_secs(1);

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Connections of the PostgreSQL pool, or SQLite's readers; default 10.
    pub connections: u32,
    /// Longest wait for a connection, and SQLite's for another process's lock; default 5 s.
    pub connect_timeout: Duration,
    /// Longest run of one statement on PostgreSQL; default 10 s.
    pub statement_timeout: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { connections: 10, connect_timeout: Duration::from_secs(5), statement_timeout: Duration::from_secs(10) }
    }
}

impl Db {
    /// Opens `postgres://…` or `sqlite:FILE`, which must exist. Applies no migrations.
    pub async fn open(url: &str, options: &OpenOptions) -> Result<Self, sqlx::Error> {
        match url.strip_prefix("sqlite:") {
            Some(file) => Self::open_sqlite(Path::new(file), options).await,
            None => Self::open_postgres(url.parse()?, options).await,
        }
    }

    /// Connects to PostgreSQL. Applies no migrations.
    pub async fn open_postgres(connect: PgConnectOptions, options: &OpenOptions) -> Result<Self, sqlx::Error> {
        let statement_timeout = options.statement_timeout;
        let made = ReadOnlySessions::default();
        let used = made.clone();
        let pool = PgPoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(options.connect_timeout)
            // A ping on each use costs a round trip; only a connection that rested may have died unseen.
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let outdated = used.may_have(meta.age);
                Box::pin(async move {
                    if outdated {
                        return Ok(false);
                    }
                    if meta.idle_for > IDLE_UNTRUSTED {
                        // Or one that died in silence would use up all of the wait for a connection.
                        return match tokio::time::timeout(SIGN_OF_LIFE, connection.ping()).await {
                            Ok(answer) => answer.map(|()| true),
                            Err(_) => Ok(false),
                        };
                    }
                    Ok(true)
                })
            })
            // An error closes it without a goodbye, which would not get through either.
            .after_release(|connection, _| {
                Box::pin(async move {
                    match lease::is_dead(connection).await {
                        true => Err(sqlx::Error::PoolTimedOut),
                        false => Ok(true),
                    }
                })
            })
            .after_connect(move |connection, _| {
                let made = made.clone();
                Box::pin(async move {
                    if prepare_session(connection, statement_timeout).await? == Access::ReadOnly {
                        made.note();
                    }
                    Ok(())
                })
            })
            .connect_with(connect)
            .await?;
        Ok(Self::Postgres(pool))
    }

    /// Opens an SQLite file, which must exist (see [`create_sqlite_file`]). Applies no migrations.
    pub async fn open_sqlite(file: &Path, options: &OpenOptions) -> Result<Self, sqlx::Error> {
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
        let write = pool(1).connect_with(connect.clone()).await?;
        let read = pool(options.connections).connect_with(connect.read_only(true)).await?;
        Ok(Self::Sqlite { read, write })
    }
}

/// When a session that can only read was last made. `ALTER DATABASE … SET default_transaction_read_only`, with which
/// operators and hosts of databases stop all writing, counts for new sessions and holds for as long as they live, also
/// when the database has long been open for writing again.
#[derive(Clone, Default)]
struct ReadOnlySessions(Arc<Mutex<Option<Instant>>>);

impl ReadOnlySessions {
    fn note(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Whether a session of that age may be one of them, and has served for long enough. Its age counts from when it was
    /// ready, a moment after it was noted. One that can write, but was made earlier, is given up once as well.
    fn may_have(&self, age: Duration) -> bool {
        age > READ_ONLY_USED && self.0.lock().is_some_and(|made| age + READ_ONLY_USED >= made.elapsed())
    }
}

/// What a session may do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// Where the names in every statement of a session are looked up, whatever role, database and URL say; see
/// [`read_models`](crate::read_models). A schema in which another role makes tables and functions is none of these places:
/// what stands there would run as this role.
pub(crate) const SEARCH_PATH: &str = "\
    SET search_path = public, pg_temp; \
    SELECT set_config('search_path', 'grantlog_read_models, public, pg_temp', false) WHERE NOT EXISTS \
        (SELECT 1 FROM pg_namespace WHERE nspname = 'grantlog_read_models' \
         AND pg_get_userbyid(nspowner) <> current_user)";

/// Fixes where names are looked up, bounds every statement, wait for a lock and forgotten transaction of this session, lets the server notice within a
/// minute when this machine is gone, and makes a commit mean that the data is on disk, whatever the server's default is.
pub async fn prepare_session(
    connection: &mut PgConnection,
    statement_timeout: Duration,
) -> Result<Access, sqlx::Error> {
    let millis = statement_timeout.as_millis();
    let sql = format!(
        "{SEARCH_PATH}; SET statement_timeout = {millis}; SET lock_timeout = {millis}; \
         SET idle_in_transaction_session_timeout = {millis}; SET client_min_messages = warning; \
         SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; \
         SET tcp_user_timeout = 60000; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; \
         SELECT current_setting('default_transaction_read_only')"
    );
    let rows = connection.fetch_all(sql.as_str()).await?;
    let read_only = rows.last().map(|row| row.try_get::<String, _>(0)).transpose()?;
    Ok(if read_only.as_deref() == Some("on") { Access::ReadOnly } else { Access::ReadWrite })
}

/// Makes an empty file for [`Db::open_sqlite`], unless there is one. SQLite would make it readable by everybody; its WAL
/// takes over the mode.
pub fn create_sqlite_file(file: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    match options.open(file) {
        // A file that may only be read gets its own words from SQLite.
        Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) && file.exists() => Ok(()),
        other => other.map(drop),
    }
}
