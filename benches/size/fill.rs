//! A log of any length: grant events made by the domain's own codec, written in bulk.

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{AccessToken, GrantEvent, GrantOpened};
use grantlog_domain::{ClientId, Event, GrantId, Scope, SecretHash, Timestamp};
use grantlog_projections::db::{Db, OpenOptions};
use grantlog_projections::mac::{Content, MacKeys};
use uuid::{Builder, Uuid};

/// Events of one transaction.
const APPEND: u64 = 20_000;
/// Seconds for which a token that lives goes on living.
const LIVES: i64 = 86_400;
/// How long ago the tokens were issued that have expired, in seconds.
const LONG_AGO: i64 = 10 * 86_400;

/// What to append.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    pub client: ClientId,
    pub events: u64,
    /// How many of them, the last ones, issued tokens that live.
    pub living: u64,
    /// Unix seconds.
    pub now: i64,
}

/// Appends one `grant.opened` (client credentials) an event.
pub async fn fill(database: &str, keys: &MacKeys, log: Log) {
    let db = Db::open(database, &OpenOptions::default()).await.expect("the database is there");
    for from in (0..log.events).step_by(APPEND as usize) {
        let rows = (from..(from + APPEND).min(log.events)).map(|number| row(&log, keys, number));
        match &db {
            Db::Postgres(pool) => copy(pool, rows).await,
            Db::Sqlite { write, .. } => insert(write, rows).await,
        }
    }
    settle(&db).await;
}

/// Does at once what PostgreSQL does by itself while a log grows, and would otherwise still do while something is measured.
pub async fn settle(db: &Db) {
    if let Db::Postgres(pool) = db {
        for sql in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::query(sql).execute(pool).await.expect("a maintenance command");
        }
    }
}

/// The columns of postgres-es and sqlite-es, and the code.
fn row(log: &Log, keys: &MacKeys, number: u64) -> [String; 8] {
    let lives = number + log.living >= log.events;
    let (at, expires_at) =
        if lives { (log.now, log.now + LIVES) } else { (log.now - LONG_AGO, log.now - LONG_AGO + 3600) };
    let scope = Scope::parse("profile").expect("a scope");
    // Spreads as randomness would.
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&random);
    let event = Event::from(GrantEvent::Opened(GrantOpened {
        grant_type: GrantType::ClientCredentials,
        client_id: log.client,
        user_id: None,
        session_id: None,
        scope: scope.clone(),
        access_token: AccessToken { hash: SecretHash { pepper: 1, digest }, scope, expires_at: Timestamp(expires_at) },
        refresh_token: None,
        expires_at: Timestamp(expires_at),
        at: Timestamp(at),
        authentication: None,
        consent: None,
    }));
    let (id, event_id) = (id(at, number, random), id(at, number, random.map(|byte| !byte)));
    let metadata =
        format!(r#"{{"event_id":"{event_id}","actor":"client:{}","request_id":"0123456789abcdef"}}"#, log.client);
    let (id, payload) = (GrantId(id).to_string(), event.payload().to_string());
    let mac = keys.decided(&Content {
        aggregate_type: event.aggregate_type(),
        aggregate_id: &id,
        sequence: 1,
        event_type: event.event_type(),
        event_version: "1.0",
        payload: &payload,
        metadata: &metadata,
    });
    let (aggregate_type, event_type) = (event.aggregate_type().to_owned(), event.event_type().to_owned());
    [aggregate_type, id, "1".to_owned(), event_type, "1.0".to_owned(), payload, metadata, mac.as_str().to_owned()]
}

/// A UUID version 7 of that time; 1,000 are made in a millisecond.
fn id(at: i64, number: u64, random: [u8; 8]) -> Uuid {
    let millis = at.unsigned_abs() * 1000 + number / 1000;
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&u16::try_from(number % 1000).unwrap_or(0).to_be_bytes());
    bytes[2..].copy_from_slice(&random);
    Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

const COLUMNS: &str = "aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, mac";

async fn copy(pool: &sqlx::PgPool, rows: impl Iterator<Item = [String; 8]>) {
    use sqlx::postgres::PgPoolCopyExt as _;
    let mut copy = pool.copy_in_raw(&format!("COPY events ({COLUMNS}) FROM STDIN")).await.expect("a COPY");
    let mut text = String::new();
    for row in rows {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    copy.send(text.into_bytes()).await.expect("copied");
    copy.finish().await.expect("copied");
}

async fn insert(pool: &sqlx::SqlitePool, rows: impl Iterator<Item = [String; 8]>) {
    let rows: Vec<[String; 8]> = rows.collect();
    let sql = format!(
        "INSERT INTO events ({COLUMNS}, position) SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
         value ->> 5, value ->> 6, value ->> 7, (SELECT last FROM log_position) + 1 + key FROM json_each($1)"
    );
    let rows = serde_json::to_string(&rows).expect("JSON");
    sqlx::query(&sql).bind(rows).execute(pool).await.expect("inserted");
}
