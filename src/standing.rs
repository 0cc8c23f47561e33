//! Who may still be served: clients, users, sessions, tokens, keys. From the live models as long as these are fresh; past
//! `store.max_staleness_ms` from the streams themselves, and when those cannot be read there is no answer.
//!
//! Every permission that rests on memory is asked for here, so that a node which does not hear of what others ended
//! permits nothing on the strength of what it knew before.

use std::sync::Arc;
use std::time::Duration;

use grantlog_domain::{ClientId, GrantId, SecretHash, SessionId, UserId};
use grantlog_projections::DbError;
use grantlog_projections::live::{Live, LiveClient, LiveKey, LiveSession, LiveToken};

use crate::app::App;
use crate::store::StoreError;
use crate::store::vault::VaultError;

/// Longest that a stale node reads the log before it says that it cannot answer.
const READ_MAX: Duration = Duration::from_secs(2);

/// Whether the live models may say that something is active.
#[must_use]
pub fn is_fresh(app: &App) -> bool {
    app.live.staleness() <= app.settings.store.max_staleness
}

/// The registration of a client, enabled or not; `None` for one that is unknown or deleted.
///
/// # Errors
/// When the live models are stale and the streams cannot be read in time. As for the others here.
pub async fn client(app: &App, id: ClientId) -> Result<Option<Arc<LiveClient>>, StoreError> {
    if is_fresh(app) {
        return Ok(app.live.client(id));
    }
    // In a box, so that the future of the fast path stays small. As for the others here.
    Ok(Box::pin(read(Live::of_client(app.store.log(), id))).await?.client(id))
}

/// Whether the user is there and enabled.
pub async fn user_stands(app: &App, id: UserId) -> Result<bool, StoreError> {
    let stands = |live: &Live| live.user(id).is_some_and(|user| !user.disabled);
    if is_fresh(app) {
        return Ok(stands(&app.live));
    }
    Ok(stands(&Box::pin(read(Live::of_user(app.store.log(), id))).await?))
}

/// Whether client and user (if any) are there and enabled.
pub async fn parties_stand(app: &App, client_id: ClientId, user_id: Option<UserId>) -> Result<bool, StoreError> {
    if !client(app, client_id).await?.is_some_and(|client| client.is_enabled()) {
        return Ok(false);
    }
    match user_id {
        Some(user_id) => user_stands(app, user_id).await,
        None => Ok(true),
    }
}

/// A session that has not ended. The caller compares the cookie's hash and the expiry.
pub async fn session(app: &App, id: SessionId) -> Result<Option<Arc<LiveSession>>, StoreError> {
    if is_fresh(app) {
        return Ok(app.live.session(id));
    }
    Ok(Box::pin(read(Live::of_session(app.store.log(), id))).await?.session(id))
}

/// RFC 7662 2.2: the access token, if it is active now.
pub async fn access_token(app: &App, grant: GrantId, token: &SecretHash) -> Result<Option<LiveToken>, StoreError> {
    if is_fresh(app) {
        return Ok(app.live.introspect(grant, token, app.now()));
    }
    let live = Box::pin(read(Live::of_grant(app.store.log(), grant))).await?;
    Ok(live.introspect(grant, token, app.now()))
}

/// The published signing keys (RFC 7517 5), the newest first: those whose private halves the vault has.
pub async fn keys(app: &App) -> Result<Arc<[LiveKey]>, StoreError> {
    let published = match is_fresh(app) {
        true => app.live.keys(),
        false => Box::pin(read(Live::of_keys(app.store.log()))).await?.keys(),
    };
    app.held_keys().of(&app.vault, published).await.map_err(|error| match error {
        VaultError::Database(error) => error.into(),
        error => StoreError::Database(DbError::Malformed(error.to_string())),
    })
}

async fn read(streams: impl Future<Output = Result<Live, DbError>>) -> Result<Live, StoreError> {
    match tokio::time::timeout(READ_MAX, streams).await {
        Ok(read) => Ok(read?),
        Err(_) => Err(StoreError::Database(DbError::TimedOut)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
