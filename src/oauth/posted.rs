//! The request of the endpoints that take a form and an authenticated client: token, revocation, introspection.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::Stream;
use grantlog_projections::live::LiveClient;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::error::{OAuthError, no_store};
use crate::app::{App, with};
use crate::http::client_auth::{self, AuthenticationError};
use crate::http::form::{self, Encodings, FormLimits, Parameters};
use crate::http::request_id::{RequestContext, request_context};
use crate::store::vault::VaultError;
use crate::store::{ExecuteError, StoreError};

/// A form that was posted, and what stands around it.
pub struct Posted {
    pub headers: HeaderMap,
    pub parameters: Parameters,
    pub context: RequestContext,
}

impl Posted {
    /// RFC 6749 2.3: who posted it.
    pub async fn authenticate(&self, app: &App) -> Result<Arc<LiveClient>, OAuthError> {
        let authenticated = client_auth::authenticate(app, &self.headers, &self.parameters).await;
        authenticated.map_err(|error| self.not_authenticated(error))
    }

    /// The same for endpoints that are not for public clients.
    pub async fn authenticate_confidential(&self, app: &App) -> Result<Arc<LiveClient>, OAuthError> {
        let authenticated = client_auth::authenticate_confidential(app, &self.headers, &self.parameters).await;
        authenticated.map_err(|error| self.not_authenticated(error))
    }

    fn not_authenticated(&self, error: AuthenticationError) -> OAuthError {
        match error {
            AuthenticationError::Refused(error) => error,
            AuthenticationError::Unknown(error) => not_read(&error, &self.context),
            AuthenticationError::Vault(VaultError::Database(error)) => unavailable(&self.context, &error),
            AuthenticationError::Vault(error) => OAuthError::fault(Some(self.context.id.as_str()), &error),
        }
    }

    /// A parameter that must be there.
    pub fn required(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.parameters.get(name).ok_or_else(|| OAuthError::missing(name))
    }
}

/// The limits of forms as the settings have them.
#[must_use]
pub fn limits(app: &App) -> FormLimits {
    FormLimits { body_bytes: app.settings.http.body_bytes, parameters: app.settings.http.parameters }
}

/// The route of a handler that is given the form of a request, or why it is none.
pub fn posted<F, A>(app: &App, encodings: Encodings, handler: F) -> BoxedFilter<(Response,)>
where
    F: Fn(Result<Posted, OAuthError>, App) -> A + Copy + Send + Sync + 'static,
    A: Future<Output = Result<Response, OAuthError>> + Send + 'static,
{
    let limits = limits(app);
    warp::header::headers_cloned()
        .and(request_context())
        .and(warp::body::stream())
        .and(with(app))
        .then(move |headers, context, body, app: App| async move {
            answer(handler(read(headers, context, body, encodings, limits).await, app).await)
        })
        .boxed()
}

async fn read<B: Buf>(
    headers: HeaderMap,
    context: RequestContext,
    body: impl Stream<Item = Result<B, warp::Error>>,
    encodings: Encodings,
    limits: FormLimits,
) -> Result<Posted, OAuthError> {
    let parameters = form::read(headers.get(CONTENT_TYPE), body, encodings, limits).await?;
    Ok(Posted { headers, parameters, context })
}

/// JSON that nobody keeps (RFC 6749 5.1).
pub fn json(body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    no_store(headers);
    response
}

/// The answer of a handler.
pub fn answer(outcome: Result<Response, OAuthError>) -> Response {
    outcome.unwrap_or_else(OAuthError::into_response)
}

/// What a client hears when a command was not executed; `refused` answers the refusals of the domain.
pub fn not_executed<E: std::error::Error>(
    error: ExecuteError<E>,
    context: &RequestContext,
    refused: impl FnOnce(E) -> OAuthError,
) -> OAuthError {
    match error {
        ExecuteError::Refused(refusal) => refused(refusal),
        ExecuteError::Conflict | ExecuteError::Busy => OAuthError::unavailable(),
        ExecuteError::Unavailable(reason) => unavailable(context, &reason),
        error @ (ExecuteError::Damaged(_) | ExecuteError::Fault(_)) => {
            OAuthError::fault(Some(context.id.as_str()), &error)
        }
    }
}

/// What a client hears when the store could not be read.
pub fn not_read(error: &StoreError, context: &RequestContext) -> OAuthError {
    match error {
        StoreError::Damaged { .. } => OAuthError::fault(Some(context.id.as_str()), error),
        other => unavailable(context, other),
    }
}

fn unavailable(context: &RequestContext, reason: &dyn fmt::Display) -> OAuthError {
    tracing::warn!(request_id = context.id.as_str(), error = %reason, "the store is not available");
    OAuthError::unavailable()
}
