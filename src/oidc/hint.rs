//! `id_token_hint`: an ID token of this server that comes back (OpenID Connect Core 3.1.2.1, RP-Initiated Logout 2).

use std::sync::Arc;

use grantlog_domain::{ClientId, UserId};
use grantlog_projections::live::LiveClient;
use serde::Deserialize;

use super::own_token;
use super::subject::subject;
use crate::app::App;
use crate::standing;
use crate::store::StoreError;

/// What the hint tells. It may have expired: it says who was signed in, it opens nothing.
#[derive(Clone, Debug)]
pub struct Hint {
    pub client_id: ClientId,
    /// The user, as that client knows them (OpenID Connect Core 8).
    pub sub: String,
    /// The session, as that client knows it.
    pub sid: Option<String>,
    /// Whose the subjects are; `None` for one that was deleted.
    client: Option<Arc<LiveClient>>,
}

impl Hint {
    /// Whether it speaks of that user.
    #[must_use]
    pub fn is_of(&self, app: &App, user_id: UserId) -> bool {
        let is_known = |client: &Arc<LiveClient>| self.sub == subject(app, client.id, &client.metadata, user_id);
        self.sub == user_id.to_string() || self.client.as_ref().is_some_and(is_known)
    }
}

/// Why a hint tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum BadHint {
    #[error("id_token_hint is not an ID token of this server")]
    NotOurs,
    /// This node is not up to date, and the log does not say which keys and clients stand.
    #[error(transparent)]
    Unknown(#[from] StoreError),
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: String,
    /// What else this server signs (UserInfo) has no such time (OpenID Connect Core 2, 5.3.2).
    #[serde(rename = "exp")]
    _exp: i64,
    sid: Option<String>,
}

/// Reads a hint.
///
/// # Errors
/// [`BadHint::NotOurs`], whatever is wrong with it; [`BadHint::Unknown`].
pub async fn read(app: &App, token: &str) -> Result<Hint, BadHint> {
    let claims: Claims = own_token::read(app, "JWT", token).await?.ok_or(BadHint::NotOurs)?;
    let client_id = claims.aud.parse().map_err(|_| BadHint::NotOurs)?;
    let client = standing::client(app, client_id).await?;
    Ok(Hint { client_id, sub: claims.sub, sid: claims.sid, client })
}

#[cfg(test)]
mod tests;
