//! A client's page, for its owner only: how to use it, its settings, its secret, and what happened to it.

use std::sync::Arc;

use askama::Template;
use form_urlencoded::Serializer;
use grantlog_domain::ClientId;
use grantlog_domain::client::{
    Author, Client, ClientCommand, ClientError, ClientMetadata, GrantType, TokenEndpointAuthMethod,
};
use grantlog_domain::grant::RevocationReason;
use grantlog_projections::feed::stream;
use grantlog_projections::live::LiveClient;
use grantlog_projections::tables::grants::GrantsOf;
use http::StatusCode;
use warp::reply::Response;

use super::chrome::Chrome;
use super::client_form::{self, ClientForm};
use super::create_client::secret_page;
use super::failure::PageError;
use super::further;
use super::start_login;
use super::visit::{SignedIn, Visit};
use super::words::{self, Line};
use crate::config::Issuer;
use crate::standing;
use crate::store::ExecuteError;

/// Most events of a client that are shown, the newest.
const EVENTS_MAX: i64 = 20;

#[derive(Template)]
#[template(path = "client.html")]
pub(super) struct ClientPage {
    pub chrome: Chrome,
    pub client_name: String,
    pub client_id: String,
    pub disabled: bool,
    /// Then only an operator enables it.
    pub disabled_by_operator: bool,
    pub confidential: bool,
    pub saved: bool,
    pub examples: Vec<Example>,
    /// Where a login at the client begins.
    pub start_login: Option<String>,
    pub form: ClientForm,
    pub lines: Vec<Line>,
}

/// Something to copy.
pub(super) struct Example {
    pub title: &'static str,
    pub text: String,
    pub hint: Option<&'static str>,
}

/// What a button on the page does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    RotateSecret,
    Disable,
    Enable,
    Delete,
}

impl Change {
    /// The change that the last part of a path names.
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "rotate_secret" => Some(Self::RotateSecret),
            "disable" => Some(Self::Disable),
            "enable" => Some(Self::Enable),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// The client, when it is that user's. Somebody else's looks like one that does not exist.
async fn own(visit: &Visit, session: &SignedIn, id: ClientId) -> Result<Arc<LiveClient>, PageError> {
    let client = standing::client(&visit.app, id).await?.filter(|client| client.owner == Some(session.user_id));
    client.ok_or(PageError::NotFound)
}

pub async fn show(visit: &Visit, id: ClientId) -> Result<Response, PageError> {
    let client = own(visit, &visit.user()?, id).await?;
    page(visit, StatusCode::OK, &client, ClientForm::of(&client.metadata)).await
}

async fn page(
    visit: &Visit,
    status: StatusCode,
    client: &LiveClient,
    mut form: ClientForm,
) -> Result<Response, PageError> {
    form.offer_what_users_may(Some(&*client.metadata));
    let chrome = visit.chrome("").await?;
    let events = stream::newest(visit.app.store.log(), "client", &client.id.to_string(), EVENTS_MAX).await?;
    let view = ClientPage {
        chrome: chrome.clone(),
        client_name: client.metadata.client_name.clone(),
        client_id: client.id.to_string(),
        disabled: !client.is_enabled(),
        disabled_by_operator: client.disabled_by == Some(Author::Operator),
        confidential: client.metadata.has_secret(),
        saved: visit.parameters.get("saved").is_some(),
        examples: examples(&visit.app.settings.issuer, client.id, &client.metadata),
        start_login: start_login::link(
            &visit.app.settings.issuer,
            &client.metadata,
            chrome.user.as_deref(),
            client.metadata.client_uri.as_deref(),
        )
        .filter(|_| client.is_enabled()),
        form,
        lines: events.iter().rev().map(|event| words::of_client(event, &client.metadata.client_name)).collect(),
    };
    Ok(chrome.page(status, &view))
}

pub async fn update(visit: &Visit, id: ClientId) -> Result<Response, PageError> {
    visit.check_form()?;
    let session = visit.user()?;
    let client = own(visit, &session, id).await?;
    let mut form = ClientForm::read(&visit.parameters);
    let Some(metadata) = form.update() else {
        return page(visit, StatusCode::UNPROCESSABLE_ENTITY, &client, form).await;
    };
    let metadata = with_the_rest(metadata, &client.metadata);
    let app = &visit.app;
    app.own_clients().count(session.user_id, app.now()).map_err(PageError::TooMany)?;
    if let Err((field, why)) = further::check(app, &metadata, Some(&*client.metadata)).await {
        form.complain(field, &why);
        return page(visit, StatusCode::UNPROCESSABLE_ENTITY, &client, form).await;
    }
    // One that becomes confidential gets its secret here.
    let minted = match metadata.needs_new_secret(&client.metadata) {
        true => Some(app.vault.mint_client_secret(id, &metadata).await?),
        false => None,
    };
    let secret = minted.as_ref().map(|(_, hash)| *hash);
    let command = ClientCommand::Update {
        metadata: metadata.clone(),
        secret,
        vouch: false,
        widest: Some(app.settings.clients.user_scope.clone()),
        by: Author::User,
        at: app.now(),
    };
    let by = visit.by_user(session.user_id, Some(session.session_id.to_string()));
    match app.store.execute::<Client>(&id.to_string(), command, &by).await {
        Ok(_) => match &minted {
            Some((secret, _)) => {
                secret_page(visit, "The client has a secret now", id, &metadata.client_name, Some(secret)).await
            }
            None => Ok(visit.chrome("").await?.redirect(&format!("/clients/{id}?saved=yes"))),
        },
        Err(ExecuteError::Refused(refusal)) => {
            form.refuse(refusal);
            page(visit, StatusCode::UNPROCESSABLE_ENTITY, &client, form).await
        }
        Err(error) => Err(PageError::not_executed(error, refused)),
    }
}

/// What the form does not ask stays as it was.
fn with_the_rest(metadata: ClientMetadata, before: &ClientMetadata) -> ClientMetadata {
    let metadata = metadata.normalized();
    let same = metadata.grant_types == before.grant_types;
    let response_types = if same { before.response_types.clone() } else { metadata.response_types };
    ClientMetadata { response_types, ..metadata }
}

pub async fn change(visit: &Visit, id: ClientId, change: Change) -> Result<Response, PageError> {
    visit.check_form()?;
    let session = visit.user()?;
    let client = own(visit, &session, id).await?;
    let (app, at) = (&visit.app, visit.app.now());
    // What only takes something away is never too much.
    if matches!(change, Change::RotateSecret | Change::Enable) {
        app.own_clients().count(session.user_id, at).map_err(PageError::TooMany)?;
    }
    let minted = match change {
        Change::RotateSecret => Some(app.vault.mint_client_secret(id, &client.metadata).await?),
        Change::Disable | Change::Enable | Change::Delete => None,
    };
    let command = match (change, &minted) {
        (Change::RotateSecret, Some((_, hash))) => ClientCommand::RotateSecret { secret: *hash, by: Author::User, at },
        (Change::Delete, _) => ClientCommand::Delete { by: Author::User, at },
        (Change::Enable, _) => ClientCommand::Enable { by: Author::User, at },
        (Change::Disable | Change::RotateSecret, _) => ClientCommand::Disable { by: Author::User, at },
    };
    let by = visit.by_user(session.user_id, Some(session.session_id.to_string()));
    if change == Change::Enable && client.disabled_by == Some(Author::User) {
        // What a node that had not heard of the disabling yet gave meanwhile must not come back with the client.
        app.store.end_grants(GrantsOf::Client(id), RevocationReason::ClientDisabled, &by).await?;
    }
    let executed = app.store.execute::<Client>(&id.to_string(), command, &by).await;
    executed.map_err(|error| PageError::not_executed(error, refused))?;
    match &minted {
        Some((secret, _)) => {
            secret_page(visit, "The client has a new secret", id, &client.metadata.client_name, Some(secret)).await
        }
        None if change == Change::Delete => Ok(visit.chrome("").await?.redirect("/")),
        None => Ok(visit.chrome("").await?.redirect(&format!("/clients/{id}?saved=yes"))),
    }
}

fn refused(refusal: ClientError) -> PageError {
    match refusal {
        ClientError::NotFound | ClientError::Deleted => PageError::NotFound,
        ClientError::DisabledByOperator => PageError::Denied(client_form::sentence(&refusal).into()),
        other => PageError::Request(format!("{other}.").into()),
    }
}

/// How a developer begins with this client.
fn examples(issuer: &Issuer, id: ClientId, metadata: &ClientMetadata) -> Vec<Example> {
    let mut examples = Vec::new();
    let redirect_uri = metadata.redirect_uris.first().map(|uri| uri.as_str());
    let scope = metadata.scope.to_string();
    if let Some(redirect_uri) = redirect_uri.filter(|_| metadata.allows(GrantType::AuthorizationCode)) {
        let mut query = Serializer::new(String::new());
        query.append_pair("response_type", "code").append_pair("client_id", &id.to_string());
        query.append_pair("redirect_uri", redirect_uri).append_pair("scope", &scope);
        query.append_pair("state", "STATE").append_pair("code_challenge", "CHALLENGE");
        query.append_pair("code_challenge_method", "S256");
        examples.push(Example {
            title: "Send people here",
            text: issuer.url(&format!("/oauth/authorize?{}", query.finish())),
            hint: Some(
                "STATE is random for each request; CHALLENGE is BASE64URL(SHA256(VERIFIER)), VERIFIER random (RFC 7636).",
            ),
        });
        examples.push(Example {
            title: "Exchange the code that comes back",
            text: curl(
                issuer,
                id,
                metadata,
                &[
                    ("grant_type", "authorization_code"),
                    ("code", "CODE"),
                    ("redirect_uri", redirect_uri),
                    ("code_verifier", "VERIFIER"),
                ],
            ),
            hint: None,
        });
    }
    if metadata.allows(GrantType::ClientCredentials) {
        examples.push(Example {
            title: "Get a token for the client itself",
            text: curl(issuer, id, metadata, &[("grant_type", "client_credentials"), ("scope", &scope)]),
            hint: None,
        });
    }
    examples
}

/// A command for a shell; values are in single quotes, in which nothing has a meaning, and hold none themselves.
fn curl(issuer: &Issuer, id: ClientId, metadata: &ClientMetadata, fields: &[(&str, &str)]) -> String {
    let mut command = "curl".to_owned();
    let id = id.to_string();
    let mut fields = fields.to_vec();
    match metadata.token_endpoint_auth_method {
        TokenEndpointAuthMethod::ClientSecretBasic => command.push_str(&format!(" -u '{id}:SECRET'")),
        TokenEndpointAuthMethod::ClientSecretPost => fields.extend([("client_id", &*id), ("client_secret", "SECRET")]),
        TokenEndpointAuthMethod::ClientSecretJwt | TokenEndpointAuthMethod::PrivateKeyJwt => fields.extend([
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", "ASSERTION"),
        ]),
        TokenEndpointAuthMethod::None => fields.push(("client_id", &id)),
    }
    command.push_str(&format!(" {}", issuer.url("/oauth/token")));
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        command.push_str(&format!(" --data-urlencode '{name}={}'", value.replace('\'', r"'\''")));
    }
    command
}
