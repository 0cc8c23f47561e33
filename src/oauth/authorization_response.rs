//! The way back to the client: RFC 6749 4.1.2, 4.1.2.1, 4.2.2, 4.2.2.1, and `iss` in all of them (RFC 9207 2).
//!
//! Nothing but a [`VerifiedRedirect`] redirects to a client, and only a registered `redirect_uri` makes one, so this
//! server is no open redirector (RFC 9700 4.11). Where nobody vouched for the client, who registered it chose that too; then
//! whoever has allowed it nothing is asked before they go there (`authorize`, `pages::leaving`).

use form_urlencoded::Serializer;
use grantlog_domain::ClientId;
use grantlog_domain::client::{ClientMetadata, ResponseType};
use http::header::{LOCATION, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::error::{OAuthError, no_store};
use crate::config::Issuer;
use crate::pages::form_post_page;

/// A `redirect_uri` that the client registered, with what goes back with every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRedirect {
    redirect_uri: String,
    /// RFC 6749 4.1.3: then the token request must repeat it.
    in_request: bool,
    state: Option<String>,
    mode: ResponseMode,
    /// The request named it.
    mode_in_request: bool,
    /// The client, when nobody answers for where that leads.
    unvouched: Option<ClientId>,
}

/// How parameters come to the client (OAuth 2.0 Multiple Response Type Encoding Practices 2.1), errors included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    Query,
    Fragment,
    /// OAuth 2.0 Form Post Response Mode 2.
    FormPost,
}

impl ResponseMode {
    pub const ALL: &[Self] = &[Self::Query, Self::Fragment, Self::FormPost];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Fragment => "fragment",
            Self::FormPost => "form_post",
        }
    }
}

impl VerifiedRedirect {
    /// RFC 6749 3.1.2.3: compares `presented` with what was registered; one that is left out stands for the only one
    /// that was registered.
    pub fn verify(client: &ClientMetadata, presented: Option<&str>) -> Result<Self, OAuthError> {
        let redirect_uri = match (presented, client.redirect_uris.as_slice()) {
            (Some(presented), registered) => {
                if !registered.iter().any(|uri| uri.matches(presented, client.is_native())) {
                    return Err(OAuthError::invalid_request("redirect_uri is not one that the client registered"));
                }
                presented
            }
            (None, [only]) => only.as_str(),
            (None, _) => return Err(OAuthError::missing("redirect_uri")),
        };
        let redirect_uri = redirect_uri.to_owned();
        let (mode, in_request) = (ResponseMode::Query, presented.is_some());
        Ok(Self { redirect_uri, in_request, state: None, mode, mode_in_request: false, unvouched: None })
    }

    /// Says whose it is when nobody vouched for that client.
    #[must_use]
    pub fn of_unvouched(mut self, client_id: Option<ClientId>) -> Self {
        self.unvouched = client_id;
        self
    }

    #[must_use]
    pub const fn unvouched(&self) -> Option<ClientId> {
        self.unvouched
    }

    /// RFC 6749 4.1.2: `state` comes back exactly as it was sent.
    #[must_use]
    pub fn with_state(mut self, state: Option<&str>) -> Self {
        self.state = state.map(str::to_owned);
        self
    }

    /// Answers as the request says, or else where that response type is answered (RFC 6749 4.2.2; OAuth 2.0 Multiple
    /// Response Type Encoding Practices 5).
    #[must_use]
    pub fn answering(mut self, response_type: Option<ResponseType>, asked: Option<ResponseMode>) -> Self {
        let usual = match response_type {
            None | Some(ResponseType::Code) => ResponseMode::Query,
            Some(_) => ResponseMode::Fragment,
        };
        self.mode = asked.unwrap_or(usual);
        self.mode_in_request = asked.is_some();
        self
    }

    /// The response mode, if the request named it.
    #[must_use]
    pub fn asked_mode(&self) -> Option<ResponseMode> {
        self.mode_in_request.then_some(self.mode)
    }

    /// How the client gets its answer.
    #[must_use]
    pub const fn mode(&self) -> ResponseMode {
        self.mode
    }

    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    #[must_use]
    pub const fn in_request(&self) -> bool {
        self.in_request
    }

    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Sends the browser to the client with these parameters, `state` and `iss`. Never cached, never a referrer. 303, so
    /// that a form that was posted here is not posted there (RFC 9700 4.12); or a page that posts them.
    #[must_use]
    pub fn respond(&self, issuer: &Issuer, parameters: &[(&str, &str)]) -> Response {
        let parameters = self.complete(issuer, parameters);
        match self.location(&parameters) {
            Some(location) => see_other(&location),
            None => form_post_page(&self.redirect_uri, &parameters, issuer),
        }
    }

    /// Tells the client why it gets nothing (RFC 6749 4.1.2.1).
    #[must_use]
    pub fn refuse(&self, issuer: &Issuer, error: &OAuthError) -> Response {
        self.respond(issuer, &refused(error))
    }

    /// What [`Self::refuse`] tells.
    #[must_use]
    pub fn refusal<'a>(&'a self, issuer: &'a Issuer, error: &'a OAuthError) -> Vec<(&'a str, &'a str)> {
        self.complete(issuer, &refused(error))
    }

    fn complete<'a>(&'a self, issuer: &'a Issuer, parameters: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let state = self.state.as_deref().map(|state| ("state", state));
        parameters.iter().copied().chain(state).chain([("iss", issuer.as_str())]).collect()
    }

    /// The address with these parameters; `None` where a form posts them.
    #[must_use]
    pub fn location(&self, parameters: &[(&str, &str)]) -> Option<String> {
        let separator = match (self.mode, self.redirect_uri.contains('?')) {
            (ResponseMode::FormPost, _) => return None,
            (ResponseMode::Fragment, _) => '#',
            (ResponseMode::Query, true) => '&',
            (ResponseMode::Query, false) => '?',
        };
        let encoded = Serializer::new(String::new()).extend_pairs(parameters).finish();
        Some(format!("{}{separator}{encoded}", self.redirect_uri))
    }
}

fn refused(error: &OAuthError) -> [(&str, &str); 2] {
    [("error", error.code().as_str()), ("error_description", error.description())]
}

/// 303 See Other, not to be cached.
#[must_use]
pub fn see_other(location: &str) -> Response {
    // Registered URIs are printable ASCII and parameters are percent-encoded, so this is always a header value.
    let Ok(location) = HeaderValue::from_str(location) else {
        return OAuthError::invalid_request("the redirect cannot be written").into_response();
    };
    let mut response = Response::new(String::new().into());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    no_store(headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use grantlog_domain::client::{ApplicationType, GrantType, TokenEndpointAuthMethod};
    use grantlog_domain::{RedirectUri, Scope};

    fn client(uris: &[&str]) -> ClientMetadata {
        ClientMetadata {
            client_name: "Test".into(),
            client_uri: None,
            redirect_uris: uris.iter().map(|uri| RedirectUri::register(uri, false).expect("registered")).collect(),
            grant_types: vec![GrantType::AuthorizationCode],
            response_types: vec![ResponseType::Code],
            scope: Scope::default(),
            token_endpoint_auth_method: TokenEndpointAuthMethod::None,
            application_type: ApplicationType::Web,
            require_pkce: false,
            resource_server: false,
            openid: Box::default(),
        }
    }

    fn location(response: &Response) -> &str {
        response.headers()[LOCATION].to_str().expect("ASCII")
    }

    fn issuer() -> Issuer {
        "https://id.example".parse().expect("an issuer")
    }

    #[test]
    fn only_a_registered_uri_is_verified() {
        let client = client(&["https://app.example/cb", "https://app.example/other"]);
        assert!(VerifiedRedirect::verify(&client, Some("https://app.example/cb")).is_ok());
        assert!(VerifiedRedirect::verify(&client, Some("https://app.example/cb/")).is_err());
        assert!(VerifiedRedirect::verify(&client, None).is_err());
    }

    #[test]
    fn the_only_registered_uri_need_not_be_named() {
        let redirect = VerifiedRedirect::verify(&client(&["https://app.example/cb"]), None).expect("verified");
        assert_eq!((redirect.redirect_uri(), redirect.in_request()), ("https://app.example/cb", false));
    }

    #[test]
    fn state_and_issuer_are_in_every_answer() {
        let redirect = VerifiedRedirect::verify(&client(&["https://app.example/cb?x=1"]), None).expect("verified");
        let redirect = redirect.with_state(Some("a b&"));
        let answer = redirect.respond(&issuer(), &[("code", "c")]);
        assert_eq!(answer.status(), 303);
        let expected = "https://app.example/cb?x=1&code=c&state=a+b%26&iss=https%3A%2F%2Fid.example";
        assert_eq!(location(&answer), expected);
        let error = OAuthError::new(super::super::error::ErrorCode::AccessDenied, "no");
        let answer = redirect.answering(Some(ResponseType::Token), None).refuse(&issuer(), &error);
        let expected = "https://app.example/cb?x=1#error=access_denied&error_description=no&state=a+b%26&iss=";
        assert!(location(&answer).starts_with(expected), "{}", location(&answer));
    }
}
