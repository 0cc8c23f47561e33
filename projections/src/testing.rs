//! What the tests of this crate share: empty databases, and streams of events as a server would have made them.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use grantlog_domain::client::{
    ApplicationType, Author, ClientEvent, ClientMetadata, GrantType, ResponseType, TokenEndpointAuthMethod,
};
use grantlog_domain::grant::{
    AccessToken, Authentication, CodeIssued, ConsentDigest, GrantEvent, GrantOpened, IdTokenIssued, Refreshed,
    RequestedClaims, RevocationReason,
};
use grantlog_domain::session::{EndReason, SessionEvent};
use grantlog_domain::signing_key::{Algorithm, SigningKeyEvent};
use grantlog_domain::user::UserEvent;
use grantlog_domain::{
    Actor, ClientId, Event, EventMetadata, Recorded, Scope, SecretHash, SessionId, Timestamp, UserId,
};
use sqlx::{Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

use crate::db::open::create_sqlite_file;
use crate::db::{Db, OpenOptions, Tx, Value};
use crate::live::Now;
use crate::log::Log;
use crate::mac::{Content, MacKeys};

/// The time at which the tests look at things; everything that scenarios make expires later.
pub(crate) const NOW: Timestamp = Timestamp(1_000_000);

pub(crate) fn now() -> Now {
    Now::new(|| NOW)
}

/// The keys of every log here.
pub(crate) fn keys() -> MacKeys {
    MacKeys::new([(1, [1; crate::mac::KEY_BYTES])])
}

/// An empty, migrated database; its file goes away with it.
pub(crate) struct Fresh {
    pub(crate) db: Log,
    _folder: Option<tempfile::TempDir>,
}

pub(crate) async fn sqlite() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    create_sqlite_file(&file).unwrap();
    let db = Db::open_sqlite(&file, &OpenOptions::default()).await.unwrap();
    let Db::Sqlite { write, .. } = &db else { panic!("sqlite") };
    sqlx::migrate!("../migrations/sqlite").run(write).await.unwrap();
    let db = Log::new(db, keys());
    crate::prepare(&db).await.unwrap();
    Fresh { db, _folder: Some(folder) }
}

/// `None` without `GRANTLOG_TEST_POSTGRES`, the URL of a cluster, which `tests/run` sets.
pub(crate) async fn postgres() -> Option<Fresh> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let Ok(cluster) = std::env::var("GRANTLOG_TEST_POSTGRES") else {
        eprintln!("SKIPPED on PostgreSQL: GRANTLOG_TEST_POSTGRES is not set");
        return None;
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("projections_{}_{number}", std::process::id());
    let mut connection = PgConnection::connect(&cluster).await.unwrap();
    connection.execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)").as_str()).await.unwrap();
    connection.execute(format!("CREATE DATABASE {name}").as_str()).await.unwrap();
    let options = sqlx::postgres::PgConnectOptions::from_str(&cluster).unwrap().database(&name);
    let db = Db::open_postgres(options, &OpenOptions { connections: 30, ..OpenOptions::default() }).await.unwrap();
    let Db::Postgres(pool) = &db else { panic!("postgres") };
    let mut session = pool.acquire().await.unwrap();
    session.execute("SET search_path = public, pg_temp").await.unwrap();
    sqlx::migrate!("../migrations/postgres").run(&mut *session).await.unwrap();
    session.detach().close().await.unwrap();
    let db = Log::new(db, keys());
    crate::prepare(&db).await.unwrap();
    Some(Fresh { db, _folder: None })
}

/// Runs a test on both databases.
pub(crate) async fn on_both<F: Future<Output = ()>>(test: impl Fn(Arc<Fresh>) -> F) {
    test(Arc::new(sqlite().await)).await;
    if let Some(fresh) = postgres().await {
        test(Arc::new(fresh)).await;
    }
}

/// Looks again and again, for at most 30 seconds, whether something has come about.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    for _ in 0..3000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain until {what}");
}

/// Appends as postgres-es and sqlite-es do: the database gives txid and position.
pub(crate) async fn append(db: &Db, recorded: &Recorded) {
    let event = &recorded.event;
    let metadata = serde_json::to_string(&recorded.metadata.to_map()).unwrap();
    let payload = event.payload().to_string();
    insert(db, event.aggregate_type(), recorded, event.event_type(), "1.0", &payload, &metadata).await;
}

pub(crate) async fn append_all(db: &Db, events: &[Recorded]) {
    for event in events {
        append(db, event).await;
    }
}

/// Appends as somebody does who may write to the table and does not have the key.
pub(crate) async fn append_forged(db: &Db, recorded: &Recorded) {
    let event = &recorded.event;
    let metadata = serde_json::to_string(&recorded.metadata.to_map()).unwrap();
    let texts =
        [event.aggregate_type(), &recorded.aggregate_id, event.event_type(), "1.0", &event.payload().to_string()];
    let [aggregate_type, aggregate_id, event_type, event_version, payload] = texts;
    let content = Content {
        aggregate_type,
        aggregate_id,
        sequence: recorded.sequence,
        event_type,
        event_version,
        payload,
        metadata: &metadata,
    };
    let mac = MacKeys::new([(1, [2; crate::mac::KEY_BYTES])]).decided(&content);
    let texts = [aggregate_type, aggregate_id, event_type, event_version, payload, &metadata];
    let (sql, mut values) = insertion(db.is_postgres(), texts, recorded.sequence);
    values[7] = mac.as_str().into();
    db.execute(&sql, &values).await.unwrap();
}

/// Appends a row whose content this version cannot read.
pub(crate) async fn append_raw(db: &Db, like: &Recorded, event_type: &str, payload: &str) {
    let metadata = serde_json::to_string(&like.metadata.to_map()).unwrap();
    insert(db, like.event.aggregate_type(), like, event_type, "1.0", payload, &metadata).await;
}

/// Appends within a transaction that somebody else commits, or not.
pub(crate) async fn append_in(tx: &mut Tx, recorded: &Recorded) {
    let event = &recorded.event;
    let metadata = serde_json::to_string(&recorded.metadata.to_map()).unwrap();
    let payload = event.payload().to_string();
    let (sql, values) = insertion(
        tx.is_postgres(),
        [event.aggregate_type(), &recorded.aggregate_id, event.event_type(), "1.0", &payload, &metadata],
        recorded.sequence,
    );
    tx.execute(&sql, &values).await.unwrap();
}

async fn insert(
    db: &Db,
    aggregate_type: &str,
    recorded: &Recorded,
    event_type: &str,
    event_version: &str,
    payload: &str,
    metadata: &str,
) {
    let texts = [aggregate_type, &recorded.aggregate_id, event_type, event_version, payload, metadata];
    let (sql, values) = insertion(db.is_postgres(), texts, recorded.sequence);
    db.execute(&sql, &values).await.unwrap();
}

fn insertion(postgres: bool, texts: [&str; 6], sequence: i64) -> (String, [Value; 8]) {
    let json = if postgres { "::json" } else { "" };
    let sql = format!(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         mac) VALUES ($1, $2, $3, $4, $5, $6{json}, $7{json}, $8)"
    );
    let [aggregate_type, aggregate_id, event_type, event_version, payload, metadata] = texts;
    let content = Content { aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata };
    let mac = keys().decided(&content);
    let [aggregate_type, id, event_type, event_version, payload, metadata] = texts.map(Value::from);
    (sql, [aggregate_type, id, sequence.into(), event_type, event_version, payload, metadata, mac.as_str().into()])
}

pub(crate) fn recorded(aggregate_id: impl ToString, sequence: i64, event: impl Into<Event>) -> Recorded {
    by(Actor::System, aggregate_id, sequence, event)
}

pub(crate) fn by(actor: Actor, aggregate_id: impl ToString, sequence: i64, event: impl Into<Event>) -> Recorded {
    let metadata = EventMetadata {
        event_id: Uuid::from_u128(7),
        actor,
        request_id: Some("request".to_owned()),
        correlation: None,
        source_address: Some("192.0.2.0".to_owned()),
    };
    let aggregate_id = aggregate_id.to_string();
    Recorded { aggregate_id, sequence, event: event.into(), metadata, txid: 0, position: 0, recorded_at: 0 }
}

pub(crate) fn hash(number: u64) -> SecretHash {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    SecretHash { pepper: 1, digest }
}

pub(crate) fn token(number: u64) -> AccessToken {
    let scope = Scope::parse(["profile", "profile email", "read write"][number as usize % 3]).unwrap();
    AccessToken { hash: hash(number), scope, expires_at: NOW.plus_seconds(3600) }
}

pub(crate) fn metadata(name: &str) -> ClientMetadata {
    ClientMetadata {
        client_name: name.to_owned(),
        client_uri: None,
        redirect_uris: Vec::new(),
        grant_types: vec![GrantType::AuthorizationCode],
        response_types: vec![ResponseType::Code],
        scope: Scope::parse("profile email read write").unwrap(),
        token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
        application_type: ApplicationType::Web,
        require_pkce: false,
        resource_server: false,
        openid: Box::default(),
    }
}

pub(crate) fn opened(client_id: ClientId, user_id: Option<UserId>, number: u64) -> GrantOpened {
    let access_token = token(number);
    GrantOpened {
        grant_type: if user_id.is_some() { GrantType::Implicit } else { GrantType::ClientCredentials },
        client_id,
        user_id,
        session_id: None,
        scope: access_token.scope.clone(),
        access_token,
        refresh_token: user_id.map(|_| hash(number + 1_000_000)),
        expires_at: NOW.plus_seconds(7200),
        at: NOW,
        authentication: None,
        consent: None,
    }
}

/// Small reproducible random numbers.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// Streams of several clients, users, sessions, keys and `grants` grants, merged in a random order that keeps each
/// stream's own.
pub(crate) fn scenario(seed: u64, grants: u64) -> Vec<Recorded> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut streams: Vec<Vec<Recorded>> = Vec::new();
    let clients: Vec<ClientId> = (0..3).map(|number| ClientId(Uuid::from_u128(0x100 + number))).collect();
    let users: Vec<UserId> = (0..3).map(|number| UserId(Uuid::from_u128(0x200 + number))).collect();
    streams.extend(clients.iter().map(|id| client_stream(&mut dice, *id, users[0])));
    streams.extend(users.iter().map(|id| user_stream(&mut dice, *id)));
    streams.extend((0..3).map(|number| session_stream(&mut dice, 0x300 + number, users[number as usize])));
    streams.extend((0..2).map(|number| key_stream(&mut dice, number)));
    for number in 0..grants {
        let (client, user) = (clients[dice.below(3) as usize], users[dice.below(3) as usize]);
        streams.push(grant_stream(&mut dice, number, client, user));
    }
    let mut merged = Vec::new();
    let mut streams: Vec<_> = streams.into_iter().map(|stream| stream.into_iter().peekable()).collect();
    while !streams.is_empty() {
        let at = dice.below(streams.len() as u64) as usize;
        merged.extend(streams[at].next());
        if streams[at].peek().is_none() {
            drop(streams.swap_remove(at));
        }
    }
    merged
}

fn numbered<E: Into<Event>>(id: impl ToString, events: Vec<E>) -> Vec<Recorded> {
    let id = id.to_string();
    events.into_iter().zip(1..).map(|(event, sequence)| recorded(&id, sequence, event)).collect()
}

fn client_stream(dice: &mut Dice, id: ClientId, owner: UserId) -> Vec<Recorded> {
    let at = NOW;
    let mut events = vec![ClientEvent::Registered {
        metadata: metadata("first"),
        secret: Some(hash(1)),
        owner: Some(owner),
        registration_access_token: None,
        by: Some(Author::User),
        at,
    }];
    for number in 0..dice.below(5) {
        let by = [None, Some(Author::User), Some(Author::Operator)][dice.below(3) as usize];
        events.push(match dice.below(5) {
            0 => ClientEvent::Updated { metadata: metadata(&format!("name {number}")), vouched: false, by, at },
            1 => {
                let metadata = metadata(&format!("name {number}"));
                ClientEvent::Updated { metadata, vouched: true, by: Some(Author::Operator), at }
            }
            2 => ClientEvent::SecretRotated { secret: hash(number + 50), by, at },
            3 => ClientEvent::Disabled { by, at },
            _ => ClientEvent::Enabled { by, at },
        });
    }
    if dice.below(8) == 0 {
        events.push(ClientEvent::Deleted { by: None, at });
    }
    numbered(id, events)
}

fn user_stream(dice: &mut Dice, id: UserId) -> Vec<Recorded> {
    let at = NOW;
    let mut events = vec![UserEvent::Registered { at }, UserEvent::CredentialChanged { at }];
    for _ in 0..dice.below(3) {
        events.push(if dice.below(2) == 0 { UserEvent::Disabled { at } } else { UserEvent::Enabled { at } });
    }
    if dice.below(8) == 0 {
        events.push(UserEvent::Erased { at });
    }
    numbered(id, events)
}

fn session_stream(dice: &mut Dice, id: u128, user_id: UserId) -> Vec<Recorded> {
    let (at, amr) = (NOW, vec!["pwd".to_owned()]);
    let expires_at = at.plus_seconds(3600);
    let mut events = vec![SessionEvent::Started { user_id, cookie: hash(70), amr: amr.clone(), expires_at, at }];
    for number in 0..dice.below(3) {
        let expires_at = (dice.below(2) == 0).then(|| expires_at.plus_seconds(60 * (1 + number as i64)));
        events.push(SessionEvent::Reauthenticated { cookie: hash(71 + number), amr: amr.clone(), expires_at, at });
    }
    if dice.below(3) == 0 {
        events.push(SessionEvent::Ended { reason: EndReason::SignedOut, at });
    }
    numbered(SessionId(Uuid::from_u128(id)), events)
}

fn key_stream(dice: &mut Dice, number: u64) -> Vec<Recorded> {
    let at = NOW;
    let mut events = vec![
        SigningKeyEvent::Created { alg: Algorithm::ES256, public_jwk: serde_json::Map::new(), at },
        SigningKeyEvent::Activated { at },
        SigningKeyEvent::Retired { at },
        SigningKeyEvent::Revoked { at },
    ];
    events.truncate(1 + dice.below(4) as usize);
    numbered(format!("key{number}"), events)
}

/// Half of them name claims (OpenID Connect Core 5.5).
fn authentication(dice: &mut Dice) -> Authentication {
    let userinfo = if dice.below(2) == 0 { vec!["email".to_owned()] } else { Vec::new() };
    let claims = RequestedClaims { userinfo, id_token: Vec::new() };
    Authentication { auth_time: NOW, amr: Vec::new(), nonce: Some("n".to_owned()), claims }
}

fn consent(dice: &mut Dice) -> Option<ConsentDigest> {
    (dice.below(3) > 0).then(|| ConsentDigest { version: 1, digest: [dice.below(3) as u8; 32] })
}

fn grant_stream(dice: &mut Dice, number: u64, client_id: ClientId, user_id: UserId) -> Vec<Recorded> {
    let (at, first) = (NOW, number * 100);
    let mut events = match dice.below(4) {
        0 => vec![GrantEvent::Opened(opened(client_id, None, first))],
        1 => vec![GrantEvent::Opened(opened(client_id, Some(user_id), first))],
        2 => vec![GrantEvent::IdTokenIssued(IdTokenIssued {
            client_id,
            user_id,
            session_id: SessionId(Uuid::from_u128(0x300)),
            scope: Scope::parse("openid").unwrap(),
            authentication: authentication(dice),
            expires_at: at.plus_seconds(7200),
            at,
            consent: consent(dice),
        })],
        _ => vec![GrantEvent::CodeIssued(CodeIssued {
            client_id,
            user_id,
            session_id: SessionId(Uuid::from_u128(0x300)),
            scope: Scope::parse("profile email").unwrap(),
            redirect_uri: "https://app.example/".to_owned(),
            redirect_uri_in_request: true,
            code: hash(first + 99),
            code_challenge: None,
            code_expires_at: at.plus_seconds(60),
            expires_at: at.plus_seconds(7200),
            at,
            authentication: (dice.below(2) == 0).then(|| authentication(dice)),
            // Beside the code (OpenID Connect Core 3.3).
            access_token: (dice.below(2) == 0).then(|| token(first + 97)),
            consent: consent(dice),
        })],
    };
    if matches!(events[0], GrantEvent::CodeIssued(_)) && dice.below(4) > 0 {
        let (access_token, refresh_token) = (token(first), Some(hash(first + 98)));
        events.push(GrantEvent::CodeRedeemed { access_token, refresh_token, at });
        for turn in 1..=dice.below(4) {
            let (access_token, refresh_token) = (token(first + turn), hash(first + 90 + turn));
            events.push(GrantEvent::Refreshed(Refreshed { access_token, refresh_token, replay_salt: None, at }));
        }
    }
    let gives_tokens = events.len() > 1 || matches!(events[0], GrantEvent::Opened(_));
    if gives_tokens && dice.below(4) == 0 {
        events.push(GrantEvent::AccessTokenRevoked { token: hash(first), at });
    }
    if dice.below(4) == 0 {
        events.push(GrantEvent::Revoked { reason: RevocationReason::User, at });
    }
    numbered(Uuid::from_u128(0x1000 + u128::from(number)), events)
}
