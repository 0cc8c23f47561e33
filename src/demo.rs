//! The demo client of `serve --demo`: first-party, with every grant, the same at every start.

use std::io::IsTerminal;

use grantlog_domain::client::{
    ApplicationType, Client, ClientCommand, ClientError, ClientMetadata, GrantType, ResponseType, Stage,
    TokenEndpointAuthMethod,
};
use grantlog_domain::{Actor, ClientId, RedirectUri, Scope, SecretHash};

use crate::app::App;
use crate::config::Issuer;
use crate::secrets::{Kind, Secret, Secrets};
use crate::store::{CommandContext, ExecuteError, StoreError};

/// The demo client's id; fixed, so that a bookmark of the demo keeps working.
pub const DEMO_CLIENT_ID: ClientId = ClientId(uuid::uuid!("01980000-0000-7000-8000-00000000de30"));
/// The password that the password grant takes for any user name (`--demo` only).
pub const DEMO_PASSWORD: &str = "valid";

/// Why the demo client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot make the demo client: {0}")]
    Client(#[from] ExecuteError<ClientError>),
    #[error("cannot describe the demo client: {0}")]
    Metadata(String),
}

/// The demo client's secret: derived from the pepper, so that it is stored nowhere and is the same after a restart.
pub fn client_secret(secrets: &Secrets) -> Secret<String> {
    derived(secrets).0
}

/// Where the demo client is sent back to: a page of this server that shows what came.
pub fn redirect_uri(issuer: &Issuer) -> String {
    issuer.url("/demo/callback")
}

/// Makes the demo client, or brings it in line with this start's issuer and pepper.
///
/// # Errors
/// See [`DemoError`].
pub async fn ensure_client(app: &App) -> Result<(), DemoError> {
    let id = DEMO_CLIENT_ID.to_string();
    let context = CommandContext { actor: Actor::System, request_id: None, correlation: None, source_address: None };
    let (_, hash) = derived(&app.secrets);
    let metadata = metadata(&app.settings.issuer)?;
    let at = app.now();
    let client = app.store.load::<Client>(&id).await?.aggregate;
    let commands = match client.stage() {
        Stage::Absent => vec![ClientCommand::Register { metadata, secret: Some(hash), owner: None, at }],
        Stage::Enabled(registration) | Stage::Disabled(registration) => {
            let secret = (registration.secret.as_ref() != Some(&hash)).then_some(hash);
            vec![ClientCommand::Update { metadata, secret, at }, ClientCommand::Enable { at }]
        }
        // Nothing deletes a client by its own; what an operator deleted stays so.
        Stage::Deleted => Vec::new(),
    };
    for command in commands {
        app.store.execute::<Client>(&id, command, &context).await?;
    }
    Ok(())
}

/// What the terminal shows: the address, the demo client, and a line to paste.
pub fn banner(app: &App) -> String {
    let issuer = &app.settings.issuer;
    let secret = client_secret(&app.secrets);
    let (bold, plain) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let rule = "=".repeat(78);
    format!(
        "{rule}\n{bold}  DEMO: anybody signs in with any name. Never use it for anything real.{plain}\n{rule}\n\n  \
         Open            {bold}{issuer}/{plain}\n  Client id       {DEMO_CLIENT_ID}\n  Client secret   {}\n\n  \
         Or paste this:\n\n  curl -u {DEMO_CLIENT_ID}:{} -XPOST {issuer}/oauth/token \
         -F grant_type=password -F username=ann -F password={DEMO_PASSWORD} -F scope=profile\n",
        secret.expose(),
        secret.expose(),
    )
}

fn derived(secrets: &Secrets) -> (Secret<String>, SecretHash) {
    secrets.mint_derived(Kind::ClientSecret, DEMO_CLIENT_ID.0, b"demo client")
}

fn metadata(issuer: &Issuer) -> Result<ClientMetadata, DemoError> {
    let redirect_uri =
        RedirectUri::register(&redirect_uri(issuer), false).map_err(|error| DemoError::Metadata(error.to_string()))?;
    Ok(ClientMetadata {
        client_name: "Demo application".to_owned(),
        client_uri: None,
        redirect_uris: vec![redirect_uri],
        grant_types: vec![
            GrantType::AuthorizationCode,
            GrantType::Implicit,
            GrantType::Password,
            GrantType::ClientCredentials,
            GrantType::RefreshToken,
        ],
        response_types: vec![ResponseType::Code, ResponseType::Token],
        scope: Scope::parse("profile").map_err(|error| DemoError::Metadata(error.to_string()))?,
        token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
        application_type: ApplicationType::Web,
        require_pkce: false,
    })
}
