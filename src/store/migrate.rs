//! Bringing the schema up to date. The migrations are embedded in the binary.

use grantlog_projections::db::Db;
use sqlx::PgConnection;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::error::StoreError;

static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// One step of an update, for showing progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub version: i64,
    pub description: String,
    /// From 1.
    pub number: usize,
    /// How many steps there are in this update.
    pub of: usize,
}

/// Applies what is missing, one migration a transaction, and tells `progress` before each. One process at a time does
/// it on PostgreSQL; another one waits and then finds nothing to do.
pub(super) async fn apply(db: &Db, progress: &mut (dyn FnMut(&Step) + Send)) -> Result<usize, StoreError> {
    match db {
        Db::Postgres(pool) => {
            let mut connection = pool.acquire().await.map_err(unavailable)?;
            // Building an index on a large log takes longer than a statement usually may. What is made is made in public.
            sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0; SET search_path = public, pg_temp")
                .execute(&mut *connection)
                .await
                .map_err(unavailable)?;
            connection.lock().await.map_err(|error| failed(0, &error))?;
            let applied = match may_apply(&mut connection).await {
                Ok(true) => apply_on(&mut *connection, &POSTGRES, progress).await,
                Ok(false) => Ok(0),
                Err(error) => Err(error),
            };
            // A new connection takes its place, with the usual bounds; closing also frees the lock.
            let _ = sqlx::Connection::close(connection.detach()).await;
            applied
        }
        Db::Sqlite { write, .. } => {
            let mut connection = write.acquire().await.map_err(unavailable)?;
            apply_on(&mut *connection, &SQLITE, progress).await
        }
    }
}

/// Whether this role may make tables; when it may not, nothing is missing. Refuses tables that an earlier release was told to
/// make elsewhere.
async fn may_apply(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let sql = "SELECT has_schema_privilege('public', 'CREATE'), to_regclass('public._sqlx_migrations') IS NOT NULL, \
               (SELECT min(relnamespace::regnamespace::text) FROM pg_class WHERE relname = 'log_identity')";
    let (may_create, is_there, place): (bool, bool, Option<String>) =
        sqlx::query_as(sql).fetch_one(&mut *connection).await.map_err(unavailable)?;
    if let (false, Some(place)) = (is_there, place) {
        let reason = format!("the tables of Grantlog are in the schema {place}: move them into public");
        return Err(StoreError::Migration { version: 0, reason });
    }
    if may_create {
        warn_of_others(connection).await?;
        return Ok(true);
    }
    let of = POSTGRES.iter().count();
    match if is_there { missing(connection, &POSTGRES).await? } else { of } {
        0 => Ok(false),
        missing => Err(StoreError::OlderSchema { missing, of }),
    }
}

/// What another role makes in `public` can run as this one.
async fn warn_of_others(connection: &mut PgConnection) -> Result<(), StoreError> {
    let sql = "SELECT string_agg(CASE grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(grantee)::text END, ', ') \
               FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND privilege_type = 'CREATE' \
               AND grantee <> nspowner AND (grantee = 0 OR pg_get_userbyid(grantee) <> current_user)";
    let others: Option<String> = sqlx::query_scalar(sql).fetch_one(connection).await.map_err(unavailable)?;
    if let Some(roles) = others {
        tracing::warn!(roles, "others can make tables and functions in the schema public: run docs/postgres-roles.sql");
    }
    Ok(())
}

/// Checks that the schema is exactly the one that this binary knows.
pub(super) async fn check(db: &Db) -> Result<(), StoreError> {
    // Looking must not make the table, least of all in a database that is not ours.
    let tables = match db {
        Db::Postgres(_) => "SELECT count(to_regclass('public._sqlx_migrations'))",
        Db::Sqlite { .. } => "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
    };
    let rows = db.fetch(tables, &[]).await?;
    if rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0) == 0 {
        let of = migrator_of(db).iter().count();
        return Err(StoreError::OlderSchema { missing: of, of });
    }
    let lacking = match db {
        Db::Postgres(pool) => {
            let mut connection = pool.acquire().await.map_err(unavailable)?;
            missing(&mut *connection, &POSTGRES).await?
        }
        Db::Sqlite { write, .. } => {
            let mut connection = write.acquire().await.map_err(unavailable)?;
            missing(&mut *connection, &SQLITE).await?
        }
    };
    let of = migrator_of(db).iter().count();
    if lacking > 0 { Err(StoreError::OlderSchema { missing: lacking, of }) } else { Ok(()) }
}

const fn migrator_of(db: &Db) -> &'static Migrator {
    match db {
        Db::Postgres(_) => &POSTGRES,
        Db::Sqlite { .. } => &SQLITE,
    }
}

/// How many migrations are not applied.
async fn missing<C: Migrate>(connection: &mut C, migrator: &Migrator) -> Result<usize, StoreError> {
    let done = done(connection, migrator).await?;
    Ok(migrator.iter().filter(|migration| !done.contains(&migration.version)).count())
}

async fn apply_on<C: Migrate>(
    connection: &mut C,
    migrator: &Migrator,
    progress: &mut (dyn FnMut(&Step) + Send),
) -> Result<usize, StoreError> {
    connection.ensure_migrations_table().await.map_err(|error| failed(0, &error))?;
    let done = done(connection, migrator).await?;
    let missing: Vec<_> = migrator.iter().filter(|migration| !done.contains(&migration.version)).collect();
    for (at, migration) in missing.iter().enumerate() {
        let step = Step {
            version: migration.version,
            description: migration.description.to_string(),
            number: at + 1,
            of: missing.len(),
        };
        progress(&step);
        connection.apply(migration).await.map_err(|error| failed(migration.version, &error))?;
    }
    Ok(missing.len())
}

/// The versions that are applied; all of them are known and unchanged.
async fn done<C: Migrate>(connection: &mut C, migrator: &Migrator) -> Result<Vec<i64>, StoreError> {
    if let Some(version) = connection.dirty_version().await.map_err(|error| failed(0, &error))? {
        let reason = "it was begun and not finished: restore the backup from before it".to_owned();
        return Err(StoreError::Migration { version, reason });
    }
    let applied = connection.list_applied_migrations().await.map_err(|error| failed(0, &error))?;
    for migration in &applied {
        match migrator.iter().find(|known| known.version == migration.version) {
            None => return Err(StoreError::NewerSchema { found: migration.version, known: newest(migrator) }),
            Some(known) if known.checksum != migration.checksum => {
                return Err(StoreError::ChangedMigration { version: migration.version });
            }
            Some(_) => {}
        }
    }
    Ok(applied.iter().map(|migration| migration.version).collect())
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn failed(version: i64, error: &MigrateError) -> StoreError {
    StoreError::Migration { version, reason: error.to_string() }
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Database(error.into())
}
