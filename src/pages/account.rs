//! The account: what I allowed, taking it back, where I am signed in, my password.

use askama::Template;
use grantlog_domain::grant::RevocationReason;
use grantlog_domain::session::EndReason;
use grantlog_domain::user::{User, UserCommand};
use grantlog_domain::{Actor, SessionId};
use grantlog_projections::tables::grants::GrantsOf;
use grantlog_projections::tables::sessions;
use http::StatusCode;
use warp::reply::Response;

use super::chrome::Chrome;
use super::failure::{PageError, TOO_MANY, too_many};
use super::home::{Allowed, allowed_by};
use super::moment::Moment;
use super::paging::Paging;
use super::settled::settled;
use super::sign_in::reauthenticate;
use super::sign_out::end_session;
use super::visit::{SignedIn, Visit, bare_chrome, kept};
use crate::secrets::Secret;
use crate::secrets::password::{PASSWORD_CHARACTERS_MIN, PasswordError, check_new};
use crate::sign_in::{SignInError, caller, check_password};

#[derive(Template)]
#[template(path = "account.html")]
pub(super) struct AccountPage {
    pub chrome: Chrome,
    pub username: String,
    pub said: Option<&'static str>,
    pub allowed: Vec<Allowed>,
    pub allowed_paging: Paging,
    pub sessions: Vec<SessionRow>,
    pub sessions_paging: Paging,
    pub password_error: Option<&'static str>,
    pub password_chars_min: usize,
}

/// One browser in which I am signed in.
pub(super) struct SessionRow {
    pub session_id: String,
    pub current: bool,
    pub since: Moment,
    pub until: Moment,
    pub source_address: Option<String>,
}

/// What a form on the page does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Revoke,
    EndSession,
    Password,
}

impl Change {
    /// The change that the last part of a path names.
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "revoke" => Some(Self::Revoke),
            "end_session" => Some(Self::EndSession),
            "password" => Some(Self::Password),
            _ => None,
        }
    }
}

/// What the page says after a change, by the word in its query.
const SAID: [(&str, &str); 3] = [
    ("revoked", "Done. Everything that this application could do for you has ended."),
    ("ended", "Done. That browser is signed out."),
    ("password", "Done. The new password holds from now on, and other browsers are signed out."),
];

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    let session = visit.user()?;
    page(visit, &session, StatusCode::OK, None).await
}

async fn page(
    visit: &Visit,
    session: &SignedIn,
    status: StatusCode,
    password_error: Option<&'static str>,
) -> Result<Response, PageError> {
    let (app, user_id) = (&visit.app, session.user_id);
    let chrome = visit.chrome("/account").await?;
    settled(app).await?;
    let mut allowed_paging = Paging::of(visit, "/account", "allowed", "my-grants");
    let allowed = allowed_paging.shown(allowed_by(app, user_id, chrome.user.as_deref(), allowed_paging.page()).await?);
    let mut sessions_paging = Paging::of(visit, "/account", "sessions", "my-sessions");
    let rows = sessions::of_user(app.store.db(), user_id, app.now(), sessions_paging.page()).await?;
    let row = |row: sessions::SessionRow| SessionRow {
        session_id: row.session_id.to_string(),
        current: row.session_id == session.session_id,
        since: Moment::from(row.auth_time),
        until: Moment::from(row.expires_at),
        source_address: row.source_address,
    };
    let done = visit.parameters.get("done");
    let view = AccountPage {
        chrome: chrome.clone(),
        username: chrome.user.clone().unwrap_or_default(),
        said: SAID.iter().find(|(word, _)| done == Some(word)).map(|(_, said)| *said),
        allowed,
        allowed_paging,
        sessions: sessions_paging.shown(rows).into_iter().map(row).collect(),
        sessions_paging,
        password_error,
        password_chars_min: PASSWORD_CHARACTERS_MIN,
    };
    Ok(chrome.page(status, &view))
}

pub async fn change(visit: Visit, change: Change) -> Result<Response, PageError> {
    visit.check_form()?;
    let session = visit.user()?;
    match change {
        Change::Revoke => revoke(&visit, &session).await,
        Change::EndSession => end_other_session(&visit, &session).await,
        Change::Password => change_password(visit, &session).await,
    }
}

/// Takes back all that the user allowed one client, with every token that came of it.
async fn revoke(visit: &Visit, session: &SignedIn) -> Result<Response, PageError> {
    let app = &visit.app;
    let of = GrantsOf::UserAtClient(session.user_id, parsed(visit, "client_id")?);
    let by = visit.by_user(session.user_id, None);
    app.store.end_grants(of, RevocationReason::User, &by).await?;
    Ok(visit.chrome("").await?.redirect("/account?done=revoked"))
}

async fn end_other_session(visit: &Visit, session: &SignedIn) -> Result<Response, PageError> {
    let session_id: SessionId = parsed(visit, "session_id")?;
    let own = visit.app.live.session(session_id).is_some_and(|other| other.user_id == session.user_id);
    if !own {
        return Err(PageError::NotFound);
    }
    end_session(visit, Actor::User(session.user_id), session_id, EndReason::SignedOut).await?;
    Ok(visit.chrome("").await?.redirect("/account?done=ended"))
}

fn parsed<T: std::str::FromStr>(visit: &Visit, name: &'static str) -> Result<T, PageError> {
    let text = visit.parameters.get(name).and_then(|text| text.parse().ok());
    text.ok_or_else(|| PageError::Request(format!("The field {name} is missing or malformed.").into()))
}

async fn change_password(visit: Visit, session: &SignedIn) -> Result<Response, PageError> {
    let app = &visit.app;
    if app.settings.demo {
        return Err(PageError::Request("There are no passwords in the demo.".into()));
    }
    let refused =
        async |error: &'static str| page(&visit, session, StatusCode::UNPROCESSABLE_ENTITY, Some(error)).await;
    let current = Secret::new(visit.parameters.get("current_password").unwrap_or_default().to_owned());
    let new = Secret::new(visit.parameters.get("new_password").unwrap_or_default().to_owned());
    match check_new(new.expose()) {
        Ok(()) => {}
        Err(PasswordError::TooShort) => return refused("The new password is too short.").await,
        Err(PasswordError::TooLong) => return refused("The new password is too long.").await,
        Err(_) => {
            return refused("The new password has a character that is not seen, such as a control character.").await;
        }
    }
    let (username, source) = (super::visit::username(app, session.user_id).await?, caller(&visit.context));
    // A stolen session must not become a way to guess the password, so it counts as a sign-in does.
    match check_password(app, &username, current, source, &visit.context).await {
        Ok(user_id) if user_id == session.user_id => {}
        Ok(_) | Err(SignInError::Refused) => {
            return refused("The current password is wrong, or there were too many attempts.").await;
        }
        Err(SignInError::TooMany { retry_after }) => return Ok(too_many(refused(TOO_MANY).await?, retry_after)),
        Err(SignInError::Unavailable) => return Err(PageError::Unavailable("changing the password".to_owned())),
        Err(SignInError::Fault(fault)) => return Err(PageError::Fault(fault)),
    }
    match app.vault.set_password(session.user_id, new, app.vault.origin(&username, source)).await {
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let by = visit.by_user(session.user_id, Some(session.session_id.to_string()));
    let command = UserCommand::ChangeCredential { at: app.now() };
    let changed = app.store.execute::<User>(&session.user_id.to_string(), command, &by).await;
    changed.map_err(|error| PageError::not_executed(error, |refusal| PageError::Fault(refusal.to_string())))?;
    end_others(&visit, session).await?;
    with_new_cookie(&visit, session).await
}

/// Who had a copy of the cookie has nothing any more.
async fn with_new_cookie(visit: &Visit, session: &SignedIn) -> Result<Response, PageError> {
    let renewed = reauthenticate(visit, session).await?;
    let others = visit.accounts.iter().filter(|account| account.session_id != session.session_id).cloned();
    let accounts: Vec<SignedIn> = renewed.into_iter().chain(others).collect();
    let mut chrome = bare_chrome(&visit.app, true);
    chrome.cookies.extend(kept(&visit.app, &accounts));
    Ok(chrome.redirect("/account?done=password"))
}

/// Who knew the old password may be signed in elsewhere: every other session ends.
async fn end_others(visit: &Visit, session: &SignedIn) -> Result<(), PageError> {
    let app = &visit.app;
    let by = visit.by_user(session.user_id, None);
    let (user_id, except) = (session.user_id, Some(session.session_id));
    app.store.end_sessions(user_id, except, EndReason::SignedOut, &by).await?;
    Ok(())
}
