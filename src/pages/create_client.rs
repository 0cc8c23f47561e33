//! Creating a client, and the page that shows a secret: once, in the answer that made it.

use askama::Template;
use grantlog_domain::client::{Author, Client, ClientCommand, check_limits};
use grantlog_domain::{ClientId, UserId};
use grantlog_projections::tables::clients;
use http::StatusCode;
use warp::reply::Response;

use super::chrome::Chrome;
use super::client_form::ClientForm;
use super::failure::PageError;
use super::further;
use super::settled::settled;
use super::visit::Visit;
use crate::secrets::Secret;
use crate::store::ExecuteError;

#[derive(Template)]
#[template(path = "create_client.html")]
pub(super) struct CreateClientPage {
    pub chrome: Chrome,
    pub form: ClientForm,
}

#[derive(Template)]
#[template(path = "client_secret.html")]
pub(super) struct ClientSecretPage<'a> {
    pub chrome: Chrome,
    pub title: &'static str,
    pub client_name: &'a str,
    pub client_id: String,
    /// Shown here and never again.
    pub client_secret: Option<&'a str>,
}

/// Whether users make clients here, and how to get one otherwise.
fn check_made_by_users(visit: &Visit) -> Result<(), PageError> {
    if visit.app.settings.clients.made_by_users {
        return Ok(());
    }
    let why = "Users do not make clients on this server. Ask whoever operates it: they make one with `grantlog client create`.";
    Err(PageError::Denied(why.into()))
}

/// Whether the user has room for one more, as far as the tables have come.
async fn check_room(visit: &Visit, owner: UserId) -> Result<(), PageError> {
    settled(&visit.app).await?;
    let most = visit.app.settings.clients.per_user;
    if clients::count(visit.app.store.db(), owner).await? < i64::from(most) {
        return Ok(());
    }
    let why = format!("You have {most} clients, and no user has more here. Delete one that you do not need.");
    Err(PageError::Denied(why.into()))
}

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    visit.user()?;
    check_made_by_users(visit)?;
    page(visit, StatusCode::OK, ClientForm::empty()).await
}

async fn page(visit: &Visit, status: StatusCode, mut form: ClientForm) -> Result<Response, PageError> {
    form.offer_what_users_may(None);
    let chrome = visit.chrome("/create_client").await?;
    Ok(chrome.page(status, &CreateClientPage { chrome: chrome.clone(), form }))
}

pub async fn submit(visit: &Visit) -> Result<Response, PageError> {
    visit.check_form()?;
    let session = visit.user()?;
    check_made_by_users(visit)?;
    let mut form = ClientForm::read(&visit.parameters);
    let Some(metadata) = form.register() else {
        return page(visit, StatusCode::UNPROCESSABLE_ENTITY, form).await;
    };
    let app = &visit.app;
    if let Err((field, why)) = further::check(app, &metadata, None).await {
        form.complain(field, &why);
        return page(visit, StatusCode::UNPROCESSABLE_ENTITY, form).await;
    }
    if let Err(refusal) = check_limits(&metadata, Author::User, Some(&app.settings.clients.user_scope), None) {
        form.refuse(refusal);
        return page(visit, StatusCode::UNPROCESSABLE_ENTITY, form).await;
    }
    check_room(visit, session.user_id).await?;
    app.own_clients().count(session.user_id, app.now()).map_err(PageError::TooMany)?;
    let client_id = ClientId(app.new_id());
    let minted = match metadata.has_secret() {
        true => Some(app.vault.mint_client_secret(client_id, &metadata).await?),
        false => None,
    };
    let command = ClientCommand::Register {
        metadata: metadata.clone(),
        secret: minted.as_ref().map(|(_, hash)| *hash),
        owner: Some(session.user_id),
        registration_access_token: None,
        widest: Some(app.settings.clients.user_scope.clone()),
        by: Author::User,
        at: app.now(),
    };
    let by = visit.by_user(session.user_id, Some(session.session_id.to_string()));
    match app.store.create::<Client>(&client_id.to_string(), command, &by).await {
        Ok(_) => {
            let secret = minted.as_ref().map(|(secret, _)| secret);
            secret_page(visit, "The client is ready", client_id, &metadata.client_name, secret).await
        }
        Err(ExecuteError::Refused(refusal)) => {
            form.refuse(refusal);
            page(visit, StatusCode::UNPROCESSABLE_ENTITY, form).await
        }
        Err(error) => Err(PageError::not_executed(error, |refusal| PageError::Fault(refusal.to_string()))),
    }
}

/// The only page that shows a client's secret.
pub(super) async fn secret_page(
    visit: &Visit,
    title: &'static str,
    client_id: ClientId,
    client_name: &str,
    secret: Option<&Secret<String>>,
) -> Result<Response, PageError> {
    let chrome = visit.chrome("").await?;
    let view = ClientSecretPage {
        chrome: chrome.clone(),
        title,
        client_name,
        client_id: client_id.to_string(),
        client_secret: secret.map(|secret| secret.expose().as_str()),
    };
    Ok(chrome.page(StatusCode::OK, &view))
}
