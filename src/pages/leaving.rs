//! The page between this server and a client that nobody vouched for: RFC 9700 4.11.2.
//!
//! Who registers a client chooses where its errors lead, and a link to this server looks like a link to this server. So who
//! has allowed that client nothing is told where the link leads, and goes on by a click.

use askama::Template;
use grantlog_domain::{ClientId, Scope, UserId};
use grantlog_projections::live::{Consented, LiveClient};
use http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::chrome::Chrome;
use super::destination::destination;
use super::visit::{bare_chrome, seems_signed_in};
use crate::app::App;
use crate::config::ErrorRedirects;
use crate::oauth::authorization_response::VerifiedRedirect;
use crate::oauth::error::OAuthError;
use crate::oauth::shown::shown_for;
use crate::standing::is_fresh;

#[derive(Template)]
#[template(path = "leaving.html")]
pub(super) struct LeavingPage<'a> {
    pub chrome: Chrome,
    pub destination: String,
    pub code: &'static str,
    pub description: &'a str,
    /// Where the link leads; without one, a form posts the fields.
    pub link: Option<String>,
    pub action: &'a str,
    pub fields: &'a [(&'a str, &'a str)],
}

/// Whether people are asked before they go to that client: it registered itself or a user made it, and the settings do not
/// say otherwise.
pub fn asks(app: &App, client: &LiveClient) -> bool {
    app.settings.registration.error_redirects == ErrorRedirects::Ask && !client.is_vouched()
}

/// Whether that user allowed that client something that stands, for what receives `uri`, and it looks as it did then: a client
/// that moves or takes another name is not the one that they know.
pub fn knows(app: &App, user_id: UserId, client_id: ClientId, uri: &str) -> bool {
    let Some(client) = app.live.client(client_id).filter(|_| is_fresh(app)) else { return false };
    shown_for(&client.metadata, client.vouched, uri).any(|shown| {
        let anything = Consented { client: client_id, shown: Some(&shown), scope: &Scope::default(), claims: &[] };
        app.live.has_consented(user_id, &anything, app.now())
    })
}

/// Tells the person what the client would be told, and where.
#[must_use]
pub fn leaving_page(app: &App, headers: &HeaderMap, to: &VerifiedRedirect, error: &OAuthError) -> Response {
    let fields = to.refusal(&app.settings.issuer, error);
    let link = to.location(&fields);
    let chrome = bare_chrome(app, seems_signed_in(app, headers));
    let view = LeavingPage {
        chrome: chrome.clone(),
        destination: destination(to.redirect_uri()),
        code: error.code().as_str(),
        description: error.description(),
        link,
        action: to.redirect_uri(),
        fields: &fields,
    };
    chrome.page(StatusCode::OK, &view)
}
