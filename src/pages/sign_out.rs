//! Signing out: asked once, done by a form, so that no link or image on another site does it. Clients send people here
//! too; what they may ask is checked by `oidc::logout`. What the signed-out page shows clients in frames is in
//! `oidc::frontchannel`.

use askama::Template;
use grantlog_domain::session::{EndReason, Session, SessionCommand, SessionError};
use grantlog_domain::{Actor, ClientId, SessionId, UserId};
use http::StatusCode;
use warp::reply::Response;

use super::accounts::{Account, shown};
use super::chrome::Chrome;
use super::cookies::Cookie;
use super::failure::PageError;
use super::scripts::CONTINUE;
use super::visit::{SignedIn, Visit, bare_chrome, kept, username};
use crate::oidc::frontchannel;

#[derive(Template)]
#[template(path = "logout.html")]
pub(super) struct LogoutPage<'a> {
    pub chrome: Chrome,
    /// The client that asks for it.
    pub client_name: Option<&'a str>,
    /// Where the browser goes afterwards.
    pub goes_to: Option<&'a str>,
    pub action: &'static str,
    pub fields: Vec<(&'static str, String)>,
    /// What was allowed in a session ends with it.
    pub ends_grants: bool,
    /// Who is signed in here; one of them, or all, can be signed out.
    pub accounts: Vec<Account>,
}

#[derive(Template)]
#[template(path = "logged_out.html")]
pub(super) struct LoggedOutPage<'a> {
    pub chrome: Chrome,
    pub what: What,
    /// Who is still signed in here.
    pub others: Vec<String>,
    /// Pages of clients, shown in frames that nobody sees.
    pub frames: Vec<String>,
    /// Where the browser goes when they have loaded, or by a click.
    pub goes_to: Option<Onward<'a>>,
    pub script: &'static str,
}

/// What has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Sessions of this browser.
    Here,
    /// The session that a client named, of which this browser has no cookie: it may be a program of the client.
    Elsewhere,
    Nothing,
}

/// Where the browser goes after signing out: an address that a client registered.
#[derive(Clone, Copy)]
pub struct Onward<'a> {
    pub uri: &'a str,
    /// Nobody vouched for the client, so the person goes there by a click (RFC 9700 4.11.2).
    pub asks: bool,
}

/// Who asks, and what the form sends.
pub struct Asking<'a> {
    pub client_name: Option<&'a str>,
    pub action: &'static str,
    pub fields: Vec<(&'static str, String)>,
    /// Where the browser goes afterwards: an address that the client registered.
    pub goes_to: Option<&'a str>,
    /// It was answered, but not in this browser as it is now.
    pub out_of_date: bool,
}

/// A session that has ended, and whose.
pub type Ended = (UserId, SessionId);

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    asked(visit, false).await
}

async fn asked(visit: &Visit, out_of_date: bool) -> Result<Response, PageError> {
    if visit.accounts.is_empty() {
        return signed_out(visit, &[], None, None).await;
    }
    let (fields, goes_to) = (Vec::new(), None);
    ask(visit, Asking { client_name: None, action: "/logout", fields, goes_to, out_of_date }).await
}

/// Asks whether to sign out, and which account where there are several.
pub async fn ask(visit: &Visit, asking: Asking<'_>) -> Result<Response, PageError> {
    let chrome = Chrome { out_of_date: asking.out_of_date, ..visit.chrome("/logout").await? };
    let status = if asking.out_of_date { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let Asking { client_name, action, fields, goes_to, .. } = asking;
    let accounts = shown(&visit.app, &visit.accounts).await?;
    let ends_grants = visit.app.settings.session_end_grants;
    let page = LogoutPage { chrome: chrome.clone(), client_name, goes_to, action, fields, ends_grants, accounts };
    Ok(chrome.page(status, &page))
}

pub async fn submit(visit: &Visit) -> Result<Response, PageError> {
    if !visit.is_own_form() {
        return asked(visit, true).await;
    }
    let chosen = chosen(visit)?;
    signed_out(visit, &chosen, None, None).await
}

/// Whom the form signs out: the account that acts, another one, or all of them.
pub fn chosen(visit: &Visit) -> Result<Vec<Ended>, PageError> {
    let accounts = visit.accounts.iter().map(|account| (account.user_id, account.session_id));
    match visit.parameters.get("account") {
        None => Ok(accounts.take(1).collect()),
        Some("all") => Ok(accounts.collect()),
        Some(id) => {
            let found: Vec<Ended> = accounts.filter(|(_, session_id)| session_id.to_string() == id).collect();
            match found.is_empty() {
                true => Err(PageError::Request("This account is not signed in here any more.".into())),
                false => Ok(found),
            }
        }
    }
}

/// Ends these sessions and says so, on a page or by going to where the client wants the user to go; nothing of them stays
/// in the browser. `client`: it ends them, without the user.
pub async fn signed_out(
    visit: &Visit,
    ended: &[Ended],
    client: Option<ClientId>,
    goes_to: Option<Onward<'_>>,
) -> Result<Response, PageError> {
    let app = &visit.app;
    for &(user_id, session_id) in ended {
        let by = client.map_or(Actor::User(user_id), Actor::Client);
        end_session(visit, by, session_id, EndReason::SignedOut).await?;
    }
    let left = |account: &&SignedIn| !ended.iter().any(|(_, ended)| *ended == account.session_id);
    let left: Vec<SignedIn> = visit.accounts.iter().filter(left).cloned().collect();
    let mut chrome = bare_chrome(app, !left.is_empty());
    chrome.cookies.extend(kept(app, &left));
    if left.is_empty() {
        chrome.cookies.extend(Cookie::Demo.clear(&app.settings.issuer));
    }
    let sessions: Vec<SessionId> = ended.iter().map(|(_, session_id)| *session_id).collect();
    let frames = frontchannel::frames(app, &sessions).await?;
    if let Some(next) = goes_to.filter(|next| frames.is_empty() && !next.asks) {
        return Ok(chrome.redirect(next.uri));
    }
    let mut others = Vec::with_capacity(left.len());
    for account in &left {
        others.push(username(app, account.user_id).await?);
    }
    let framed = frames.clone();
    let what = match client {
        _ if ended.is_empty() => What::Nothing,
        Some(_) => What::Elsewhere,
        None => What::Here,
    };
    let page = LoggedOutPage { chrome: chrome.clone(), what, others, frames, goes_to, script: CONTINUE };
    let goes_on = goes_to.is_some_and(|next| !next.asks);
    Ok(chrome.page_with_frames(&page, &framed, goes_on.then_some(CONTINUE)))
}

/// Ends a session; one that has ended already stays as it is.
pub async fn end_session(visit: &Visit, by: Actor, session_id: SessionId, reason: EndReason) -> Result<(), PageError> {
    let id = session_id.to_string();
    let by = visit.app.command_context(by, &visit.context, Some(id.clone()));
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

#[cfg(test)]
mod tests {
    use http::header::CONTENT_SECURITY_POLICY;

    use super::*;

    #[test]
    fn the_signed_out_page_frames_those_clients_only_and_runs_its_own_script_only() {
        let frames = vec!["https://a.example/out?sid=1".to_owned(), "https://b.example:8443/\"><script>x".to_owned()];
        let page = LoggedOutPage {
            chrome: Chrome::default(),
            what: What::Here,
            others: Vec::new(),
            frames: frames.clone(),
            goes_to: Some(Onward { uri: "https://c.example/\"><script>y", asks: false }),
            script: CONTINUE,
        };
        let html = page.render().expect("rendered");
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        assert_eq!(html.matches("<iframe").count(), 2, "{html}");
        let response = Chrome::default().page_with_frames(&page, &frames, Some(CONTINUE));
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
        assert!(policy.contains("; frame-src https:; script-src 'sha256-"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        let plain = Chrome::default().page_with_frames(&page, &[], None);
        let policy = plain.headers()[CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
        assert!(!policy.contains("frame-src") && !policy.contains("script-src"), "{policy}");
    }
}
