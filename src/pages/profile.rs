//! What applications may learn of me: the claims of OpenID Connect Core 5.1. They live in the vault; the log says only
//! which of them changed.

use askama::Template;
use grantlog_domain::user::{User, UserCommand, UserError};
use http::StatusCode;
use serde_json::{Map, Value};
use warp::reply::Response;

use super::chrome::Chrome;
use super::failure::PageError;
use super::visit::Visit;
use crate::oidc::claims::{self, CLAIMS, Kind};

#[derive(Template)]
#[template(path = "profile.html")]
pub(super) struct ProfilePage {
    pub chrome: Chrome,
    pub saved: bool,
    pub fields: Vec<Field>,
    pub wrong: bool,
}

/// One claim in the form; an empty one is taken away.
pub(super) struct Field {
    pub name: &'static str,
    pub label: &'static str,
    pub hint: &'static str,
    pub value: String,
    pub error: Option<String>,
    pub lines: bool,
}

/// Claim, label and hint. What others must vouch for (`email_verified`) is not for the user to say.
const FIELDS: &[(&str, &str, &str)] = &[
    ("name", "Full name", ""),
    ("given_name", "Given name", ""),
    ("family_name", "Family name", ""),
    ("middle_name", "Middle name", ""),
    ("nickname", "Nickname", ""),
    ("email", "E-mail", "A new address counts as not verified."),
    ("phone_number", "Phone", "With country code; a new number counts as not verified."),
    ("address", "Postal address", ""),
    ("birthdate", "Birthday", "YYYY-MM-DD, or the year alone"),
    ("gender", "Gender", ""),
    ("website", "Web site", ""),
    ("profile", "Profile page", ""),
    ("picture", "Picture", "The address of an image."),
    ("zoneinfo", "Time zone", "For example Europe/Paris."),
    ("locale", "Language", "For example fr-CA."),
];

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    let session = visit.user()?;
    let profile = visit.app.vault.profile(session.user_id).await?.ok_or(PageError::NotFound)?;
    let fields = FIELDS.iter().map(|field| Field::new(field, text(profile.claims.get(field.0)))).collect();
    page(visit, StatusCode::OK, fields).await
}

async fn page(visit: &Visit, status: StatusCode, fields: Vec<Field>) -> Result<Response, PageError> {
    let chrome = visit.chrome("/account").await?;
    let saved = visit.parameters.get("saved").is_some();
    let wrong = fields.iter().any(|field| field.error.is_some());
    Ok(chrome.page(status, &ProfilePage { chrome: chrome.clone(), saved, fields, wrong }))
}

pub async fn submit(visit: &Visit) -> Result<Response, PageError> {
    visit.check_form()?;
    let (session, app) = (visit.user()?, &visit.app);
    let profile = app.vault.profile(session.user_id).await?.ok_or(PageError::NotFound)?;
    let (mut changes, mut fields) = (Vec::new(), Vec::new());
    for known in FIELDS {
        let typed = visit.parameters.get(known.0).unwrap_or_default().trim();
        let mut field = Field::new(known, typed.to_owned());
        if typed.is_empty() {
            changes.push((known.0.to_owned(), None));
        } else if typed != text(profile.claims.get(known.0)) {
            match claims::parse(known.0, typed) {
                Ok(value) => changes.push((known.0.to_owned(), Some(value))),
                Err(error) => field.error = Some(format!("{error}.")),
            }
        }
        fields.push(field);
    }
    if fields.iter().any(|field| field.error.is_some()) {
        return page(visit, StatusCode::UNPROCESSABLE_ENTITY, fields).await;
    }
    let (held, changed) = claims::changed(&profile.claims, changes, app.now());
    if !changed.is_empty() {
        app.vault.set_claims(session.user_id, held).await?;
        let command = UserCommand::ChangeProfile { fields: changed, at: app.now() };
        let by = visit.by_user(session.user_id, Some(session.session_id.to_string()));
        let executed = app.store.execute::<User>(&session.user_id.to_string(), command, &by).await;
        executed.map_err(|error| {
            PageError::not_executed(error, |refusal: UserError| PageError::Fault(refusal.to_string()))
        })?;
    }
    Ok(visit.chrome("").await?.redirect("/account/profile?saved=yes"))
}

impl Field {
    fn new(known: &(&'static str, &'static str, &'static str), value: String) -> Self {
        let (name, label, hint) = *known;
        let lines = CLAIMS.iter().any(|claim| claim.name == name && claim.kind == Kind::Address);
        Self { name, label, hint, value, error: None, lines }
    }
}

/// A claim as it is edited: an address that is only formatted as its lines.
fn text(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(address)) => {
            formatted(address).unwrap_or_else(|| Value::Object(address.clone()).to_string())
        }
        Some(other) => other.to_string(),
    }
}

fn formatted(address: &Map<String, Value>) -> Option<String> {
    let only = address.len() == 1;
    address.get("formatted").filter(|_| only)?.as_str().map(str::to_owned)
}
