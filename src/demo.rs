//! What `--demo` adds: a client whose secret everybody may see.
//!
//! Only on loopback addresses (`config` refuses anything else). Not here: the pages of the demo (`pages::demo`), and
//! its users, who come to be when they are named (`sign_in`).

use grantlog_domain::client::{
    ApplicationType, Author, Client, ClientCommand, ClientError, ClientMetadata, GrantType, ResponseType, Stage,
    TokenEndpointAuthMethod,
};
use grantlog_domain::redirect_uri::RedirectUriError;
use grantlog_domain::{Actor, ClientId, RedirectUri, Scope, SecretHash};
use uuid::Uuid;

use crate::app::App;
use crate::secrets::{Kind, Secret};
use crate::sign_in::DEMO_PASSWORD;
use crate::store::{CommandContext, ExecuteError};

/// As consent and home show it.
pub const CLIENT_NAME: &str = "Demo client";
/// Where the demo client gets its answers, on this server.
pub const CALLBACK: &str = "/demo/callback";

/// The same in every demo, so that a second start finds the client of the first.
const CLIENT_ID: ClientId = ClientId(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_de30));

/// Why the demo could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the demo's redirect URI: {0}")]
    RedirectUri(#[from] RedirectUriError),
    #[error(transparent)]
    Client(#[from] ExecuteError<ClientError>),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// `client_id` of the demo client.
pub const fn client_id() -> ClientId {
    CLIENT_ID
}

/// Its secret: the same as long as the pepper stays, so that it can be shown at every start.
pub fn client_secret(app: &App) -> Secret<String> {
    secret(app).0
}

fn secret(app: &App) -> (Secret<String>, SecretHash) {
    app.secrets.mint_derived(Kind::ClientSecret, CLIENT_ID.0, b"demo")
}

/// A line for a terminal that gets a token as it stands.
pub fn curl_line(app: &App) -> String {
    format!(
        "curl -u {CLIENT_ID}:{} -XPOST {} -F grant_type=password -F username=ann -F password={DEMO_PASSWORD} -F scope=profile",
        client_secret(app).expose(),
        app.settings.issuer.url("/oauth/token")
    )
}

/// Makes the demo client, or brings the one of an earlier demo up to date. Done at every start, before the first
/// request.
///
/// # Errors
/// See [`DemoError`].
pub async fn set_up(app: &App) -> Result<(), DemoError> {
    let metadata = metadata(app)?;
    let (_, secret) = secret(app);
    let by = CommandContext { actor: Actor::System, request_id: None, correlation: None, source_address: None };
    let (id, at) = (CLIENT_ID.to_string(), app.now());
    let stored = app.store.load::<Client>(&id).await?;
    let Some(registration) = stored.aggregate.registration() else {
        let command = ClientCommand::Register {
            metadata,
            secret: Some(secret),
            owner: None,
            registration_access_token: None,
            by: Author::Operator,
            at,
        };
        app.store.create::<Client>(&id, command, &by).await?;
        return Ok(());
    };
    // A new pepper, or an operator, gave it another secret.
    let rotated = (registration.secret != Some(secret)).then_some(secret);
    app.store
        .execute::<Client>(
            &id,
            ClientCommand::Update { metadata, secret: rotated, vouch: false, by: Author::Operator, at },
            &by,
        )
        .await?;
    app.store.execute::<Client>(&id, ClientCommand::Enable { by: Author::Operator, at }, &by).await?;
    Ok(())
}

/// Without `--demo`: disables the client of an earlier demo on this database, whose secret may be known to anybody.
///
/// # Errors
/// See [`DemoError`].
pub async fn take_down(app: &App) -> Result<(), DemoError> {
    let id = CLIENT_ID.to_string();
    let client = app.store.load::<Client>(&id).await?.aggregate;
    if !matches!(client.stage(), Stage::Enabled(_)) {
        return Ok(());
    }
    tracing::warn!(client_id = id, "this database was a demo's: its client is disabled now");
    let by = CommandContext { actor: Actor::System, request_id: None, correlation: None, source_address: None };
    app.store.execute::<Client>(&id, ClientCommand::Disable { by: Author::Operator, at: app.now() }, &by).await?;
    Ok(())
}

fn metadata(app: &App) -> Result<ClientMetadata, DemoError> {
    let scope = Scope::parse("profile").unwrap_or_default();
    Ok(ClientMetadata {
        client_name: CLIENT_NAME.to_owned(),
        client_uri: None,
        redirect_uris: vec![RedirectUri::register(&app.settings.issuer.url(CALLBACK), false)?],
        grant_types: vec![
            GrantType::AuthorizationCode,
            GrantType::Implicit,
            GrantType::Password,
            GrantType::ClientCredentials,
            GrantType::RefreshToken,
        ],
        response_types: vec![ResponseType::Code, ResponseType::Token],
        scope,
        token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
        application_type: ApplicationType::Web,
        require_pkce: false,
        resource_server: false,
        openid: Box::default(),
    })
}
