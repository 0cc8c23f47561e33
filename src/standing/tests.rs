//! A node whose models know nothing, beside a log that does: stale, it reads the log; fresh, it does not; stale and without
//! the log, it does not answer.

use std::collections::HashSet;

use grantlog_domain::client::{
    ApplicationType, Author, Client, ClientCommand, ClientMetadata, GrantType, TokenEndpointAuthMethod,
};
use grantlog_domain::grant::{Grant, GrantCommand, NewAccessToken, OpenGrant, RevocationReason};
use grantlog_domain::session::{EndReason, Session, SessionCommand};
use grantlog_domain::signing_key::{Algorithm, SigningKey, SigningKeyCommand};
use grantlog_domain::user::{User, UserCommand};
use grantlog_domain::{Actor, Scope};
use grantlog_projections::db::Db;
use serde_json::Map;
use tempfile::TempDir;

use super::*;
use crate::app::AppInner;
use crate::clock::Clock;
use crate::config::Settings;
use crate::entropy::Entropy;
use crate::secrets::Kind;
use crate::store::vault::Vault;
use crate::store::{CommandContext, Store, StoreOptions};

/// Nobody tells its live models anything, as on a node that the database's answers do not reach.
pub(crate) async fn node(max_staleness: Duration) -> (App, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (database, pepper) = (format!("sqlite:{}", path("test.db")), path("pepper"));
    let mut settings = Settings::with(&[("database", &database), ("pepper_file", &pepper)]).expect("settings");
    settings.store.max_staleness = max_staleness;
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let store = Store::open(&settings.database, StoreOptions::default(), clock.clone(), entropy).await.expect("opened");
    store.migrate(&mut |_| ()).await.expect("migrated");
    let secrets = store.open_secrets(&settings.pepper).await.expect("secrets");
    let vault = Vault::from_settings(&settings, store.db().clone(), secrets.clone(), clock.clone()).expect("a vault");
    (App::new(AppInner { settings, store, live: Live::new(), secrets, clock, vault }), folder)
}

pub(crate) fn by_system() -> CommandContext {
    CommandContext { actor: Actor::System, request_id: None, correlation: None, source_address: None }
}

macro_rules! execute {
    ($app:expr, $aggregate:ty, $id:expr, $command:expr) => {
        $app.store.execute::<$aggregate>(&$id.to_string(), $command, &by_system()).await.expect("executed")
    };
}

/// What somebody set up on another node, and what this one should say of it.
struct World {
    client: ClientId,
    user: UserId,
    session: SessionId,
    grant: GrantId,
    token: SecretHash,
}

impl World {
    async fn new(app: &App) -> Self {
        let (client, user, session) = (ClientId(app.new_id()), UserId(app.new_id()), SessionId(app.new_id()));
        let (grant, at) = (GrantId(app.new_id()), app.now());
        let later = at.plus_seconds(600);
        let hash = |kind| app.secrets.mint(kind, app.new_id()).1;
        let metadata = ClientMetadata {
            client_name: "Test".into(),
            client_uri: None,
            redirect_uris: Vec::new(),
            grant_types: vec![GrantType::ClientCredentials],
            response_types: Vec::new(),
            scope: Scope::parse("a").expect("a scope"),
            token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
            application_type: ApplicationType::Web,
            require_pkce: false,
            resource_server: false,
            openid: Box::default(),
        };
        let secret = Some(hash(Kind::ClientSecret));
        execute!(
            app,
            Client,
            client,
            ClientCommand::Register {
                metadata,
                secret,
                owner: None,
                registration_access_token: None,
                widest: None,
                by: Author::Operator,
                at
            }
        );
        execute!(app, User, user, UserCommand::Register { at });
        let start = SessionCommand::Start {
            user_id: user,
            cookie: hash(Kind::SessionCookie),
            amr: Vec::new(),
            expires_at: later,
            at,
        };
        execute!(app, Session, session, start);
        let token = hash(Kind::AccessToken);
        let open = OpenGrant {
            grant_type: GrantType::Password,
            client_id: client,
            user_id: Some(user),
            session_id: None,
            scope: Scope::parse("a").expect("a scope"),
            access_token: NewAccessToken { hash: token, expires_at: later },
            refresh_token: None,
            expires_at: later,
            at,
            authentication: None,
            consent: None,
        };
        execute!(app, Grant, grant, GrantCommand::Open(open));
        Self { client, user, session, grant, token }
    }

    async fn is_active(&self, app: &App) -> Result<bool, StoreError> {
        Ok(access_token(app, self.grant, &self.token).await?.is_some())
    }
}

#[tokio::test]
async fn a_stale_node_says_what_the_log_says() {
    let (app, _folder) = node(Duration::ZERO).await;
    let world = World::new(&app).await;
    let registered = client(&app, world.client).await.expect("read").expect("found");
    assert!(registered.is_enabled() && registered.secret.is_some());
    assert!(user_stands(&app, world.user).await.expect("read"));
    assert_eq!(session(&app, world.session).await.expect("read").expect("found").user_id, world.user);
    assert!(world.is_active(&app).await.expect("read"));

    let (at, id) = (app.now(), app.new_id());
    execute!(app, Session, world.session, SessionCommand::End { reason: EndReason::SignedOut, at });
    assert!(session(&app, world.session).await.expect("read").is_none());
    execute!(app, Client, world.client, ClientCommand::Disable { by: Author::Operator, at });
    assert!(!client(&app, world.client).await.expect("read").expect("found").is_enabled());
    assert!(!world.is_active(&app).await.expect("read"), "its client is disabled");
    execute!(app, Client, world.client, ClientCommand::Enable { by: Author::Operator, at });
    assert!(world.is_active(&app).await.expect("read"));
    execute!(app, User, world.user, UserCommand::Disable { at });
    assert!(!user_stands(&app, world.user).await.expect("read"));
    assert!(!world.is_active(&app).await.expect("read"), "its user is disabled");
    execute!(app, User, world.user, UserCommand::Enable { at });
    execute!(app, Grant, world.grant, GrantCommand::Revoke { reason: RevocationReason::Admin, at });
    assert!(!world.is_active(&app).await.expect("read"), "revoked");
    let made = app.vault.create_signing_key(Algorithm::ES256, None).await.expect("a key");
    let (alg, public_jwk) = (Algorithm::ES256, made.public_jwk.clone());
    execute!(app, SigningKey, made.key_id, SigningKeyCommand::Create { alg, public_jwk, at });
    assert_eq!(keys(&app).await.expect("read").len(), 1);
    // Others are none of this server's, whatever is said of them: unknown to the vault, or with another public half.
    execute!(app, SigningKey, id, SigningKeyCommand::Create { alg, public_jwk: made.public_jwk, at });
    let other = app.vault.create_signing_key(alg, Some(&made.key_id)).await.expect("a key");
    let public_jwk = Map::from_iter([("kty".to_owned(), "EC".into())]);
    execute!(app, SigningKey, other.key_id, SigningKeyCommand::Create { alg, public_jwk, at });
    assert_eq!(keys(&app).await.expect("read").iter().map(|key| &key.id).collect::<Vec<_>>(), [&made.key_id]);
    execute!(app, SigningKey, made.key_id, SigningKeyCommand::Revoke { at });
    assert!(keys(&app).await.expect("read").is_empty());
}

#[tokio::test]
async fn a_stale_node_without_the_log_says_nothing() {
    let (app, _folder) = node(Duration::ZERO).await;
    let world = World::new(&app).await;
    let Db::Sqlite { read, .. } = app.store.db() else { panic!("SQLite") };
    read.close().await;
    let outcomes = [
        client(&app, world.client).await.map(|_| ()),
        user_stands(&app, world.user).await.map(|_| ()),
        parties_stand(&app, world.client, None).await.map(|_| ()),
        session(&app, world.session).await.map(|_| ()),
        world.is_active(&app).await.map(|_| ()),
        keys(&app).await.map(|_| ()),
    ];
    let unavailable = |outcome: &Result<(), StoreError>| match outcome {
        Err(StoreError::Database(error)) => error.is_unavailable(),
        _ => false,
    };
    assert!(outcomes.iter().all(unavailable), "{outcomes:?}");
}

#[tokio::test]
async fn a_fresh_node_asks_its_memory_only() {
    let (app, _folder) = node(Duration::from_secs(3600)).await;
    let world = World::new(&app).await;
    let Db::Sqlite { read, .. } = app.store.db() else { panic!("SQLite") };
    read.close().await;
    let known = HashSet::from([
        client(&app, world.client).await.expect("no question to the log").is_some(),
        user_stands(&app, world.user).await.expect("no question to the log"),
        session(&app, world.session).await.expect("no question to the log").is_some(),
        world.is_active(&app).await.expect("no question to the log"),
        !keys(&app).await.expect("no question to the log").is_empty(),
    ]);
    assert_eq!(known, HashSet::from([false]), "nobody has told it anything");
}
