//! One request of a browser: who is signed in, what was sent, and what ties forms to this browser.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::{Actor, SecretHash, SessionId, Timestamp, UserId};
use grantlog_projections::live::LiveSession;
use http::{HeaderMap, HeaderValue};

use super::chrome::Chrome;
use super::cookies::Cookie;
use super::csrf;
use super::failure::PageError;
use super::next::Next;
use crate::app::App;
use crate::http::form::Parameters;
use crate::http::request_id::RequestContext;
use crate::secrets::{Kind, Purpose, Secret};
use crate::standing;
use crate::store::{CommandContext, StoreError};

/// Life of the cookie that ties forms to a browser that is not signed in.
const FORM_COOKIE_LIFE: Duration = Duration::from_secs(3600);
/// Its length: 32 random bytes in base64url.
const FORM_COOKIE_CHARS: usize = 43;

/// Most accounts that are signed in in one browser; the one that was used least recently goes when another one comes.
pub const ACCOUNTS_MAX: usize = 5;

/// Who is signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub session_id: SessionId,
    pub user_id: UserId,
    /// When the user last proved who they are (OpenID Connect Core 2).
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: Arc<[String]>,
    /// Names the moment of that proof: another one has another.
    pub proof: Proof,
    cookie: Secret<String>,
}

/// The beginning of the hash of a session cookie, which is a new one after each sign-in.
pub type Proof = [u8; 8];

impl SignedIn {
    /// Somebody who has just signed in, with the cookie that they get.
    pub fn now(
        session_id: SessionId,
        user_id: UserId,
        (auth_time, amr): (Timestamp, &[String]),
        (cookie, hash): (Secret<String>, SecretHash),
    ) -> Self {
        Self { session_id, user_id, auth_time, amr: amr.into(), proof: proof(&hash), cookie }
    }
}

fn proof(hash: &SecretHash) -> Proof {
    std::array::from_fn(|at| hash.digest[at])
}

/// Everybody who is signed in behind the session cookie of a request, the current one first. Not those whose session has
/// ended or expired, whose cookie was replaced, or who may not sign in any more.
///
/// # Errors
/// When this node is not up to date and the log cannot be read.
pub async fn accounts(app: &App, headers: &HeaderMap) -> Result<Vec<SignedIn>, StoreError> {
    let mut accounts: Vec<SignedIn> = Vec::new();
    for (id, presented, cookie) in session_cookies(app, headers) {
        let Some(session) = standing::session(app, id).await? else { continue };
        let valid = session.cookie == presented && app.now() < session.expires_at;
        let known = accounts.iter().any(|account| account.user_id == session.user_id);
        if valid && !known && standing::user_stands(app, session.user_id).await? {
            let LiveSession { id: session_id, user_id, auth_time, .. } = *session;
            let (amr, proof) = (Arc::clone(&session.amr), proof(&presented));
            accounts.push(SignedIn { session_id, user_id, auth_time, amr, proof, cookie });
        }
    }
    Ok(accounts)
}

/// Whether somebody seems to be signed in: for what stands around an error, and for nothing else.
pub fn seems_signed_in(app: &App, headers: &HeaderMap) -> bool {
    session_cookies(app, headers).into_iter().any(|(id, presented, _)| {
        app.live.session(id).is_some_and(|session| session.cookie == presented && app.now() < session.expires_at)
    })
}

fn session_cookies(app: &App, headers: &HeaderMap) -> Vec<(SessionId, SecretHash, Secret<String>)> {
    let Some(cookie) = Cookie::Session.read(headers, &app.settings.issuer).map(Secret::new) else {
        return Vec::new();
    };
    let parsed = cookie.expose().split('.').take(ACCOUNTS_MAX).filter_map(|value| {
        let (id, presented) = app.secrets.parse(Kind::SessionCookie, value)?;
        Some((SessionId(id), presented, Secret::new(value.to_owned())))
    });
    parsed.collect()
}

/// What the browser keeps when these are signed in, the current one first: their cookie, and the state that clients' pages
/// watch. When nobody is any more, a state that is nobody's.
pub fn kept(app: &App, accounts: &[SignedIn]) -> Vec<HeaderValue> {
    let (issuer, lifetime) = (&app.settings.issuer, app.settings.session_lifetime);
    let values: Vec<&str> = accounts.iter().map(|account| account.cookie.expose().as_str()).collect();
    let session = match accounts {
        [] => Cookie::Session.clear(issuer),
        _ => Cookie::Session.set(&values.join("."), Some(lifetime), issuer),
    };
    session.into_iter().chain(Cookie::State.set(&browser_state(app, accounts), Some(lifetime), issuer)).collect()
}

/// The state of a browser (OpenID Connect Session Management 2): another one when somebody signs in or out.
pub fn browser_state(app: &App, accounts: &[SignedIn]) -> String {
    if accounts.is_empty() {
        return URL_SAFE_NO_PAD.encode(app.secrets.entropy().bytes::<32>());
    }
    let mut sessions: Vec<String> = accounts.iter().map(|account| account.session_id.to_string()).collect();
    sessions.sort_unstable();
    app.secrets.blind_index(Purpose::BrowserState, &sessions.join("."))
}

/// Whether `presented` is the form token of that session.
pub fn is_csrf_token(app: &App, session: &SignedIn, presented: &str) -> bool {
    csrf::verify(&app.secrets, session.cookie.expose(), Some(presented))
}

/// A request for a page.
pub struct Visit {
    pub app: App,
    pub context: RequestContext,
    pub headers: HeaderMap,
    /// The path and query as they were asked for; of a form that has no page of its own, the page that it stands on.
    pub target: String,
    /// From the query of a GET, from the body of a POST.
    pub parameters: Parameters,
    /// Who is signed in, the current one first.
    pub accounts: Vec<SignedIn>,
}

impl Visit {
    /// Who acts.
    pub fn current(&self) -> Option<&SignedIn> {
        self.accounts.first()
    }

    /// Whether the form was shown in this browser, to who acts now (RFC 6749 10.12).
    pub fn is_own_form(&self) -> bool {
        match self.current() {
            Some(session) => self.is_form_of(session.cookie.expose()),
            None => self.is_form_of_nobody(),
        }
    }

    /// Whether it was shown in this browser while nobody was signed in: somebody may be now, in another tab.
    pub fn is_form_of_nobody(&self) -> bool {
        form_cookie(&self.app, &self.headers).is_some_and(|cookie| self.is_form_of(&cookie))
    }

    fn is_form_of(&self, cookie: &str) -> bool {
        csrf::verify(&self.app.secrets, cookie, self.parameters.get(csrf::FIELD))
    }

    /// Whether the browser sent a cookie that forms are tied to.
    pub fn has_cookie(&self) -> bool {
        let issuer = &self.app.settings.issuer;
        [Cookie::Session, Cookie::Form].iter().any(|cookie| cookie.read(&self.headers, issuer).is_some())
    }

    /// Who is signed in, or the way to the sign-in page and back here.
    pub fn user(&self) -> Result<SignedIn, PageError> {
        self.current().cloned().ok_or_else(|| PageError::SignIn(Next::parse(&self.target)))
    }

    /// RFC 6749 10.12: nothing is done for a form that was not shown in this browser. Who sent it learns where its page is, and
    /// who has signed out meanwhile signs in first.
    pub fn check_form(&self) -> Result<(), PageError> {
        let (page, cookie) = (Next::parse(&self.target), self.has_cookie());
        match self.is_own_form() {
            true => Ok(()),
            false if cookie && self.accounts.is_empty() => Err(PageError::SignIn(page)),
            false => Err(PageError::ForeignForm { page, cookie }),
        }
    }

    /// The frame of a page. `here` is its entry in the navigation.
    pub async fn chrome(&self, here: &'static str) -> Result<Chrome, PageError> {
        chrome(&self.app, &self.headers, self.current(), here).await
    }

    /// Metadata of what this user does; `correlation` is the grant or session that it belongs to.
    pub fn by_user(&self, user_id: UserId, correlation: Option<String>) -> CommandContext {
        self.app.command_context(Actor::User(user_id), &self.context, correlation)
    }
}

/// The frame of a page with forms: with the user's name, or with the cookie that ties forms to this browser.
pub async fn chrome(
    app: &App,
    headers: &HeaderMap,
    signed_in: Option<&SignedIn>,
    here: &'static str,
) -> Result<Chrome, PageError> {
    if let Some(session) = signed_in {
        return named_chrome(app, session, here).await;
    }
    let mut chrome = bare_chrome(app, false);
    chrome.here = here;
    let cookie = form_cookie(app, headers);
    let cookie = cookie.unwrap_or_else(|| URL_SAFE_NO_PAD.encode(app.secrets.entropy().bytes::<32>()));
    // Each time, or a page that is shown late has a cookie for minutes.
    chrome.cookies.extend(Cookie::Form.set(&cookie, Some(FORM_COOKIE_LIFE), &app.settings.issuer));
    chrome.csrf = csrf::token(&app.secrets, &cookie);
    Ok(chrome)
}

/// The frame of a page for who is signed in.
pub async fn named_chrome(app: &App, session: &SignedIn, here: &'static str) -> Result<Chrome, PageError> {
    let mut chrome = bare_chrome(app, true);
    chrome.here = here;
    chrome.user = Some(username(app, session.user_id).await?);
    chrome.csrf = csrf::token(&app.secrets, session.cookie.expose());
    Ok(chrome)
}

/// The frame of a page without forms. Needs no database.
pub fn bare_chrome(app: &App, signed_in: bool) -> Chrome {
    Chrome {
        base: app.settings.issuer.path().to_owned(),
        demo: app.settings.demo,
        makes_clients: app.settings.clients.made_by_users,
        https: app.settings.issuer.is_https(),
        signed_in,
        ..Chrome::default()
    }
}

/// The name of a user, as it was typed at registration.
pub async fn username(app: &App, user_id: UserId) -> Result<String, PageError> {
    Ok(app.vault.profile(user_id).await?.map(|profile| profile.username).unwrap_or_default())
}

fn form_cookie(app: &App, headers: &HeaderMap) -> Option<String> {
    let cookie = Cookie::Form.read(headers, &app.settings.issuer)?;
    let shaped = cookie.len() == FORM_COOKIE_CHARS
        && cookie.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    shaped.then_some(cookie)
}
