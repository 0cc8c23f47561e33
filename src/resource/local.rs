//! Tokens checked in the same process: the live models, or the log behind them when they are stale.

use super::{Authorized, Unavailable};
use crate::app::App;
use crate::oauth::active_token::active_token;

#[derive(Clone)]
pub(super) struct Local(App);

impl Local {
    pub(super) fn new(app: &App) -> Self {
        Self(app.clone())
    }

    pub(super) async fn validate(&self, token: &str) -> Result<Option<Authorized>, Unavailable> {
        let token = active_token(&self.0, token).await.map_err(|error| {
            tracing::warn!(%error, "an access token cannot be checked");
            Unavailable
        })?;
        Ok(token.map(|token| {
            let client_id = token.client_id.to_string();
            let sub = token.user_id.map_or_else(|| client_id.clone(), |user_id| user_id.to_string());
            Authorized {
                client_id,
                sub,
                username: None,
                scope: token.scope.scope.clone(),
                expires_at: Some(token.expires_at),
            }
        }))
    }
}
