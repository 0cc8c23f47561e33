//! Creating a client.
use super::chrome::Chrome;
use super::client_form::ClientForm;
use askama::Template;
#[derive(Template)]
#[template(path = "create_client.html")]
pub struct CreateClientPage {
    pub chrome: Chrome,
    pub form: ClientForm,
}
#[derive(Template)]
#[template(path = "client_secret.html")]
pub struct ClientSecretPage<'a> {
    pub chrome: Chrome,
    pub title: &'static str,
    pub client_name: &'a str,
    pub client_id: String,
    pub client_secret: Option<&'a str>,
}
