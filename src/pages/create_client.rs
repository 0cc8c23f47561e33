//! Creating a client, and the page that shows a secret: once, in the answer that made it.

use askama::Template;
use grantlog_domain::ClientId;
use grantlog_domain::client::{Author, Client, ClientCommand};
use http::StatusCode;
use warp::reply::Response;

use super::chrome::Chrome;
use super::client_form::ClientForm;
use super::failure::PageError;
use super::further;
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

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    visit.user()?;
    page(visit, StatusCode::OK, ClientForm::empty()).await
}

async fn page(visit: &Visit, status: StatusCode, form: ClientForm) -> Result<Response, PageError> {
    let chrome = visit.chrome("/create_client").await?;
    Ok(chrome.page(status, &CreateClientPage { chrome: chrome.clone(), form }))
}

pub async fn submit(visit: &Visit) -> Result<Response, PageError> {
    visit.check_form()?;
    let session = visit.user()?;
    let mut form = ClientForm::read(&visit.parameters);
    let Some(metadata) = form.register() else {
        return page(visit, StatusCode::UNPROCESSABLE_ENTITY, form).await;
    };
    let app = &visit.app;
    if let Err((field, why)) = further::check(app, &metadata, None).await {
        form.complain(field, &why);
        return page(visit, StatusCode::UNPROCESSABLE_ENTITY, form).await;
    }
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
