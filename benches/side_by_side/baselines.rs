//! What Grantlog is held against besides bare warp: PostgreSQL's own pgbench, and SQLite with one row a transaction.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _, SqliteConnection};

/// About 400 bytes of payload and metadata, as one issued token leaves in the log.
pub const PAYLOAD: &str = r#"{"opened": {"at": 1795000000, "scope": "profile", "client_id": "0193a5e0-0000-7000-8000-000000000000", "expires_at": 1795003600, "grant_type": "client_credentials", "access_token": {"hash": "1.AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE", "scope": "profile", "expires_at": 1795003600}}}"#;
pub const METADATA: &str = r#"{"actor": "client:0193a5e0-0000-7000-8000-000000000000", "event_id": "0193a5e0-0000-7000-8000-000000000001", "request_id": "0193a5e0-0000-7000-8000-000000000002"}"#;

/// Transactions per second of pgbench, one event row each, without HTTP; the best of 8, 32 and 64 clients.
///
/// The table is Grantlog's own, with its indexes and triggers. Identifiers rise with time, as version 7 UUIDs do.
pub fn pgbench_best(database: &str, length: Duration) -> (f64, u32) {
    let mut script = tempfile::NamedTempFile::new().expect("a temporary file");
    writeln!(
        script,
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         mac) VALUES ('grant', lpad(nextval('pgbench_ids')::text, 36, '0'), 1, 'grant.opened', '1.0', '{PAYLOAD}', \
         '{METADATA}', 'AAEAAAAAAAAAAAAAAAAAAAAA');"
    )
    .expect("the script can be written");
    let rate = |clients: u32| {
        let output = Command::new("pgbench")
            .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string()])
            .args(["-T", &length.as_secs().max(1).to_string(), "-f"])
            .arg(script.path())
            .arg(database)
            .output()
            .expect("pgbench runs; it comes with PostgreSQL");
        let text = String::from_utf8_lossy(&output.stdout);
        let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split(' ').next());
        tps.and_then(|tps| tps.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)))
    };
    [8, 32, 64]
        .map(|clients| (rate(clients), clients))
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap_or_default()
}

/// What pgbench needs in a migrated database.
pub async fn prepare_pgbench(database: &str) {
    let mut connection = sqlx::PgConnection::connect(database).await.expect("PostgreSQL answers");
    connection.execute("CREATE SEQUENCE IF NOT EXISTS pgbench_ids CACHE 100").await.expect("a sequence can be made");
}

/// Rows per second of SQLite with one row a transaction, WAL and synchronous=FULL, in the log's own shape.
pub async fn sqlite_one_by_one(length: Duration) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("one.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("SQLite opens");
    connection
        .execute(
            "CREATE TABLE events (aggregate_type TEXT NOT NULL, aggregate_id TEXT NOT NULL, sequence BIGINT NOT NULL, \
             event_type TEXT NOT NULL, event_version TEXT NOT NULL, payload TEXT NOT NULL, metadata TEXT NOT NULL, \
             position INTEGER UNIQUE, recorded_at BIGINT, PRIMARY KEY (aggregate_type, aggregate_id, sequence))",
        )
        .await
        .expect("a table can be made");
    let (started, mut rows) = (Instant::now(), 0_i64);
    while started.elapsed() < length {
        sqlx::query("INSERT INTO events VALUES ('grant', $1, 1, 'grant.opened', '1.0', $2, $3, $4, 0)")
            .bind(format!("{rows:036}"))
            .bind(PAYLOAD)
            .bind(METADATA)
            .bind(rows)
            .execute(&mut connection)
            .await
            .expect("a row can be inserted");
        rows += 1;
    }
    rows as f64 / started.elapsed().as_secs_f64()
}
