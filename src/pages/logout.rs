//! Signing out.
use super::chrome::Chrome;
use askama::Template;
#[derive(Template)]
#[template(path = "logout.html")]
pub struct LogoutPage {
    pub chrome: Chrome,
}
#[derive(Template)]
#[template(path = "logged_out.html")]
pub struct LoggedOutPage {
    pub chrome: Chrome,
}
