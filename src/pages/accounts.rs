//! Which of the accounts that are signed in here: OpenID Connect Core 3.1.2.1 (`prompt=select_account`).

use askama::Template;
use grantlog_domain::SessionId;
use http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::chrome::Chrome;
use super::failure::PageError;
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
    page(&visit.app, &visit.headers, &visit.accounts, next(visit), false).await
}

fn next(visit: &Visit) -> Next {
    Next::parse(visit.parameters.get("next").unwrap_or_default())
}

/// The page in the place of an authorization request, which goes on as whom the user chooses. `next` is its path and query.
pub async fn accounts_page(
    app: &App,
    headers: &HeaderMap,
    accounts: &[SignedIn],
    next: &str,
) -> Result<Response, PageError> {
    page(app, headers, accounts, Next::parse(next), false).await
}

/// `out_of_date`: the page is shown again, and nothing was done.
async fn page(
    app: &App,
    headers: &HeaderMap,
    accounts: &[SignedIn],
    next: Next,
    out_of_date: bool,
) -> Result<Response, PageError> {
    let chrome = Chrome { out_of_date, ..chrome(app, headers, accounts.first(), "/accounts").await? };
    let status = if out_of_date { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let waits = waiting(app, &next);
    let view = AccountsPage {
        chrome: chrome.clone(),
        login: next.login(),
        next: next.as_str().to_owned(),
        waits,
        accounts: shown(app, accounts).await?,
    };
    Ok(chrome.page(status, &view))
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

/// The chosen one acts from now on. Where accounts have come and gone in another tab, the page is shown again.
pub async fn choose(visit: &Visit) -> Result<Response, PageError> {
    if visit.accounts.is_empty() {
        return Err(PageError::SignIn(next(visit)));
    }
    let chosen: Option<SessionId> = visit.parameters.get("session_id").and_then(|id| id.parse().ok());
    let at = visit.accounts.iter().position(|account| Some(account.session_id) == chosen);
    let Some(at) = at.filter(|_| visit.is_own_form()) else {
        return page(&visit.app, &visit.headers, &visit.accounts, next(visit), true).await;
    };
    let mut accounts = visit.accounts.clone();
    accounts[..=at].rotate_right(1);
    let mut chrome = bare_chrome(&visit.app, true);
    chrome.cookies.extend(kept(&visit.app, &accounts));
    Ok(chrome.redirect(next(visit).as_str()))
}
