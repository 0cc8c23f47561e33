//! Signing in.
use super::chrome::Chrome;
use askama::Template;
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    pub chrome: Chrome,
    pub next: String,
    pub username: String,
    pub client_name: Option<String>,
    pub error: Option<&'static str>,
}
