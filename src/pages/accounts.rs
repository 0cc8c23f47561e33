//! Which of the accounts that are signed in here: OpenID Connect Core 3.1.2.1 (`prompt=select_account`).

use askama::Template;
use grantlog_domain::SessionId;
use http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::chrome::Chrome;
use super::failure::PageError;
use super::form_action::FormAction;
use super::next::Next;
use super::sign_in::{Waiting, waiting};
use super::visit::{SignedIn, Visit, bare_chrome, chrome, kept, username};
use crate::app::App;

#[derive(Template)]
#[template(path = "accounts.html")]
pub(super) struct AccountsPage {
    pub chrome: Chrome,
    pub next: String,
    /// The sign-in page that leads there too.
    pub login: String,
    pub waits: Option<Waiting>,
    pub accounts: Vec<Account>,
}

/// An account that is signed in in this browser.
pub(super) struct Account {
    pub session_id: String,
    pub username: String,
    pub initial: String,
    /// The one that acts now.
    pub current: bool,
}

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    visit.user()?;
    let next = Next::parse(visit.parameters.get("next").unwrap_or_default());
    page(&visit.app, &visit.headers, &visit.accounts, next).await
}

/// The page in the place of an authorization request, which goes on as whom the user chooses. `next` is its path and query.
pub async fn accounts_page(
    app: &App,
    headers: &HeaderMap,
    accounts: &[SignedIn],
    next: &str,
) -> Result<Response, PageError> {
    page(app, headers, accounts, Next::parse(next)).await
}

async fn page(app: &App, headers: &HeaderMap, accounts: &[SignedIn], next: Next) -> Result<Response, PageError> {
    let chrome = chrome(app, headers, accounts.first(), "/accounts").await?;
    let waits = waiting(app, &next);
    // With an earlier consent the form leads to the client at once.
    let leads = waits.as_ref().map(|client| FormAction::also(&client.redirect_uri)).unwrap_or_default();
    let view = AccountsPage {
        chrome: chrome.clone(),
        login: next.login(),
        next: next.as_str().to_owned(),
        waits,
        accounts: shown(app, accounts).await?,
    };
    Ok(chrome.page_leading_to(StatusCode::OK, &view, &leads))
}

/// The accounts of a browser, as pages show them.
pub(super) async fn shown(app: &App, accounts: &[SignedIn]) -> Result<Vec<Account>, PageError> {
    let mut shown = Vec::with_capacity(accounts.len());
    for (at, account) in accounts.iter().enumerate() {
        let username = username(app, account.user_id).await?;
        shown.push(Account {
            session_id: account.session_id.to_string(),
            initial: username.chars().next().map(|first| first.to_uppercase().collect()).unwrap_or_default(),
            username,
            current: at == 0,
        });
    }
    Ok(shown)
}

/// The chosen one acts from now on.
pub fn choose(visit: &Visit) -> Result<Response, PageError> {
    visit.check_form()?;
    let chosen: Option<SessionId> = visit.parameters.get("session_id").and_then(|id| id.parse().ok());
    let at = visit.accounts.iter().position(|account| Some(account.session_id) == chosen);
    let at = at.ok_or(PageError::Request("This account is not signed in here any more.".into()))?;
    let mut accounts = visit.accounts.clone();
    accounts[..=at].rotate_right(1);
    let mut chrome = bare_chrome(&visit.app, true);
    chrome.cookies.extend(kept(&visit.app, &accounts));
    Ok(chrome.redirect(Next::parse(visit.parameters.get("next").unwrap_or_default()).as_str()))
}
