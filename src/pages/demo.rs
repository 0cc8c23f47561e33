//! The demo.
use super::chrome::Chrome;
use super::moment::Moment;
use askama::Template;
pub struct Step {
    pub refused: bool,
    pub title: &'static str,
    pub words: &'static str,
    pub answer: String,
}
pub struct EventLine {
    pub words: String,
    pub at: Moment,
    pub event_type: &'static str,
    pub ended: bool,
    pub json: String,
}
#[derive(Template)]
#[template(path = "demo_result.html")]
pub struct DemoResultPage {
    pub chrome: Chrome,
    pub title: &'static str,
    pub last_step: Option<Step>,
    pub has_refresh_token: bool,
    pub token_response: String,
    pub active: bool,
    pub introspection: String,
    pub me_status: String,
    pub me: String,
    pub grant_id: String,
    pub lines: Vec<EventLine>,
}
