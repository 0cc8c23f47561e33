//! How fast the read models are built again from the log, and what a live token costs.
//!
//! `cargo bench -p grantlog-projections` measures SQLite, and PostgreSQL too when `GRANTLOG_TEST_POSTGRES` names a
//! cluster (`tests/run postgres -- cargo bench -p grantlog-projections`). `GRANTLOG_BENCH_EVENTS`: grants in the log,
//! 200,000 by default.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grantlog_domain::client::{ApplicationType, ClientEvent, ClientMetadata, GrantType, TokenEndpointAuthMethod};
use grantlog_domain::grant::{AccessToken, GrantEvent, GrantOpened};
use grantlog_domain::{ClientId, Event, GrantId, Scope, SecretHash, Timestamp};
use grantlog_projections::db::open::create_sqlite_file;
use grantlog_projections::db::{Db, OpenOptions, Value};
use grantlog_projections::engine::names;
use grantlog_projections::feed::{Cursor, ordered};
use grantlog_projections::live::Live;
use grantlog_projections::log::Log;
use grantlog_projections::mac::{Content, KEY_BYTES, MacKeys};
use grantlog_projections::rebuild::rebuild;
use sqlx::{Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_000_000);
const CLIENT: ClientId = ClientId(Uuid::from_u128(1));
const APPEND: u64 = 1000;

fn main() {
    let events = std::env::var("GRANTLOG_BENCH_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bench.db");
        create_sqlite_file(&file).expect("a file");
        let sqlite = Db::open_sqlite(&file, &OpenOptions::default()).await.expect("SQLite");
        let Db::Sqlite { write, .. } = &sqlite else { unreachable!("it is SQLite") };
        sqlx::migrate!("../migrations/sqlite").run(write).await.expect("migrated");
        measure("sqlite", &sqlite, events).await;
        match std::env::var("GRANTLOG_TEST_POSTGRES") {
            Ok(cluster) => measure("postgres", &postgres(&cluster).await, events).await,
            Err(_) => println!("postgres: GRANTLOG_TEST_POSTGRES is not set"),
        }
    });
}

async fn postgres(cluster: &str) -> Db {
    let name = format!("replay_{}", std::process::id());
    let mut connection = PgConnection::connect(cluster).await.expect("the cluster is there");
    connection.execute(format!("CREATE DATABASE {name}").as_str()).await.expect("a database");
    let options: sqlx::postgres::PgConnectOptions = cluster.parse().expect("a URL");
    let db = Db::open_postgres(options.database(&name), &OpenOptions::default()).await.expect("connected");
    let Db::Postgres(pool) = &db else { unreachable!("it is PostgreSQL") };
    let mut session = pool.acquire().await.expect("a session");
    session.execute("SET search_path = public, pg_temp").await.expect("set");
    sqlx::migrate!("../migrations/postgres").run(&mut *session).await.expect("migrated");
    session.detach().close().await.expect("closed");
    db
}

async fn measure(store: &str, db: &Db, events: u64) {
    let db = &Log::new(db.clone(), keys());
    let began = Instant::now();
    fill(db, events).await;
    report(store, "fill the log", events, began.elapsed());
    // There are no tables yet, so they are built from the log alone.
    let began = Instant::now();
    let live = Live::new();
    live.load(db, NOW).await.expect("loaded");
    report(store, "rebuild the live models from the log", live.tokens() as u64, began.elapsed());
    drop(live);
    grantlog_projections::prepare(db).await.expect("prepared");
    let (read, took) = replay(db).await;
    report(store, "read and decode the log", read, took);
    for name in ["tokens", "grants"] {
        let began = Instant::now();
        let rebuilt = rebuild(db, name, NOW, |_| ()).await.expect("rebuilt");
        report(store, &format!("rebuild {name}"), rebuilt.events, began.elapsed());
    }
    let others = Instant::now();
    // The live models are loaded from all tables; those that are behind would have to be caught up from the log.
    for name in names().into_iter().filter(|name| !["tokens", "grants"].contains(name)) {
        rebuild(db, name, NOW, |_| ()).await.expect("rebuilt");
    }
    report(store, "rebuild the others, each", read * 5, others.elapsed());
    let before = resident();
    let began = Instant::now();
    let live = Live::new();
    live.load(db, NOW).await.expect("loaded");
    report(store, "load the live models", live.tokens() as u64, began.elapsed());
    if let (Some(before), Some(after)) = (before, resident()) {
        println!(
            "{store:9} bytes a live token (resident)        {:>12}",
            after.saturating_sub(before) / live.tokens().max(1) as u64
        );
    }
    fold(store, events);
    introspect(store, &live, events);
}

/// The processor time is that of this process alone, without the database server's; it tells more than the rate when
/// something else runs on the machine.
fn report(store: &str, what: &str, events: u64, took: Duration) {
    static SPENT: AtomicU64 = AtomicU64::new(0);
    let rate = events as f64 / took.as_secs_f64();
    let spent = processor_millis();
    let own = (spent - SPENT.swap(spent, Ordering::Relaxed)) as f64 * 1000.0 / events.max(1) as f64;
    println!("{store:9} {what:38} {rate:>12.0} events/s, {own:>6.2} us of processor each ({events} in {took:.2?})");
}

fn processor_millis() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    // Fields 14 and 15: user and system time in hundredths of a second.
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

fn grant(number: u64) -> GrantId {
    // In the order of their making, and with an end that spreads, as UUIDs version 7 are.
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    GrantId(Uuid::from_u128((u128::from(number) << 64) | u128::from(random)))
}

fn hash(number: u64) -> SecretHash {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    SecretHash { pepper: 1, digest }
}

fn opened(number: u64) -> GrantEvent {
    let scope = Scope::parse("read write").expect("a scope");
    let expires_at = NOW.plus_seconds(3600);
    GrantEvent::Opened(GrantOpened {
        grant_type: GrantType::ClientCredentials,
        client_id: CLIENT,
        user_id: None,
        session_id: None,
        scope: scope.clone(),
        access_token: AccessToken { hash: hash(number), scope, expires_at },
        refresh_token: None,
        expires_at,
        at: NOW,
        authentication: None,
        consent: None,
    })
}

fn registered() -> ClientEvent {
    let metadata = ClientMetadata {
        client_name: "bench".to_owned(),
        client_uri: None,
        redirect_uris: Vec::new(),
        grant_types: vec![GrantType::ClientCredentials],
        response_types: Vec::new(),
        scope: Scope::parse("read write").expect("a scope"),
        token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
        application_type: ApplicationType::Web,
        require_pkce: false,
        resource_server: false,
        openid: Box::default(),
    };
    ClientEvent::Registered {
        metadata,
        secret: Some(hash(0)),
        owner: None,
        registration_access_token: None,
        by: None,
        at: NOW,
    }
}

fn keys() -> MacKeys {
    MacKeys::new([(1, [1; KEY_BYTES])])
}

async fn fill(db: &Db, events: u64) {
    insert(db, vec![(CLIENT.to_string(), registered().into())]).await;
    for from in (0..events).step_by(APPEND as usize) {
        let to = (from + APPEND).min(events);
        insert(db, (from..to).map(|number| (grant(number).to_string(), opened(number).into())).collect()).await;
    }
}

async fn insert(db: &Db, events: Vec<(String, Event)>) {
    let metadata =
        format!(r#"{{"event_id":"{}","actor":"client:{CLIENT}","request_id":"abcdef0123456789"}}"#, Uuid::nil());
    let columns = "aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, mac";
    let keys = keys();
    let mac = |(aggregate_id, event): &(String, Event)| {
        let (aggregate_type, event_type, payload) =
            (event.aggregate_type(), event.event_type(), event.payload().to_string());
        let content = Content {
            aggregate_type,
            aggregate_id,
            sequence: 1,
            event_type,
            event_version: "1.0",
            payload: &payload,
            metadata: &metadata,
        };
        keys.decided(&content).as_str().to_owned()
    };
    let mut tx = db.begin().await.expect("a transaction");
    if db.is_postgres() {
        let text = |each: &dyn Fn(&(String, Event)) -> String| {
            Value::TextArray(events.iter().map(|event| Some(each(event))).collect())
        };
        let values = [
            text(&|(_, event)| event.aggregate_type().to_owned()),
            text(&|(id, _)| id.clone()),
            text(&|(_, event)| event.event_type().to_owned()),
            text(&|(_, event)| event.payload().to_string()),
            metadata.as_str().into(),
            text(&mac),
        ];
        let sql = format!(
            "INSERT INTO events ({columns}) SELECT a, b, 1, c, '1.0', d::json, $5::json, e \
             FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $6::text[]) AS event (a, b, c, d, e)"
        );
        tx.execute(&sql, &values).await.expect("inserted");
    } else {
        let sql = format!("INSERT INTO events ({columns}) VALUES ($1, $2, 1, $3, '1.0', $4, $5, $6)");
        for each @ (id, event) in &events {
            let values = [
                event.aggregate_type().into(),
                id.as_str().into(),
                event.event_type().into(),
                event.payload().to_string().into(),
                metadata.as_str().into(),
                mac(each).into(),
            ];
            tx.execute(&sql, &values).await.expect("inserted");
        }
    }
    tx.commit().await.expect("committed");
}

async fn replay(db: &Log) -> (u64, Duration) {
    let (began, mut cursor, mut read) = (Instant::now(), Cursor::START, 0);
    loop {
        let events = ordered::read(db, cursor, 2000).await.expect("read");
        let Some(last) = events.last() else { return (read, began.elapsed()) };
        cursor = last.cursor;
        read += events.len() as u64;
    }
}

/// Folding alone, without reading.
fn fold(store: &str, events: u64) {
    use grantlog_domain::{Actor, EventMetadata, Recorded};
    let metadata = EventMetadata {
        event_id: Uuid::nil(),
        actor: Actor::System,
        request_id: None,
        correlation: None,
        source_address: None,
    };
    let recorded: Vec<Recorded> = (0..events)
        .map(|number| Recorded {
            aggregate_id: grant(number).to_string(),
            sequence: 1,
            event: opened(number).into(),
            metadata: metadata.clone(),
            txid: 0,
            position: 0,
            recorded_at: 0,
        })
        .collect();
    let (live, began) = (Live::new(), Instant::now());
    recorded.iter().for_each(|event| live.apply(event));
    report(store, "fold into the live models", events, began.elapsed());
}

fn introspect(store: &str, live: &Live, events: u64) {
    const TIMES: u64 = 1_000_000;
    let began = Instant::now();
    let mut active = 0;
    for time in 0..TIMES {
        let number = time.wrapping_mul(0x9e37_79b9_7f4a_7c15) % events;
        active += u64::from(black_box(live.introspect(grant(number), &hash(number), NOW)).is_some());
    }
    assert_eq!(active, TIMES);
    report(store, "introspect, one thread", TIMES, began.elapsed());
}

/// Bytes of memory that this process uses, where the system tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
