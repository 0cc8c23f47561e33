//! Signing in.
use askama::Template;
use super::chrome::Chrome;
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage { pub chrome: Chrome, pub next: String, pub username: String, pub client_name: Option<String>, pub error: Option<&'static str> }
