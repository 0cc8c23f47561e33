//! What a client hears when something is refused: RFC 6749 4.1.2.1, 4.2.2.1 and 5.2, RFC 6750 3.1, RFC 7009 2.2.1,
//! RFC 7591 3.2.2.
//!
//! The only file with error codes and statuses. A refusal of the domain is answered here once; a fault is logged with
//! its request id and answered `server_error`, its text never shown. Not here: how the error page looks (`pages`).

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;

use grantlog_domain::Scope;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use warp::reply::Response;

use super::authorization_response::VerifiedRedirect;
use crate::http::failure::Failure;
use crate::http::form::FormError;

/// Seconds after which a client may try again when the store is down or busy.
const RETRY_AFTER_SECONDS: NonZeroU16 = NonZeroU16::MIN;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $wire:literal $status:ident;)+) => {
        /// `error`: what went wrong, in a word that programs understand.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode { $($(#[$doc])* $variant),+ }

        impl ErrorCode {
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire),+ }
            }

            const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }
        }
    };
}

error_codes! {
    /// RFC 6749 5.2: missing, repeated or malformed parameter.
    InvalidRequest = "invalid_request" BAD_REQUEST;
    /// RFC 6749 5.2: client authentication failed.
    InvalidClient = "invalid_client" UNAUTHORIZED;
    /// RFC 6749 5.2: the code, refresh token or password is not valid, or not this client's.
    InvalidGrant = "invalid_grant" BAD_REQUEST;
    /// RFC 6749 5.2: the client may not use this grant type.
    UnauthorizedClient = "unauthorized_client" BAD_REQUEST;
    /// RFC 6749 5.2.
    UnsupportedGrantType = "unsupported_grant_type" BAD_REQUEST;
    /// RFC 6749 4.1.2.1.
    UnsupportedResponseType = "unsupported_response_type" BAD_REQUEST;
    /// RFC 6749 5.2: unknown, malformed or wider than allowed.
    InvalidScope = "invalid_scope" BAD_REQUEST;
    /// RFC 6749 4.1.2.1: the resource owner or the server said no.
    AccessDenied = "access_denied" FORBIDDEN;
    /// RFC 6749 4.1.2.1.
    ServerError = "server_error" INTERNAL_SERVER_ERROR;
    /// RFC 6749 4.1.2.1: overloaded, or the store is down.
    TemporarilyUnavailable = "temporarily_unavailable" SERVICE_UNAVAILABLE;
    /// RFC 6750 3.1.
    InvalidToken = "invalid_token" UNAUTHORIZED;
    /// RFC 6750 3.1.
    InsufficientScope = "insufficient_scope" FORBIDDEN;
    /// RFC 7591 3.2.2.
    InvalidRedirectUri = "invalid_redirect_uri" BAD_REQUEST;
    /// RFC 7591 3.2.2.
    InvalidClientMetadata = "invalid_client_metadata" BAD_REQUEST;
    /// RFC 7591 3.2.2.
    UnapprovedSoftwareStatement = "unapproved_software_statement" BAD_REQUEST;
    /// RFC 8707 2.
    InvalidTarget = "invalid_target" BAD_REQUEST;
    /// RFC 9101 6 and OpenID Connect Core 3.1.2.6.
    RequestNotSupported = "request_not_supported" BAD_REQUEST;
    /// RFC 9101 6 and OpenID Connect Core 3.1.2.6.
    RequestUriNotSupported = "request_uri_not_supported" BAD_REQUEST;
    /// RFC 9101 6 and OpenID Connect Core 3.1.2.6.
    InvalidRequestObject = "invalid_request_object" BAD_REQUEST;
    /// RFC 9101 6 and OpenID Connect Core 3.1.2.6.
    InvalidRequestUri = "invalid_request_uri" BAD_REQUEST;
    /// OpenID Connect Core 3.1.2.6: `prompt=none`, and nobody is signed in.
    LoginRequired = "login_required" FORBIDDEN;
    /// OpenID Connect Core Unmet Authentication Requirements 1.0, 2: the user cannot sign in as the client asked.
    UnmetAuthenticationRequirements = "unmet_authentication_requirements" FORBIDDEN;
    /// OpenID Connect Core 3.1.2.6: `prompt=none`, and the user was not asked before.
    ConsentRequired = "consent_required" FORBIDDEN;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What `WWW-Authenticate` says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Challenge {
    None,
    /// RFC 6749 5.2, RFC 9110 11.6.1.
    Basic,
    /// RFC 6750 3: with the scope that would do, if one is known.
    Bearer {
        scope: Option<String>,
        /// RFC 6750 3.1: who showed no token learns no error code.
        bare: bool,
    },
}

/// An error as a client reads it: JSON with `error` and `error_description`, never cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    code: ErrorCode,
    /// For the developer of the client; ASCII without `"` and `\` (RFC 6749 5.2), never an echo of what was sent.
    description: Cow<'static, str>,
    status: StatusCode,
    challenge: Challenge,
    /// Seconds for `Retry-After`, if trying again makes sense.
    retry_after: Option<NonZeroU16>,
}

impl std::error::Error for OAuthError {}

impl fmt::Display for OAuthError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.description)
    }
}

impl OAuthError {
    /// An error with the usual status of its code.
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        let challenge = if code == ErrorCode::InvalidClient { Challenge::Basic } else { Challenge::None };
        let retry_after = (code == ErrorCode::TemporarilyUnavailable).then_some(RETRY_AFTER_SECONDS);
        Self { code, description: description.into(), status: code.status(), challenge, retry_after }
    }

    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// A parameter that must be there is not (RFC 6749 5.2).
    #[must_use]
    pub fn missing(name: &str) -> Self {
        Self::invalid_request(format!("the parameter {name} is missing"))
    }

    /// Client authentication failed (RFC 6749 5.2). One answer for every reason, so that it does not tell which clients
    /// exist. The challenge is sent however the client tried: RFC 9110 15.5.2 asks for it with every 401.
    #[must_use]
    pub fn invalid_client() -> Self {
        Self::new(ErrorCode::InvalidClient, "client authentication failed")
    }

    /// The client of an authorization request is not known or not enabled: for the error page, so nobody is asked to
    /// authenticate.
    #[must_use]
    pub fn unknown_client() -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            challenge: Challenge::None,
            ..Self::new(ErrorCode::InvalidClient, "the application is not known here")
        }
    }

    pub fn invalid_grant(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidGrant, description)
    }

    /// The store is down, busy, or lost too many races: nothing was done, the client may try again.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(ErrorCode::TemporarilyUnavailable, "the server cannot do this at the moment, try again")
    }

    /// Too much of this was asked lately; what is done next time may be asked in `seconds` (RFC 6585 4).
    #[must_use]
    pub fn too_many(seconds: u32) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: NonZeroU16::new(u16::try_from(seconds).unwrap_or(u16::MAX)),
            ..Self::new(ErrorCode::TemporarilyUnavailable, "too much of this was asked lately, try again later")
        }
    }

    /// Of what was asked for, this user may have nothing (`oauth.user_scopes`).
    #[must_use]
    pub fn scope_withheld() -> Self {
        Self::new(ErrorCode::InvalidScope, "the user may not have any of this scope")
    }

    /// Something that must not happen did. The log has it under the request id; the client gets only that id.
    #[must_use]
    pub fn fault(request_id: Option<&str>, fault: &dyn fmt::Display) -> Self {
        let request_id = request_id.unwrap_or("-");
        tracing::error!(request_id, error = %fault, "a request failed");
        Self::new(ErrorCode::ServerError, format!("the server failed; request id {}", printable(request_id)))
    }

    /// A request that no handler answered: the status says why.
    #[must_use]
    pub fn not_answered(failure: Failure) -> Self {
        let code = match failure {
            Failure::BodyTooLarge | Failure::TooManyHeaders | Failure::ForeignHost | Failure::Elsewhere => {
                ErrorCode::InvalidRequest
            }
            Failure::Panicked => ErrorCode::ServerError,
            Failure::TooSlow => ErrorCode::TemporarilyUnavailable,
        };
        Self { status: failure.status(), ..Self::new(code, failure.text()) }
    }

    /// The same error under another code, with its status.
    #[must_use]
    pub fn called(self, code: ErrorCode) -> Self {
        Self { code, ..self }
    }

    /// No token was shown to a protected resource (RFC 6750 3: no error code then).
    #[must_use]
    pub fn token_missing(scope: &Scope) -> Self {
        Self {
            challenge: Challenge::Bearer { scope: scope_text(scope), bare: true },
            ..Self::new(ErrorCode::InvalidToken, "an access token is needed")
        }
    }

    /// The token is not active (RFC 6750 3.1).
    #[must_use]
    pub fn invalid_token(scope: &Scope) -> Self {
        Self {
            challenge: Challenge::Bearer { scope: scope_text(scope), bare: false },
            ..Self::new(ErrorCode::InvalidToken, "the access token is not active")
        }
    }

    /// The token is active, but not for this (RFC 6750 3.1).
    #[must_use]
    pub fn insufficient_scope(scope: &Scope) -> Self {
        Self {
            challenge: Challenge::Bearer { scope: scope_text(scope), bare: false },
            ..Self::new(ErrorCode::InsufficientScope, "the access token does not have the scope that is needed")
        }
    }

    /// A request to a protected resource is malformed (RFC 6750 3.1).
    pub fn malformed_bearer(description: impl Into<Cow<'static, str>>) -> Self {
        Self { challenge: Challenge::Bearer { scope: None, bare: false }, ..Self::invalid_request(description) }
    }

    /// The token is fine, but speaks for no user.
    #[must_use]
    pub fn no_user() -> Self {
        Self::new(ErrorCode::AccessDenied, "this access token speaks for a client, not for a user")
    }

    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Seconds for `Retry-After`, if trying again makes sense.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after.map(|seconds| seconds.get().into())
    }

    /// The JSON answer (RFC 6749 5.2).
    #[must_use]
    pub fn into_response(self) -> Response {
        let body = json!({ "error": self.code.as_str(), "error_description": &*self.description }).to_string();
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        no_store(headers);
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn challenge(&self) -> Option<HeaderValue> {
        let text = match &self.challenge {
            Challenge::None => return None,
            Challenge::Basic => return Some(HeaderValue::from_static("Basic realm=\"grantlog\", charset=\"UTF-8\"")),
            Challenge::Bearer { scope, bare } => {
                let mut text = String::from("Bearer realm=\"grantlog\"");
                if !bare {
                    text.push_str(&format!(", error=\"{}\", error_description=\"{}\"", self.code, self.description));
                }
                if let Some(scope) = scope {
                    text.push_str(&format!(", scope=\"{scope}\""));
                }
                text
            }
        };
        // Scope tokens and descriptions are printable ASCII without quotes, so this does not fail.
        HeaderValue::from_str(&text).ok()
    }
}

fn scope_text(scope: &Scope) -> Option<String> {
    (!scope.is_empty()).then(|| scope.to_string())
}

/// What of `text` may stand in an `error_description`.
fn printable(text: &str) -> String {
    text.chars().filter(|char| matches!(char, ' '..='~') && !matches!(char, '"' | '\\')).take(64).collect()
}

/// RFC 6749 5.1: nothing with a token, code or error in it may be cached.
pub fn no_store(headers: &mut http::HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

/// The answer to a method that an endpoint does not have; `allow` as the header wants it.
#[must_use]
pub fn method_not_allowed(allow: &'static str) -> Response {
    let error = OAuthError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        ..OAuthError::invalid_request("this endpoint does not have that method")
    };
    let mut response = error.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

impl From<FormError> for OAuthError {
    fn from(error: FormError) -> Self {
        let status = match error {
            FormError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            // RFC 6749 5.2: an `invalid_request` is a 400, whatever is wrong with it.
            FormError::ContentType
            | FormError::TooMany
            | FormError::Repeated
            | FormError::Encoding
            | FormError::Nul
            | FormError::Broken => StatusCode::BAD_REQUEST,
        };
        Self { status, ..Self::invalid_request(error.to_string()) }
    }
}

/// An error of the authorization endpoint (RFC 6749 4.1.2.1).
#[derive(Debug)]
pub enum AuthorizationError {
    /// Shown to the person at the browser: the client or its `redirect_uri` is not verified.
    Page(OAuthError),
    /// Sent to the client. Only a verified `redirect_uri` makes one.
    Redirect { to: Box<VerifiedRedirect>, error: OAuthError },
    /// The same, when the user lets the client hear it.
    Ask { to: Box<VerifiedRedirect>, error: OAuthError },
}

impl From<OAuthError> for AuthorizationError {
    fn from(error: OAuthError) -> Self {
        Self::Page(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(response: &'a Response, name: &http::HeaderName) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().expect("ASCII"))
    }

    #[test]
    fn every_error_is_json_and_is_not_cached() {
        let response = OAuthError::invalid_grant("no").into_response();
        assert_eq!(response.status(), 400);
        assert_eq!(header(&response, &CONTENT_TYPE), Some("application/json"));
        assert_eq!(header(&response, &CACHE_CONTROL), Some("no-store"));
        assert_eq!(header(&response, &PRAGMA), Some("no-cache"));
    }

    #[test]
    fn a_failed_client_authentication_is_a_401_with_a_challenge() {
        let response = OAuthError::invalid_client().into_response();
        assert_eq!(response.status(), 401);
        assert!(header(&response, &WWW_AUTHENTICATE).is_some_and(|value| value.starts_with("Basic ")));
    }

    #[test]
    fn who_shows_no_token_hears_the_scope_but_no_error_code() {
        let scope = Scope::parse("profile").expect("a scope");
        let response = OAuthError::token_missing(&scope).into_response();
        assert_eq!(response.status(), 401);
        assert_eq!(header(&response, &WWW_AUTHENTICATE), Some("Bearer realm=\"grantlog\", scope=\"profile\""));
    }

    #[test]
    fn a_token_without_the_scope_hears_which_one_is_needed() {
        let scope = Scope::parse("a b").expect("a scope");
        let response = OAuthError::insufficient_scope(&scope).into_response();
        assert_eq!(response.status(), 403);
        let challenge = header(&response, &WWW_AUTHENTICATE).expect("a challenge");
        assert!(challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"a b\""));
    }

    #[test]
    fn what_can_be_tried_again_says_when() {
        let response = OAuthError::unavailable().into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(header(&response, &RETRY_AFTER), Some("1"));
    }

    #[test]
    fn the_text_of_a_fault_is_not_shown() {
        let error = OAuthError::fault(Some("id-1\"\u{7}"), &"password=hunter2");
        assert_eq!(error.description(), "the server failed; request id id-1");
        assert_eq!(error.status(), 500);
    }
}
