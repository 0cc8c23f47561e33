//! Consent: who asks, for what in words, for which account, and where it leads (RFC 6749 3.1, 10.2).
//!
//! Only the page. Its form goes to the authorization endpoint with the whole request, which is checked again there.

use askama::Template;
use grantlog_domain::client::{Author, Client, ClientMetadata};
use grantlog_domain::grant::ConsentDigest;
use grantlog_domain::{ClientId, Scope};
use grantlog_projections::live::Consented;
use http::StatusCode;
use url::Url;
use warp::reply::Response;

use super::chrome::Chrome;
use super::destination::destination;
use super::failure::{PageError, error_without_request};
use super::scopes::{self, Ask};
use super::visit::{SignedIn, named_chrome};
use crate::app::App;
use crate::http::security_headers;
use crate::oauth::authorization_request::AuthorizationRequest;
use crate::oauth::shown::{counted, shown};

#[derive(Template)]
#[template(path = "consent.html")]
pub(super) struct ConsentPage<'a> {
    pub chrome: Chrome,
    pub client_name: &'a str,
    pub client_uri: Option<&'a str>,
    /// No operator answers for it (RFC 7591 5).
    pub made_by: Option<&'static str>,
    /// The user allowed it before, and saw something else then.
    pub changed: bool,
    pub monogram: String,
    /// Loaded by the browser from where the client keeps it, never by this server.
    pub logo_uri: Option<&'a str>,
    pub policy_uri: Option<&'a str>,
    pub tos_uri: Option<&'a str>,
    pub asks: Vec<Ask>,
    pub account: &'a str,
    /// Where the browser goes afterwards, as far as a person can tell.
    pub destination: String,
    pub switch_account: String,
    pub action: &'static str,
    /// Comes back with the answer.
    pub shown: String,
    pub fields: Vec<(&'static str, String)>,
}

/// The page that asks the user.
pub async fn consent_page(app: &App, request: &AuthorizationRequest, session: &SignedIn) -> Response {
    let page = page(app, request, session, false).await;
    page.unwrap_or_else(|error| error_without_request(app, error))
}

/// The same for who has answered a page that was out of date, so that nothing was done.
pub async fn consent_again_page(app: &App, request: &AuthorizationRequest, session: &SignedIn) -> Response {
    let page = page(app, request, session, true).await;
    page.unwrap_or_else(|error| error_without_request(app, error))
}

async fn page(
    app: &App,
    request: &AuthorizationRequest,
    session: &SignedIn,
    out_of_date: bool,
) -> Result<Response, PageError> {
    let chrome = Chrome { out_of_date, ..named_chrome(app, session, "").await? };
    let seen = counted(app, request);
    let before = Before { app, request, session };
    let allowed = before.allowed(seen.as_ref());
    let made_by = made_by(app, request.client_id).await?;
    let redirect_uri = request.redirect.redirect_uri();
    let mut asks = scopes::asks(&request.scope, &allowed);
    asks.extend(before.claims_ask(seen.as_ref(), &allowed));
    let logo = logo(&request.client);
    let view = ConsentPage {
        chrome: chrome.clone(),
        client_name: &request.client.client_name,
        client_uri: request.client.client_uri.as_deref(),
        made_by,
        changed: before.has_changed(seen.as_ref()),
        monogram: monogram(&request.client.client_name),
        logo_uri: logo.as_ref().map(|(uri, _)| *uri),
        policy_uri: request.client.openid.policy_uri.as_deref(),
        tos_uri: request.client.openid.tos_uri.as_deref(),
        asks,
        account: chrome.user.as_deref().unwrap_or_default(),
        destination: destination(redirect_uri),
        switch_account: request.switching_account().to_path(),
        action: "/oauth/authorize",
        shown: shown(request).to_string(),
        fields: request.fields(),
    };
    let mut response = chrome.page(if out_of_date { StatusCode::FORBIDDEN } else { StatusCode::OK }, &view);
    if let Some((_, origin)) = logo {
        security_headers::allow_image(response.headers_mut(), &origin);
    }
    Ok(response)
}

/// Who made the client, as the log has it, when that is nobody for whom an operator answers. RFC 7591 5 asks to warn of what such
/// clients say of themselves; those that registered with an operator's token do say it themselves.
async fn made_by(app: &App, id: ClientId) -> Result<Option<&'static str>, PageError> {
    let client = app.store.load::<Client>(&id.to_string()).await?.aggregate;
    Ok(client.registration().and_then(|registration| match registration.author {
        _ if registration.vouched => None,
        Author::Operator => None,
        Author::User => Some("A user of this server made this application, not who operates it."),
        Author::InitialAccessToken | Author::Anonymous => Some("This application registered itself."),
    }))
}

/// The client's logo, and the origin from which a browser may load it: over https, and one that a policy can name.
fn logo(client: &ClientMetadata) -> Option<(&str, String)> {
    let uri = client.openid.logo_uri.as_deref()?;
    let url = Url::parse(uri).ok().filter(|url| url.scheme() == "https")?;
    let origin = url.origin().ascii_serialization();
    security_headers::is_source(&origin).then_some((uri, origin))
}

/// What the user allowed this client before.
struct Before<'a> {
    app: &'a App,
    request: &'a AuthorizationRequest,
    session: &'a SignedIn,
}

impl Before<'_> {
    fn has_allowed(&self, shown: Option<&ConsentDigest>, scope: &Scope, claims: &[&str]) -> bool {
        let asked = Consented { client: self.request.client_id, shown, scope, claims };
        self.app.live.has_consented(self.session.user_id, &asked, self.app.now())
    }

    /// What of the request, for what they see now.
    fn allowed(&self, seen: Option<&ConsentDigest>) -> Scope {
        self.request.scope.filtered(|token| self.has_allowed(seen, &Scope::parse(token).unwrap_or_default(), &[]))
    }

    /// The claims that the request names beyond its scope (OpenID Connect Core 5.5).
    fn claims_ask(&self, seen: Option<&ConsentDigest>, allowed: &Scope) -> Option<Ask> {
        let named = self.request.openid.claims.beyond(&self.request.scope);
        let new = !allowed.is_empty() && !self.has_allowed(seen, &Scope::default(), &named);
        scopes::claims_ask(&named, new)
    }

    /// Something, when it did not look as it does now.
    fn has_changed(&self, seen: Option<&ConsentDigest>) -> bool {
        let none = Scope::default();
        !self.has_allowed(seen, &none, &[]) && self.has_allowed(None, &none, &[])
    }
}

fn monogram(name: &str) -> String {
    name.chars().find(|char| char.is_alphanumeric()).unwrap_or('?').to_uppercase().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_any_script_has_a_monogram() {
        assert_eq!(monogram("«éclair»"), "É");
        assert_eq!(monogram("…"), "?");
    }
}
