//! Consent.
use super::chrome::Chrome;
use super::scopes::Ask;
use askama::Template;
#[derive(Template)]
#[template(path = "consent.html")]
pub struct ConsentPage<'a> {
    pub chrome: Chrome,
    pub client_name: &'a str,
    pub client_uri: Option<&'a str>,
    pub monogram: String,
    pub asks: Vec<Ask>,
    pub account: &'a str,
    pub destination: String,
    pub switch_account: String,
    pub action: &'static str,
    pub fields: Vec<(&'static str, String)>,
}
