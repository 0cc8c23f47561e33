//! Tokens checked in the same process: the live models, or the log behind them when they are stale.

use bytes::Buf;
use futures::Stream;
use grantlog_domain::Scope;
use http::{HeaderMap, Method};

use super::{Authorized, Unavailable, permitted, presented, read_body};
use crate::app::App;
use crate::http::form::FormLimits;
use crate::oauth::active_token::{ActiveToken, active_token};
use crate::oauth::error::OAuthError;
use crate::oauth::posted::limits;
use crate::oidc::subject;
use crate::store::StoreError;

#[derive(Clone)]
pub(super) struct Local(App);

impl Local {
    pub(super) fn new(app: &App) -> Self {
        Self(app.clone())
    }

    pub(super) async fn validate(&self, token: &str) -> Result<Option<Authorized>, Unavailable> {
        let Some(token) = self.active(token).await? else { return Ok(None) };
        let sub = subject::of_token(&self.0, &token).await.map_err(|error| unavailable(&error))?;
        Ok(Some(Authorized {
            client_id: token.client_id.to_string(),
            sub,
            username: None,
            scope: token.scope.scope.clone(),
            expires_at: Some(token.expires_at),
        }))
    }

    async fn active(&self, token: &str) -> Result<Option<ActiveToken>, Unavailable> {
        active_token(&self.0, token).await.map_err(|error| unavailable(&error))
    }
}

fn unavailable(error: &StoreError) -> Unavailable {
    tracing::warn!(%error, "an access token cannot be checked");
    Unavailable
}

/// What [`super::ResourceServer::require_oauth`] is to a filter, for a handler of this server: the same checks in the
/// same order, of the request itself and without a copy of what it says.
pub struct Protected {
    local: Local,
    scope: Scope,
    /// RFC 6750 2.2; absent: tokens come in the header only.
    body: Option<FormLimits>,
}

impl Protected {
    /// Needs an active access token with all of `scope`.
    ///
    /// # Panics
    /// When `scope` is not made of scope tokens: it is written in the program.
    #[must_use]
    pub fn new(app: &App, scope: &str) -> Self {
        Self {
            local: Local::new(app),
            scope: Scope::parse(scope).expect("a scope that is written in the program"),
            body: bearer_in_body(app),
        }
    }

    /// The token of the request.
    ///
    /// # Errors
    /// The refusals of RFC 6750 3.1.
    pub async fn check<B: Buf>(
        &self,
        method: &Method,
        headers: &HeaderMap,
        query: &str,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<ActiveToken, OAuthError> {
        let body = match self.body {
            Some(limits) => Box::pin(read_body(method, headers, body, limits)).await,
            None => Ok(None),
        };
        let token = presented(headers, query, &body, &self.scope)?;
        permitted(self.local.active(token).await, &self.scope, |token| &token.scope)
    }
}

/// How much of a body is read for a token, if the settings allow one there.
pub(super) fn bearer_in_body(app: &App) -> Option<FormLimits> {
    app.settings.oauth.bearer_in_body.then(|| limits(app))
}
