//! Opening the database, and clear words when it does not work.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr as _;

use grantlog_projections::db::open::create_sqlite_file;
use grantlog_projections::db::{Db, OpenOptions};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::error::StoreError;
use super::options::StoreOptions;
use super::turn::{Turn, is_settled};
use crate::config::{DatabaseKind, DatabaseUrl};

/// The oldest PostgreSQL that is tested, as `server_version_num`.
const POSTGRES_OLDEST: i32 = 150_000;

const READ_ONLY: &str = "the file may only be read";

pub(super) async fn open(url: &DatabaseUrl, options: &StoreOptions) -> Result<Db, StoreError> {
    let how = OpenOptions {
        connections: options.connections,
        connect_timeout: options.connect_timeout,
        statement_timeout: options.statement_timeout,
    };
    match url.kind() {
        DatabaseKind::Postgres => open_postgres(url, &how).await,
        DatabaseKind::Sqlite(file) => {
            // A file that is being made, or was only just.
            let turn = if is_settled(file) { None } else { Turn::take(file, options.connect_timeout).await };
            if options.create {
                create(url, file)?;
            }
            let opened = Db::open_sqlite(file, &how).await.map_err(|error| failed(url, &error));
            drop(turn);
            opened
        }
    }
}

/// How the lanes and the pool connect to PostgreSQL. TLS as the URL's `sslmode` says.
pub(super) fn postgres_options(url: &DatabaseUrl) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(&url.for_driver()).map_err(|error| failed(url, &error))?;
    Ok(options.application_name("grantlog").disable_statement_logging())
}

/// What is not as it should be with that URL, to be said once at the start.
#[must_use]
pub fn warnings(url: &DatabaseUrl) -> Vec<String> {
    let passed_over = url.unknown_parameters();
    let passed_over = (!passed_over.is_empty()).then(|| {
        format!(
            "these parameters of the database's URL are not known here and change nothing: {}",
            passed_over.join(", ")
        )
    });
    unprotected(url).into_iter().chain(passed_over).collect()
}

/// What somebody on the way to the database could do, when it is on another machine and TLS does not keep them from it.
fn unprotected(url: &DatabaseUrl) -> Option<String> {
    let DatabaseKind::Postgres = url.kind() else { return None };
    // What cannot be read is refused when it is opened.
    let options = postgres_options(url).ok()?;
    let host = options.get_host();
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = options.get_socket().is_some()
        || host.starts_with('/')
        || name == "localhost"
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let risk = match options.get_ssl_mode() {
        _ if is_here => return None,
        PgSslMode::VerifyFull => return None,
        PgSslMode::Disable => "is not encrypted: whoever is on the way can read and change all of it",
        PgSslMode::Allow | PgSslMode::Prefer => "is encrypted only if nobody on the way keeps it from that",
        PgSslMode::Require => "is encrypted, but nobody looks who answers",
        PgSslMode::VerifyCa => "is encrypted, but any server with a certificate of that authority may answer",
    };
    Some(format!(
        "the connection to PostgreSQL at {host} {risk}. Add ?sslmode=verify-full to the database's URL, and \
         &sslrootcert=FILE when its certificate is from an authority of your own"
    ))
}

async fn open_postgres(url: &DatabaseUrl, options: &OpenOptions) -> Result<Db, StoreError> {
    let db = Db::open_postgres(postgres_options(url)?, options).await.map_err(|error| failed(url, &error))?;
    let version = db.fetch("SELECT current_setting('server_version_num')", &[]).await?;
    let version = version.first().map(|row| row.text(0)).transpose()?.unwrap_or_default();
    if version.parse().is_ok_and(|version: i32| version < POSTGRES_OLDEST) {
        let reason = format!("PostgreSQL 15 or newer is needed, this is {version}");
        return Err(StoreError::Open { database: url.to_string(), reason });
    }
    Ok(db)
}

fn create(url: &DatabaseUrl, file: &Path) -> Result<(), StoreError> {
    let open = |reason| StoreError::Open { database: url.to_string(), reason };
    create_sqlite_file(file).map_err(|error| open(format!("the file cannot be made: {error}")))?;
    // SQLite says so only at the first write, or says that it cannot open the file, because it cannot make its WAL.
    if may_only_be_read(file) { Err(open(READ_ONLY.to_owned())) } else { Ok(()) }
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
        (DatabaseKind::Sqlite(file), "14") if may_only_be_read(file) => READ_ONLY.to_owned(),
        (DatabaseKind::Sqlite(_), "14") => "the file does not exist or cannot be opened".to_owned(),
        (DatabaseKind::Sqlite(_), "26") => "the file is not an SQLite database".to_owned(),
        (DatabaseKind::Sqlite(_), "5" | "261" | "517") => "the file is locked by another process".to_owned(),
        (DatabaseKind::Sqlite(_), "8" | "264" | "776" | "1032" | "1544") => READ_ONLY.to_owned(),
        _ => match error {
            sqlx::Error::Io(io) => format!("the database cannot be reached: {io}"),
            sqlx::Error::PoolTimedOut => "the database cannot be reached in time".to_owned(),
            other => other.to_string(),
        },
    };
    StoreError::Open { database: url.to_string(), reason }
}

fn may_only_be_read(file: &Path) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let opened = std::fs::OpenOptions::new().write(true).open(file);
    opened.is_err_and(|error| matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(url: &str) -> Option<String> {
        unprotected(&url.parse().expect("a URL"))
    }

    #[test]
    fn a_database_on_another_machine_wants_tls_that_is_verified() {
        for (mode, words) in [
            ("", "only if nobody"),
            ("?sslmode=disable", "not encrypted"),
            ("?sslmode=allow", "only if nobody"),
            ("?sslmode=prefer", "only if nobody"),
            ("?sslmode=require", "nobody looks who answers"),
            ("?sslmode=verify-ca&sslrootcert=ca.pem", "any server"),
        ] {
            for host in ["db.example", "192.0.2.7", "[2001:db8::7]:5433", "localhost.example"] {
                let said = warning(&format!("postgres://u:hush-hush@{host}/grantlog{mode}")).expect("a warning");
                assert!(said.contains(words) && said.contains("sslmode=verify-full"), "{host} {mode}: {said}");
                assert!(!said.contains("hush-hush"), "the password is printed: {said}");
            }
        }
        for mode in ["?sslmode=verify-full", "?sslmode=verify-full&sslrootcert=/etc/ssl/db.pem"] {
            assert_eq!(warning(&format!("postgres://u@db.example/grantlog{mode}")), None);
        }
    }

    #[test]
    fn a_parameter_that_is_not_known_is_named_without_its_value() {
        let url = "postgres://u@localhost/grantlog?passwrod=hush&sslmode=require&connect_timeout=5&hush=&options[a]=b";
        let url: DatabaseUrl = url.parse().expect("a URL");
        let said = warnings(&url).join("\n");
        assert!(said.contains("passwrod, connect_timeout") && !said.contains("sslmode"), "{said}");
        assert!(!said.contains("options") && !said.contains("=hush"), "{said}");
        let driver = url.for_driver();
        assert!(driver.contains("sslmode=require") && !driver.contains("timeout"), "{driver}");
    }

    #[test]
    fn a_database_on_this_machine_wants_none() {
        for url in [
            "postgres://u@localhost/grantlog",
            "postgres://u@127.0.0.1:5433/grantlog",
            "postgres://u@127.9.9.9/grantlog?sslmode=disable",
            "postgres://u@[::1]/grantlog",
            "postgres://u@%2Fvar%2Frun%2Fpostgresql/grantlog",
            "postgres:///grantlog?host=/var/run/postgresql",
            "sqlite:grantlog.db",
        ] {
            assert_eq!(warning(url), None, "{url}");
        }
    }
}
