//! `id_token_hint`: an ID token of this server that comes back (OpenID Connect Core 3.1.2.1, RP-Initiated Logout 2).

use grantlog_domain::{ClientId, UserId};
use serde::Deserialize;

use super::own_token;
use super::subject::subject;
use crate::app::App;

/// What the hint tells. It may have expired: it says who was signed in, it opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub client_id: ClientId,
    /// The user, as that client knows them (OpenID Connect Core 8).
    pub sub: String,
    /// The session, as that client knows it.
    pub sid: Option<String>,
}

impl Hint {
    /// Whether it speaks of that user.
    #[must_use]
    pub fn is_of(&self, app: &App, user_id: UserId) -> bool {
        let as_known = || {
            let client = app.live.client(self.client_id)?;
            Some(subject(app, client.id, &client.metadata, user_id))
        };
        self.sub == user_id.to_string() || as_known().is_some_and(|sub| self.sub == sub)
    }
}

/// Not an ID token of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("id_token_hint is not an ID token of this server")]
pub struct BadHint;

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
/// [`BadHint`], whatever is wrong with it.
pub fn read(app: &App, token: &str) -> Result<Hint, BadHint> {
    let claims: Option<Claims> = own_token::read(&app.live.keys(), app.settings.issuer.as_str(), "JWT", token);
    let claims = claims.ok_or(BadHint)?;
    Ok(Hint { client_id: claims.aud.parse().map_err(|_| BadHint)?, sub: claims.sub, sid: claims.sid })
}
