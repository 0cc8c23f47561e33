//! The account.
use super::chrome::Chrome;
use super::home::Allowed;
use super::moment::Moment;
use askama::Template;
pub struct SessionRow {
    pub session_id: String,
    pub current: bool,
    pub since: Moment,
    pub until: Moment,
}
#[derive(Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    pub chrome: Chrome,
    pub username: String,
    pub said: Option<&'static str>,
    pub allowed: Vec<Allowed>,
    pub sessions: Vec<SessionRow>,
    pub password_error: Option<&'static str>,
    pub password_chars_min: usize,
}
