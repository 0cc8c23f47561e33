//! Protecting an API with access tokens: a warp filter, and the RFC 6750 answers that go with it.
//!
//! ```no_run
//! use grantlog::resource::{Authorized, Remote, RemoteSettings, ResourceServer, refusal};
//! use warp::Filter;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let remote = Remote::new(RemoteSettings::new("https://id.example/oauth/introspect", "CLIENT_ID", "CLIENT_SECRET"))?;
//! let api = ResourceServer::remote(remote);
//! let hello = warp::path!("hello")
//!     .and(api.require_oauth("profile"))
//!     .map(|caller: Authorized| format!("hello {}\n", caller.user().unwrap_or("service")))
//!     .recover(refusal);
//! # drop(hello);
//! # Ok(())
//! # }
//! ```
//!
//! `local` asks the live models of this very process, `remote` asks the introspection endpoint and remembers the answers
//! for a while; `token_cache` is that memory. `jwt` asks nobody: it reads tokens that are JSON Web Tokens.

mod jwt;
mod local;
mod remote;
mod token_cache;

use std::sync::Arc;

use bytes::Buf;
use futures::Stream;
use grantlog_domain::{Scope, Timestamp};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use warp::filters::BoxedFilter;
use warp::reject::Reject;
use warp::reply::Response;
use warp::{Filter, Rejection};

pub use self::jwt::{Jwt, JwtSettings};
pub use self::local::Protected;
pub use self::remote::{Remote, RemoteError, RemoteSettings};

use self::local::{Local, bearer_in_body};
use crate::app::App;
use crate::http::bearer::{self, BearerFault};
use crate::http::form::{self, Encodings, FormError, FormLimits, Parameters, raw_query};
use crate::oauth::error::OAuthError;

/// Longest form body in which a token is looked for, in bytes, and most parameters; inside of Grantlog the settings say.
const BODY_LIMITS: FormLimits = FormLimits { body_bytes: 65_536, parameters: 100 };

/// What is known of an active access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorized {
    /// The client that holds the token.
    pub client_id: String,
    /// The user who allowed it; the client itself when it acts for itself.
    pub sub: String,
    /// The user's name, where the server tells it.
    pub username: Option<String>,
    pub scope: Scope,
    pub expires_at: Option<Timestamp>,
}

impl Authorized {
    /// The user for whom the token speaks; `None` when a client acts for itself (RFC 6749 4.4).
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        (self.sub != self.client_id).then_some(self.sub.as_str())
    }
}

/// There is no answer about a token, so nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token cannot be checked at the moment")]
pub struct Unavailable;

/// A protected resource (RFC 6749 1.1): knows whom to ask about tokens.
#[derive(Clone)]
pub struct ResourceServer {
    validator: Validator,
    /// RFC 6750 2.2; absent: tokens come in the header only.
    body: Option<FormLimits>,
}

#[derive(Clone)]
enum Validator {
    Local(Local),
    Remote(Arc<Remote>),
    Jwt(Arc<Jwt>),
}

impl ResourceServer {
    /// Inside of Grantlog: asks the live models.
    #[must_use]
    pub fn local(app: &App) -> Self {
        Self { validator: Validator::Local(Local::new(app)), body: bearer_in_body(app) }
    }

    /// Anywhere else: asks the introspection endpoint (RFC 7662).
    #[must_use]
    pub fn remote(remote: Remote) -> Self {
        Self { validator: Validator::Remote(Arc::new(remote)), body: None }
    }

    /// Anywhere else, without asking anybody: tokens that are JSON Web Tokens (RFC 9068).
    #[must_use]
    pub fn jwt(jwt: Jwt) -> Self {
        Self { validator: Validator::Jwt(Arc::new(jwt)), body: None }
    }

    /// Also takes the token from a form body (RFC 6750 2.2), which the handler then cannot read any more.
    #[must_use]
    pub fn with_bearer_in_body(mut self) -> Self {
        self.body = Some(BODY_LIMITS);
        self
    }

    /// Lets those through who show an active access token with all of `scope` (space separated; empty for any token).
    /// Others are rejected: put [`refusal`] behind the route to answer them as RFC 6750 3 says.
    ///
    /// # Panics
    /// When `scope` is not made of scope tokens: it is written in the program.
    pub fn require_oauth(
        &self,
        scope: &str,
    ) -> impl Filter<Extract = (Authorized,), Error = Rejection> + Clone + use<> {
        let scope = Arc::new(Scope::parse(scope).expect("a scope that is written in the program"));
        let resource = self.clone();
        warp::header::headers_cloned().and(raw_query()).and(body(self.body)).and_then(
            move |headers: HeaderMap, query: String, body| {
                let (resource, scope) = (resource.clone(), Arc::clone(&scope));
                async move {
                    let checked = resource.check(&headers, &query, body, &scope).await;
                    checked.map_err(|error| warp::reject::custom(Refused(error)))
                }
            },
        )
    }

    /// RFC 6750 2 and 3.1, in this order: one token, an active one, with the scope.
    async fn check(
        &self,
        headers: &HeaderMap,
        query: &str,
        body: Result<Option<Parameters>, FormError>,
        scope: &Scope,
    ) -> Result<Authorized, OAuthError> {
        let token = presented(headers, query, &body, scope)?;
        let authorized = match &self.validator {
            Validator::Local(local) => local.validate(token).await,
            Validator::Remote(remote) => remote.validate(token).await,
            Validator::Jwt(jwt) => jwt.validate(token).await,
        };
        permitted(authorized, scope, |authorized| &authorized.scope)
    }
}

/// The one token of a request.
fn presented<'a>(
    headers: &'a HeaderMap,
    query: &str,
    body: &'a Result<Option<Parameters>, FormError>,
    scope: &Scope,
) -> Result<&'a str, OAuthError> {
    let body = body.as_ref().map_err(|error| OAuthError::malformed_bearer(error.to_string()))?;
    bearer::token(headers, query, body.as_ref()).map_err(|fault| match fault {
        BearerFault::Missing => OAuthError::token_missing(scope),
        BearerFault::MoreThanOne | BearerFault::Malformed => OAuthError::malformed_bearer(fault.to_string()),
    })
}

/// The token, if it is active and has all of `scope`.
fn permitted<T>(
    checked: Result<Option<T>, Unavailable>,
    scope: &Scope,
    held: impl FnOnce(&T) -> &Scope,
) -> Result<T, OAuthError> {
    let token = checked.map_err(|Unavailable| OAuthError::unavailable())?;
    let token = token.ok_or_else(|| OAuthError::invalid_token(scope))?;
    if scope.is_subset_of(held(&token)) { Ok(token) } else { Err(OAuthError::insufficient_scope(scope)) }
}

/// The parameters of a form body, where it may hold the token. Never rejects.
fn body(limits: Option<FormLimits>) -> BoxedFilter<(Result<Option<Parameters>, FormError>,)> {
    let Some(limits) = limits else { return warp::any().map(|| Ok(None)).boxed() };
    warp::method()
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method: Method, headers: HeaderMap, body| async move {
            read_body(&method, &headers, body, limits).await
        })
        .boxed()
}

async fn read_body<B: Buf, E: Into<FormError>>(
    method: &Method,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, E>>,
    limits: FormLimits,
) -> Result<Option<Parameters>, FormError> {
    // RFC 6750 2.2: a single-part form, and a method whose body means something.
    if method != Method::POST || !is_form(headers) {
        return Ok(None);
    }
    form::read(headers.get(CONTENT_TYPE), body, Encodings::UrlEncoded, limits).await.map(Some)
}

fn is_form(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(form::is_url_encoded)
}

/// What [`ResourceServer::require_oauth`] rejects with.
#[derive(Debug)]
struct Refused(OAuthError);

impl Reject for Refused {}

/// Answers those whom [`ResourceServer::require_oauth`] did not let through: status, JSON and `WWW-Authenticate` with
/// error and scope (RFC 6750 3). Rejections of others are left alone.
///
/// # Errors
/// The rejection itself when it is not ours.
pub async fn refusal(rejection: Rejection) -> Result<Response, Rejection> {
    match rejection.find::<Refused>() {
        Some(Refused(error)) => Ok(error.clone().into_response()),
        None => Err(rejection),
    }
}
