//! A client's page.
use super::chrome::Chrome;
use super::client_form::ClientForm;
use super::words::Line;
use askama::Template;
pub struct Example {
    pub title: &'static str,
    pub text: String,
    pub hint: Option<&'static str>,
}
#[derive(Template)]
#[template(path = "client.html")]
pub struct ClientPage {
    pub chrome: Chrome,
    pub client_name: String,
    pub client_id: String,
    pub disabled: bool,
    pub confidential: bool,
    pub saved: bool,
    pub examples: Vec<Example>,
    pub form: ClientForm,
    pub lines: Vec<Line>,
}
