//! `sub`: under which identifier a client knows a user (OpenID Connect Core 8).

use grantlog_domain::client::ClientMetadata;
use grantlog_domain::{ClientId, UserId};

use crate::app::App;
use crate::oauth::active_token::ActiveToken;
use crate::secrets::Purpose;
use crate::standing;
use crate::store::StoreError;

/// The user's own identifier; for pairwise clients one that is the same within a sector and tells nothing to another (8.1):
/// HMAC-SHA-256 of sector and user under the oldest pepper, in base64url.
#[must_use]
pub fn subject(app: &App, client_id: ClientId, client: &ClientMetadata, user_id: UserId) -> String {
    match client.openid.sector(client_id, &client.redirect_uris) {
        None => user_id.to_string(),
        Some(sector) => app.secrets.blind_index(Purpose::PairwiseSubject, &format!("{sector} {user_id}")),
    }
}

/// The `sub` of an access token, whoever asks: who holds the token and the APIs that it is shown to call the user the same,
/// and APIs cannot put together what pairwise clients know. A client that acts for itself is its own subject (RFC 9068 2.2).
///
/// # Errors
/// When this node is not up to date and the log cannot be read.
pub async fn of_token(app: &App, token: &ActiveToken) -> Result<String, StoreError> {
    let Some(user_id) = token.user_id else { return Ok(token.client_id.to_string()) };
    if !token.pairwise {
        return Ok(user_id.to_string());
    }
    let client = Box::pin(standing::client(app, token.client_id)).await?;
    // Deleted a moment ago: nobody is told who the user is.
    Ok(client.map_or_else(String::new, |client| subject(app, client.id, &client.metadata, user_id)))
}
