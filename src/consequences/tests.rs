use grantlog_domain::client::{
    ApplicationType, Author, Client, ClientCommand, ClientMetadata, GrantType, TokenEndpointAuthMethod,
};
use grantlog_domain::grant::{Grant, GrantCommand, NewAccessToken, OpenGrant, Stage};
use grantlog_domain::session::{Session, SessionCommand};
use grantlog_domain::user::{User, UserCommand};
use grantlog_domain::{ClientId, GrantId, Scope, SecretHash, SessionId, UserId};
use grantlog_projections::feed::Wake;
use grantlog_projections::live::Now;
use grantlog_projections::{Projector, ProjectorOptions, status};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::config::Settings;
use crate::entropy::Entropy;
use crate::store::StoreOptions;
use crate::store::tests::unlock;

const CLIENT: ClientId = ClientId(Uuid::from_u128(1));
const USER: UserId = UserId(Uuid::from_u128(2));

struct Log {
    store: Store,
    clock: Clock,
    _folder: TempDir,
}

impl Log {
    /// With a client and a user.
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = format!("sqlite:{}", folder.path().join("test.db").display());
        let settings = Settings::with(&[("database", &database)]).expect("settings");
        let (options, clock) = (StoreOptions::default(), Clock::system());
        let store = Store::open(&settings.database, options, clock.clone(), Entropy::system()).await.expect("opened");
        unlock(&store);
        store.migrate(&mut |_| ()).await.expect("migrated");
        let log = Self { store, clock, _folder: folder };
        let metadata = ClientMetadata {
            client_name: "Test".into(),
            client_uri: None,
            redirect_uris: Vec::new(),
            grant_types: vec![GrantType::Password],
            response_types: Vec::new(),
            scope: Scope::default(),
            token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
            application_type: ApplicationType::Web,
            require_pkce: false,
            resource_server: false,
            openid: Box::default(),
        };
        let at = log.clock.now();
        log.client(ClientCommand::Register {
            metadata,
            secret: Some(hash(0)),
            owner: None,
            registration_access_token: None,
            widest: None,
            by: Author::Operator,
            at,
        })
        .await;
        log.user(UserCommand::Register { at }).await;
        log
    }

    async fn client(&self, command: ClientCommand) {
        self.store.execute::<Client>(&CLIENT.to_string(), command, &by()).await.expect("executed");
    }

    async fn user(&self, command: UserCommand) {
        self.store.execute::<User>(&USER.to_string(), command, &by()).await.expect("executed");
    }

    /// As any node gives it that believes the client and the user to be enabled.
    async fn open(&self, number: u128) -> GrantId {
        self.open_in(number, None, "").await
    }

    async fn open_in(&self, number: u128, session_id: Option<SessionId>, scope: &str) -> GrantId {
        let (id, at) = (GrantId(Uuid::from_u128(100 + number)), self.clock.now());
        let expires_at = at.plus_seconds(600);
        let command = GrantCommand::Open(OpenGrant {
            grant_type: GrantType::Password,
            client_id: CLIENT,
            user_id: Some(USER),
            session_id,
            scope: Scope::parse(scope).expect("a scope"),
            access_token: NewAccessToken { hash: hash(number), expires_at },
            refresh_token: None,
            expires_at,
            at,
            authentication: None,
            consent: None,
        });
        self.store.create::<Grant>(&id.to_string(), command, &by()).await.expect("opened");
        id
    }

    async fn start_session(&self, number: u128) -> SessionId {
        let (id, at) = (SessionId(Uuid::from_u128(number)), self.clock.now());
        let (amr, expires_at) = (Vec::new(), at.plus_seconds(600));
        let command = SessionCommand::Start { user_id: USER, cookie: hash(number), amr, expires_at, at };
        self.store.create::<Session>(&id.to_string(), command, &by()).await.expect("started");
        id
    }

    async fn is_signed_in(&self, id: SessionId) -> bool {
        let session = self.store.load::<Session>(&id.to_string()).await.expect("loaded").aggregate;
        matches!(session.stage(), grantlog_domain::session::Stage::Started(_))
    }

    async fn stands(&self, id: GrantId) -> bool {
        let grant = self.store.load::<Grant>(&id.to_string()).await.expect("loaded").aggregate;
        matches!(grant.stage(), Stage::Open(_))
    }

    /// Lets the table of grants come to the end of the log, and what follows be done.
    async fn follow(&self) {
        let (db, now) = (self.store.log(), self.clock.clone());
        let projector = Projector::start(db, &Wake::new(db), ProjectorOptions::new(Now::new(move || now.now())));
        loop {
            let status = status::read(db, self.clock.now()).await.expect("a status");
            if status.tables.iter().all(|table| table.lag_events == 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        projector.stop().await;
        step(&self.store, true).await.expect("a step");
    }
}

fn by() -> CommandContext {
    CommandContext { actor: Actor::System, request_id: None, correlation: None, source_address: None }
}

fn hash(number: u128) -> SecretHash {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(&number.to_be_bytes());
    SecretHash { pepper: 1, digest }
}

#[tokio::test]
async fn what_a_node_gives_while_the_client_is_disabled_does_not_come_back_with_it() {
    let log = Log::new().await;
    let at = log.clock.now();
    let before = log.open(1).await;
    log.client(ClientCommand::Disable { by: Author::Operator, at }).await;
    log.follow().await;
    assert!(!log.stands(before).await);
    let meanwhile = log.open(2).await;
    log.client(ClientCommand::Enable { by: Author::Operator, at }).await;
    let after = log.open(3).await;
    log.follow().await;
    assert!(!log.stands(meanwhile).await);
    assert!(log.stands(after).await, "given to a client that is enabled");
}

#[tokio::test]
async fn what_a_node_gives_while_the_user_is_disabled_does_not_come_back_with_them() {
    let log = Log::new().await;
    let at = log.clock.now();
    // All of it between two looks.
    let before = log.open(1).await;
    log.user(UserCommand::Disable { at }).await;
    let meanwhile = log.open(2).await;
    log.user(UserCommand::Enable { at }).await;
    let after = log.open(3).await;
    log.follow().await;
    assert!(!log.stands(before).await && !log.stands(meanwhile).await);
    assert!(log.stands(after).await);
}

#[tokio::test]
async fn the_sessions_of_a_disabled_user_end_and_those_of_afterwards_do_not() {
    let log = Log::new().await;
    let at = log.clock.now();
    let before = log.start_session(1).await;
    log.user(UserCommand::Disable { at }).await;
    let meanwhile = log.start_session(2).await;
    log.user(UserCommand::Enable { at }).await;
    let after = log.start_session(3).await;
    log.follow().await;
    assert!(!log.is_signed_in(before).await && !log.is_signed_in(meanwhile).await);
    assert!(log.is_signed_in(after).await);
}

#[tokio::test]
async fn what_belongs_to_a_session_ends_with_it() {
    // OpenID Connect Back-Channel Logout 2.7.
    let log = Log::new().await;
    let (one, other) = (log.start_session(1).await, log.start_session(2).await);
    let online = log.open_in(1, Some(one), "openid profile").await;
    let offline = log.open_in(2, Some(one), "openid offline_access").await;
    let plain = log.open_in(3, Some(one), "profile").await;
    let elsewhere = log.open_in(4, Some(other), "openid").await;
    let end = SessionCommand::End { reason: EndReason::SignedOut, at: log.clock.now() };
    log.store.execute::<Session>(&one.to_string(), end, &by()).await.expect("ended");
    log.follow().await;
    assert!(!log.stands(online).await);
    assert!(log.stands(offline).await && log.stands(plain).await && log.stands(elsewhere).await);
}

#[tokio::test]
async fn a_damaged_grant_does_not_stop_what_follows() {
    let log = Log::new().await;
    let at = log.clock.now();
    let (damaged, other) = (log.open(1).await, log.open(2).await);
    let session = log.start_session(10).await;
    let sql = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, mac) \
               VALUES ('grant', $1, 2, 'grant.refreshed', '1.0', '7', '{}', '')";
    log.store.db().execute(sql, &[damaged.to_string().into()]).await.expect("a row that no Grantlog writes");
    log.user(UserCommand::Disable { at }).await;
    log.follow().await;
    assert!(!log.stands(other).await && !log.is_signed_in(session).await);
    // Over its own events as well.
    log.follow().await;
    assert_eq!(standing(&log.store, at.plus_seconds(60)).await.expect("read").lag_seconds, 0);
    // And it went on from there.
    log.user(UserCommand::Enable { at }).await;
    let later = log.open(3).await;
    log.client(ClientCommand::Disable { by: Author::Operator, at }).await;
    log.follow().await;
    assert!(!log.stands(later).await);
}
