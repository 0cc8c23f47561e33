//! Signing in: with a name and a password, or in the demo with any name.
//!
//! A wrong password, an unknown name, a disabled user and a locked account all get the same answer after the same work.

use askama::Template;
use grantlog_domain::session::{EndReason, Session, SessionCommand, SessionError};
use grantlog_domain::{Actor, SessionId, Timestamp, UserId};
use http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::chrome::Chrome;
use super::destination::destination;
use super::failure::{PageError, TOO_MANY, too_many};
use super::next::Next;
use super::sign_out::end_session;
use super::visit::{ACCOUNTS_MAX, SignedIn, Visit, bare_chrome, chrome, kept};
use crate::app::App;
use crate::http::form::Parameters;
use crate::secrets::{Kind, Secret};
use crate::sign_in::{SignInError, amr, caller, check_password, demo_user, enabled};
use crate::store::ExecuteError;
use crate::store::vault::VaultError;

#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage {
    pub chrome: Chrome,
    pub next: String,
    /// The page on which accounts that are signed in are chosen, and which leads there too.
    pub choose: String,
    pub username: String,
    pub waits: Option<Waiting>,
    pub error: Option<&'static str>,
}

/// The client that waits behind a page.
pub(super) struct Waiting {
    pub client_name: String,
    /// Of those that it registered.
    pub redirect_uri: String,
}

impl Waiting {
    /// Where it is, in words.
    pub fn destination(&self) -> String {
        destination(&self.redirect_uri)
    }
}

/// One text for every reason.
const REFUSED: &str =
    "This name and password do not fit, or there were too many attempts. Please try again in a while.";

/// The form was shown before somebody signed in or out here.
const OUT_OF_DATE: &str = "This page was out of date, so nobody was signed in. Please sign in again.";

/// It came without its cookie.
const NO_COOKIE: &str = "Your browser sent no cookie with this form, so nobody was signed in. Either it keeps no cookies from this site: \
                         please allow them. Or the page was open for too long: just sign in again.";

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    page(&visit.app, visit.chrome("/login").await?, next(visit), String::new(), None)
}

/// The page in the place of an authorization request, which comes back behind the sign-in. `next` is its path and query.
/// Somebody may be signed in already (OpenID Connect Core 3.1.2.1 `prompt=login`).
pub async fn sign_in_page(
    app: &App,
    headers: &HeaderMap,
    signed_in: Option<&SignedIn>,
    next: &str,
) -> Result<Response, PageError> {
    let chrome = chrome(app, headers, signed_in, "/login").await?;
    page(app, chrome, Next::parse(next), String::new(), None)
}

fn next(visit: &Visit) -> Next {
    Next::parse(visit.parameters.get("next").unwrap_or_default())
}

fn page(
    app: &App,
    chrome: Chrome,
    next: Next,
    username: String,
    error: Option<&'static str>,
) -> Result<Response, PageError> {
    let waits = waiting(app, &next);
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let view = LoginPage {
        chrome: chrome.clone(),
        next: next.as_str().to_owned(),
        choose: next.choose_account(),
        username: if username.is_empty() { login_hint(app, &next) } else { username },
        waits,
        error,
    };
    Ok(chrome.page(status, &view))
}

/// The name that a client proposes (OpenID Connect Core 3.1.2.1 `login_hint`).
fn login_hint(app: &App, next: &Next) -> String {
    let query = next.as_str().strip_prefix("/oauth/authorize?").unwrap_or_default();
    let parameters = Parameters::parse(query.as_bytes(), app.settings.http.parameters).unwrap_or_default();
    parameters.get("login_hint").unwrap_or_default().to_owned()
}

/// The client that waits behind the sign-in page, when its redirect URI is one that was registered.
pub(super) fn waiting(app: &App, next: &Next) -> Option<Waiting> {
    let query = next.as_str().strip_prefix("/oauth/authorize?")?;
    let parameters = Parameters::parse(query.as_bytes(), app.settings.http.parameters).ok()?;
    let client = app.live.client(parameters.get("client_id")?.parse().ok()?)?;
    let registered = &client.metadata.redirect_uris;
    let uri = match parameters.get("redirect_uri") {
        Some(uri) => registered.iter().any(|held| held.matches(uri, client.metadata.is_native())).then_some(uri)?,
        None => registered.first()?.as_str(),
    };
    Some(Waiting { client_name: client.metadata.client_name.clone(), redirect_uri: uri.to_owned() })
}

pub async fn submit(visit: Visit) -> Result<Response, PageError> {
    let username = visit.parameters.get("username").unwrap_or_default().to_owned();
    if !visit.is_own_form() && !visit.is_form_of_nobody() {
        return out_of_date(&visit, username).await;
    }
    let password = Secret::new(visit.parameters.get("password").unwrap_or_default().to_owned());
    match who(&visit, &username, password).await {
        Ok(user_id) => start_session(&visit, user_id).await,
        Err(SignInError::Refused) => refused(&visit, username, REFUSED).await,
        Err(SignInError::TooMany { retry_after }) => {
            Ok(too_many(refused(&visit, username, TOO_MANY).await?, retry_after))
        }
        Err(SignInError::Unavailable) => Err(PageError::Unavailable("signing in".to_owned())),
        Err(SignInError::Fault(fault)) => Err(PageError::Fault(fault)),
    }
}

async fn refused(visit: &Visit, username: String, error: &'static str) -> Result<Response, PageError> {
    page(&visit.app, visit.chrome("/login").await?, next(visit), username, Some(error))
}

/// A form that was not shown in this browser as it is now signs nobody in. Who did sign in meanwhile goes on where it leads,
/// unless it is for somebody else; others get a new one.
async fn out_of_date(visit: &Visit, username: String) -> Result<Response, PageError> {
    if let Some(current) = visit.current() {
        let named = match visit.app.vault.find(&username).await {
            Ok(named) => named,
            Err(error @ VaultError::Database(_)) => return Err(error.into()),
            // No name that anybody could have.
            Err(_) => None,
        };
        if named == Some(current.user_id) {
            return Ok(bare_chrome(&visit.app, true).redirect(next(visit).as_str()));
        }
    }
    refused(visit, username, if visit.has_cookie() { OUT_OF_DATE } else { NO_COOKIE }).await
}

/// In the demo any name will do; otherwise name and password must fit.
async fn who(visit: &Visit, username: &str, password: Secret<String>) -> Result<UserId, SignInError> {
    let (app, context) = (&visit.app, &visit.context);
    if !app.settings.demo {
        return check_password(app, username, password, caller(context), context).await;
    }
    enabled(app, demo_user(app, username, context).await?).await
}

/// Who proved again who they are goes on with their session, so that clients keep knowing it; anybody else gets one beside
/// those that are there. Either has a new cookie, so an id from before the sign-in is worth nothing.
async fn start_session(visit: &Visit, user_id: UserId) -> Result<Response, PageError> {
    let app = &visit.app;
    let mut accounts = visit.accounts.clone();
    let again = match accounts.iter().position(|account| account.user_id == user_id) {
        Some(at) => reauthenticate(visit, &accounts.remove(at)).await?,
        None => None,
    };
    let signed_in = match again {
        Some(signed_in) => signed_in,
        None => start(visit, user_id).await?,
    };
    accounts.insert(0, signed_in);
    for old in accounts.split_off(ACCOUNTS_MAX.min(accounts.len())) {
        end_session(visit, Actor::User(old.user_id), old.session_id, EndReason::Replaced).await?;
    }
    let mut chrome = bare_chrome(app, true);
    // The cookie of forms stays: sign-in forms in other tabs were made with it.
    chrome.cookies.extend(kept(app, &accounts));
    Ok(chrome.redirect(next(visit).as_str()))
}

async fn start(visit: &Visit, user_id: UserId) -> Result<SignedIn, PageError> {
    let app = &visit.app;
    let (session_id, at) = (SessionId(app.new_id()), app.now());
    let (cookie, hash) = app.secrets.mint(Kind::SessionCookie, session_id.0);
    let (amr, expires_at) = (amr(app), expires_at(app, at));
    let command = SessionCommand::Start { user_id, cookie: hash, amr: amr.clone(), expires_at, at };
    let by = visit.by_user(user_id, Some(session_id.to_string()));
    let started = app.store.create::<Session>(&session_id.to_string(), command, &by).await;
    started.map_err(|error| {
        PageError::not_executed(error, |refusal: SessionError| PageError::Fault(refusal.to_string()))
    })?;
    Ok(SignedIn::now(session_id, user_id, (at, &amr), (cookie, hash)))
}

/// The same session with a new cookie, for who has just proved who they are. `None` when it has ended meanwhile.
pub(super) async fn reauthenticate(visit: &Visit, old: &SignedIn) -> Result<Option<SignedIn>, PageError> {
    let (app, at) = (&visit.app, visit.app.now());
    let (session_id, user_id) = (old.session_id, old.user_id);
    let (cookie, hash) = app.secrets.mint(Kind::SessionCookie, session_id.0);
    let (amr, expires_at) = (amr(app), expires_at(app, at));
    let command = SessionCommand::Reauthenticate { user_id, cookie: hash, amr: amr.clone(), expires_at, at };
    let by = visit.by_user(user_id, Some(session_id.to_string()));
    match app.store.execute::<Session>(&session_id.to_string(), command, &by).await {
        Ok(_) => Ok(Some(SignedIn::now(session_id, user_id, (at, &amr), (cookie, hash)))),
        Err(ExecuteError::Refused(SessionError::Ended | SessionError::Expired | SessionError::NotFound)) => Ok(None),
        Err(error) => Err(PageError::not_executed(error, |refusal| PageError::Fault(refusal.to_string()))),
    }
}

fn expires_at(app: &App, at: Timestamp) -> Timestamp {
    at.plus_seconds(i64::try_from(app.settings.session_lifetime.as_secs()).unwrap_or(i64::MAX))
}
