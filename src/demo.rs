//! What `--demo` adds: a client whose secret everybody may see, and the rule that such a database is never a real one.
//!
//! Only on loopback addresses (`config` refuses anything else). Not here: the pages of the demo (`pages::demo`), and
//! its users, who come to be when they are named (`sign_in`).

use grantlog_domain::client::{
    ApplicationType, Author, Client, ClientCommand, ClientError, ClientMetadata, GrantType, ResponseType, Stage,
    TokenEndpointAuthMethod,
};
use grantlog_domain::grant::RevocationReason;
use grantlog_domain::redirect_uri::RedirectUriError;
use grantlog_domain::session::EndReason;
use grantlog_domain::{Actor, ClientId, RedirectUri, Scope, SecretHash, Timestamp};
use grantlog_projections::tables::grants::GrantsOf;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::secrets::{Kind, Secret};
use crate::sign_in::DEMO_PASSWORD;
use crate::store::{CommandContext, EndingError, ExecuteError, Purpose, Signs, Store, StoreError};

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
    Store(#[from] StoreError),
    #[error(transparent)]
    Ending(#[from] EndingError),
    #[error(transparent)]
    Purpose(#[from] PurposeError),
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

/// What is told of a user of that name in a demo: something for every claim, so that whoever tries a client sees what each
/// scope opens. None of it is anybody's.
#[must_use]
pub fn claims(username: &str, at: Timestamp) -> Map<String, Value> {
    let letters: String = username.chars().filter(char::is_ascii_alphanumeric).collect();
    let mailbox = if letters.is_empty() { "somebody".to_owned() } else { letters.to_lowercase() };
    let claims = json!({
        "name": format!("{} Demo", username.trim()),
        "given_name": username.trim(),
        "middle_name": "Example",
        "family_name": "Demo",
        "nickname": username.trim(),
        "profile": "https://example.com/profile",
        "picture": "https://example.com/picture.png",
        "website": "https://example.com/",
        "gender": "not told",
        "birthdate": "2000-01-01",
        "zoneinfo": "Etc/UTC",
        "locale": "en",
        "updated_at": at,
        "email": format!("{mailbox}@example.com"),
        "email_verified": true,
        "address": { "formatted": "1 Example Street, Example", "street_address": "1 Example Street",
                     "locality": "Example", "country": "Example" },
        "phone_number": "+1 555 0100",
        "phone_number_verified": true,
    });
    if let Value::Object(claims) = claims { claims } else { Map::new() }
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
            widest: None,
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
            ClientCommand::Update { metadata, secret: rotated, vouch: false, widest: None, by: Author::Operator, at },
            &by,
        )
        .await?;
    app.store.execute::<Client>(&id, ClientCommand::Enable { by: Author::Operator, at }, &by).await?;
    Ok(())
}

/// Why a database is not served as what was asked for.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PurposeError {
    #[error(
        "this is a real database, and a demo lets anybody in as anybody: give the demo one of its own (it makes \
         grantlog-demo.db when no other is named)"
    )]
    Real,
    #[error(
        "this is a demo's database, in which anybody was let in as anybody: serve it with --demo, or name another one"
    )]
    Demo,
    #[error(
        "a demo was served from this database, and anybody was let in as anybody. If it is real nevertheless: grantlog migrate \
         --mark real, which disables the demo's client and ends every session and grant. If not: grantlog migrate --mark demo"
    )]
    Undecided,
    #[error("this database is marked as {0} for good")]
    Marked(&'static str),
    #[error("this database was in real use: it cannot become a demo's")]
    InUse,
}

/// Lets a database be served as what it is. A new one becomes what it is served as; one of an earlier release is a demo's
/// when a demo was served from it and nobody has a password there.
///
/// # Errors
/// [`DemoError::Purpose`] when it is served as the other.
pub async fn admit(store: &Store, asked: Purpose) -> Result<(), DemoError> {
    let purpose = match store.purpose().await? {
        Some(purpose) => purpose,
        None => match (store.signs(CLIENT_ID).await?, asked) {
            (Signs::New, asked) => store.mark(asked).await?,
            (Signs::Real, _) => store.mark(Purpose::Real).await?,
            (Signs::Demo { passwords: false }, Purpose::Demo) => store.mark(Purpose::Demo).await?,
            (Signs::Demo { .. }, _) => return Err(PurposeError::Undecided.into()),
        },
    };
    match (purpose, asked) {
        (Purpose::Real, Purpose::Demo) => Err(PurposeError::Real.into()),
        (Purpose::Demo, Purpose::Real) => Err(PurposeError::Demo.into()),
        (Purpose::Demo, Purpose::Demo) | (Purpose::Real, Purpose::Real) => Ok(()),
    }
}

/// Marks a database as its operator says. A demo's that becomes real loses what anybody may have been given in it: its
/// client, every session, every grant.
///
/// # Errors
/// [`DemoError::Purpose`] when it is marked as the other already, or real users would become a demo's.
pub async fn mark(store: &Store, purpose: Purpose, at: Timestamp, by: &CommandContext) -> Result<(), DemoError> {
    match (store.purpose().await?, store.signs(CLIENT_ID).await?, purpose) {
        (Some(marked), ..) if marked == purpose => return Ok(()),
        (Some(marked), ..) => return Err(PurposeError::Marked(marked.as_str()).into()),
        (None, Signs::Demo { passwords: true } | Signs::Real, Purpose::Demo) => {
            return Err(PurposeError::InUse.into());
        }
        (None, Signs::Demo { .. }, Purpose::Real) => end_everything(store, at, by).await?,
        (None, ..) => {}
    }
    match store.mark(purpose).await? {
        marked if marked == purpose => Ok(()),
        marked => Err(PurposeError::Marked(marked.as_str()).into()),
    }
}

async fn end_everything(store: &Store, at: Timestamp, by: &CommandContext) -> Result<(), DemoError> {
    let id = CLIENT_ID.to_string();
    if matches!(store.load::<Client>(&id).await?.aggregate.stage(), Stage::Enabled(_)) {
        store.execute::<Client>(&id, ClientCommand::Disable { by: Author::Operator, at }, by).await?;
    }
    store.end_grants(GrantsOf::Client(CLIENT_ID), RevocationReason::ClientDisabled, by).await?;
    for user_id in store.everybody().await?.iter().filter_map(|id| id.parse().ok()) {
        store.end_sessions(user_id, None, EndReason::Admin, by).await?;
        store.end_grants(GrantsOf::User(user_id), RevocationReason::Admin, by).await?;
    }
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
