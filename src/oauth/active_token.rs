//! Whether an access token stands: the one question behind introspection (RFC 7662) and every protected resource.
//!
//! Answered by the live models as long as they are fresh. Past `store.max_staleness_ms` the streams themselves are read;
//! when that fails there is no answer, and never "active".

use std::sync::Arc;

use grantlog_domain::client::{Client, Stage as ClientStage};
use grantlog_domain::grant::Grant;
use grantlog_domain::user::{Stage as UserStage, User};
use grantlog_domain::{ClientId, GrantId, SecretHash, Timestamp, UserId};
use grantlog_projections::live::LiveScope;

use crate::app::App;
use crate::secrets::Kind;
use crate::store::StoreError;

/// An access token that may be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveToken {
    pub client_id: ClientId,
    /// Absent for client credentials.
    pub user_id: Option<UserId>,
    pub scope: Arc<LiveScope>,
    /// Absent when the live models were not asked.
    pub issued_at: Option<Timestamp>,
    pub expires_at: Timestamp,
}

/// The token that was presented, if it is an active access token.
///
/// # Errors
/// When the live models are stale and the streams cannot be read.
pub async fn active_token(app: &App, presented: &str) -> Result<Option<ActiveToken>, StoreError> {
    let Some((id, hash)) = app.secrets.parse(Kind::AccessToken, presented) else { return Ok(None) };
    if is_fresh(app) { Ok(live(app, GrantId(id), &hash)) } else { read_through(app, GrantId(id), hash).await }
}

/// Whether the live models may say that something is active.
#[must_use]
pub fn is_fresh(app: &App) -> bool {
    app.live.staleness() <= app.settings.store.max_staleness
}

fn live(app: &App, grant_id: GrantId, hash: &SecretHash) -> Option<ActiveToken> {
    let token = app.live.introspect(grant_id, hash, app.now())?;
    Some(ActiveToken {
        client_id: token.client_id,
        user_id: token.user_id,
        scope: token.scope,
        issued_at: Some(token.issued_at),
        expires_at: token.expires_at,
    })
}

async fn read_through(app: &App, grant_id: GrantId, hash: SecretHash) -> Result<Option<ActiveToken>, StoreError> {
    let grant = app.store.load::<Grant>(&grant_id.to_string()).await?.aggregate;
    let (Some(authorization), Some(token)) = (grant.authorization(), grant.living_access_token(&hash.into())) else {
        return Ok(None);
    };
    if app.now() >= token.expires_at || !parties_stand(app, authorization.client_id, authorization.user_id).await? {
        return Ok(None);
    }
    Ok(Some(ActiveToken {
        client_id: authorization.client_id,
        user_id: authorization.user_id,
        scope: Arc::new(LiveScope { scope: token.scope.clone(), text: token.scope.to_string() }),
        issued_at: None,
        expires_at: token.expires_at,
    }))
}

/// Whether client and user are enabled: by the live models while these are fresh, by their streams when not.
pub async fn parties_stand(app: &App, client_id: ClientId, user_id: Option<UserId>) -> Result<bool, StoreError> {
    if is_fresh(app) {
        let client = app.live.client(client_id).is_some_and(|client| client.enabled);
        return Ok(client && user_id.is_none_or(|id| app.live.user(id).is_some_and(|user| !user.disabled)));
    }
    let client = app.store.load::<Client>(&client_id.to_string()).await?.aggregate;
    if !matches!(client.stage(), ClientStage::Enabled(_)) {
        return Ok(false);
    }
    match user_id {
        None => Ok(true),
        Some(user_id) => {
            let user = app.store.load::<User>(&user_id.to_string()).await?.aggregate;
            Ok(user.stage() == UserStage::Enabled)
        }
    }
}
