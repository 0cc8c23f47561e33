//! Whether an access token stands: the one question behind introspection (RFC 7662) and every protected resource.
//!
//! Whom the answer is asked of, and that there is none when nobody knows, is in `standing`.

use std::sync::Arc;

use grantlog_domain::grant::RequestedClaims;
use grantlog_domain::{ClientId, Timestamp, UserId};
use grantlog_projections::live::LiveScope;

use super::{jwt_access_token, scopes};
use crate::app::App;
use crate::standing;
use crate::store::StoreError;

/// An access token that may be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveToken {
    pub client_id: ClientId,
    /// Absent for client credentials.
    pub user_id: Option<UserId>,
    pub scope: Arc<LiveScope>,
    /// What the request named one by one (OpenID Connect Core 5.5).
    pub claims: Option<Arc<RequestedClaims>>,
    /// Whether the client knows its users by pairwise subjects.
    pub pairwise: bool,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The token that was presented, if it is an active access token.
///
/// # Errors
/// When the live models are stale and the streams cannot be read.
pub async fn active_token(app: &App, presented: &str) -> Result<Option<ActiveToken>, StoreError> {
    let Some((grant_id, hash)) = jwt_access_token::parse(app, presented).await? else { return Ok(None) };
    let Some(token) = standing::access_token(app, grant_id, &hash).await? else { return Ok(None) };
    let mut active = ActiveToken {
        client_id: token.client_id,
        user_id: token.user_id,
        scope: token.scope,
        claims: token.claims,
        pairwise: token.pairwise,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
    };
    if let Some(user_id) = active.user_id.filter(|_| scopes::depends_on_user(app, &active.scope)) {
        // In a box, so that the future of the fast path stays small.
        let left = Box::pin(scopes::of_user(app, &active.scope, user_id)).await?;
        if left.is_empty() {
            return Ok(None);
        }
        if left != active.scope.scope {
            active.scope = Arc::new(LiveScope { text: left.to_string(), scope: left });
        }
    }
    Ok(Some(active))
}
