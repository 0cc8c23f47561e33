//! Signing out: asked once, done by a form, so that no link or image on another site does it.

use askama::Template;
use grantlog_domain::session::{EndReason, Session, SessionCommand, SessionError};
use grantlog_domain::{SessionId, UserId};
use http::StatusCode;
use warp::reply::Response;

use super::chrome::Chrome;
use super::cookies::Cookie;
use super::failure::PageError;
use super::visit::{Visit, bare_chrome};

#[derive(Template)]
#[template(path = "logout.html")]
pub(super) struct LogoutPage {
    pub chrome: Chrome,
}

#[derive(Template)]
#[template(path = "logged_out.html")]
pub(super) struct LoggedOutPage {
    pub chrome: Chrome,
}

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    let chrome = visit.chrome("/logout").await?;
    if visit.signed_in.is_none() {
        return Ok(chrome.page(StatusCode::OK, &LoggedOutPage { chrome: chrome.clone() }));
    }
    Ok(chrome.page(StatusCode::OK, &LogoutPage { chrome: chrome.clone() }))
}

pub async fn submit(visit: &Visit) -> Result<Response, PageError> {
    visit.check_form()?;
    if let Some(session) = &visit.signed_in {
        end_session(visit, session.user_id, session.session_id, EndReason::SignedOut).await?;
    }
    let mut chrome = bare_chrome(&visit.app, false);
    for cookie in [Cookie::Session, Cookie::Demo] {
        chrome.cookies.extend(cookie.clear(chrome.https));
    }
    Ok(chrome.redirect("/logout"))
}

/// Ends a session; one that has ended already stays as it is.
pub(super) async fn end_session(
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
