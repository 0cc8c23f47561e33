//! Signing out: asked once, done by a form, so that no link or image on another site does it. Clients send people here
//! too; what they may ask is checked by `oidc::logout`.

use askama::Template;
use grantlog_domain::session::{EndReason, Session, SessionCommand, SessionError};
use grantlog_domain::{SessionId, UserId};
use http::StatusCode;
use warp::reply::Response;

use super::chrome::Chrome;
use super::cookies::Cookie;
use super::failure::PageError;
use super::form_action::FormAction;
use super::visit::{Visit, bare_chrome};

#[derive(Template)]
#[template(path = "logout.html")]
pub(super) struct LogoutPage<'a> {
    pub chrome: Chrome,
    /// The client that asks for it.
    pub client_name: Option<&'a str>,
    pub action: &'static str,
    pub fields: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "logged_out.html")]
pub(super) struct LoggedOutPage {
    pub chrome: Chrome,
}

/// Who asks, and what the form sends.
pub struct Asking<'a> {
    pub client_name: Option<&'a str>,
    pub action: &'static str,
    pub fields: Vec<(&'static str, String)>,
    /// Where the browser goes afterwards: an address that the client registered.
    pub goes_to: Option<&'a str>,
}

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    if visit.signed_in.is_none() {
        let chrome = visit.chrome("/logout").await?;
        return Ok(chrome.page(StatusCode::OK, &LoggedOutPage { chrome: chrome.clone() }));
    }
    ask(visit, Asking { client_name: None, action: "/logout", fields: Vec::new(), goes_to: None }).await
}

/// Asks whether to sign out.
pub async fn ask(visit: &Visit, asking: Asking<'_>) -> Result<Response, PageError> {
    let chrome = visit.chrome("/logout").await?;
    let Asking { client_name, action, fields, goes_to } = asking;
    let leads = goes_to.map(FormAction::also).unwrap_or_default();
    let page = LogoutPage { chrome: chrome.clone(), client_name, action, fields };
    Ok(chrome.page_leading_to(StatusCode::OK, &page, &leads))
}

pub async fn submit(visit: &Visit) -> Result<Response, PageError> {
    visit.check_form()?;
    if let Some(session) = &visit.signed_in {
        end_session(visit, session.user_id, session.session_id, EndReason::SignedOut).await?;
    }
    Ok(forgotten(visit).redirect("/logout"))
}

/// Says so, or goes to where the client wants the user to go; nothing of the session stays in the browser.
pub async fn signed_out(visit: &Visit, goes_to: Option<&str>) -> Result<Response, PageError> {
    let chrome = forgotten(visit);
    match goes_to {
        Some(goes_to) => Ok(chrome.redirect(goes_to)),
        None => Ok(chrome.page(StatusCode::OK, &LoggedOutPage { chrome: chrome.clone() })),
    }
}

/// The frame of an answer that takes the cookies away.
fn forgotten(visit: &Visit) -> Chrome {
    let mut chrome = bare_chrome(&visit.app, false);
    for cookie in [Cookie::Session, Cookie::Demo] {
        chrome.cookies.extend(cookie.clear(chrome.https));
    }
    chrome
}

/// Ends a session; one that has ended already stays as it is.
pub async fn end_session(
    visit: &Visit,
    user_id: UserId,
    session_id: SessionId,
    reason: EndReason,
) -> Result<(), PageError> {
    let id = session_id.to_string();
    let by = visit.by_user(user_id, Some(id.clone()));
    let command = SessionCommand::End { reason, at: visit.app.now() };
    match visit.app.store.execute::<Session>(&id, command, &by).await {
        Ok(_) => Ok(()),
        Err(error) => Err(PageError::not_executed(error, |refusal| match refusal {
            SessionError::NotFound => PageError::NotFound,
            SessionError::AlreadyExists | SessionError::Ended | SessionError::Expired | SessionError::WrongUser => {
                PageError::Fault(refusal.to_string())
            }
        })),
    }
}
