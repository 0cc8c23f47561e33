//! The first page.
use super::chrome::Chrome;
use super::moment::Moment;
use super::words::Line;
use askama::Template;
pub struct DemoPanel {
    pub client_name: String,
    pub curl: String,
    pub client_id: String,
    pub client_secret: String,
}
#[derive(Template)]
#[template(path = "welcome.html")]
pub struct WelcomePage {
    pub chrome: Chrome,
    pub demo: Option<DemoPanel>,
}
pub struct Tile {
    pub client_id: String,
    pub name: String,
    pub kind: &'static str,
    pub disabled: bool,
}
pub struct Allowed {
    pub client_id: String,
    pub client_name: String,
    pub words: String,
    pub since: Moment,
    pub grants: usize,
}
#[derive(Template)]
#[template(path = "home.html")]
pub struct HomePage {
    pub chrome: Chrome,
    pub username: String,
    pub demo: Option<DemoPanel>,
    pub clients: Vec<Tile>,
    pub allowed: Vec<Allowed>,
    pub lines: Vec<Line>,
}
