//! Refreshing: RFC 6749 6, with rotation and detection of reuse (RFC 9700 4.14.2).
//!
//! With a grace (`oauth.refresh_grace_seconds`) a client that lost the answer gets the same answer again: the new tokens
//! are then derived from the presented one and a salt that the event keeps, so nothing forks and nothing is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::grant::{
    AccessToken, Grant, GrantCommand, GrantError, Refresh, RevocationReason, Rotation, Stage,
};
use grantlog_domain::{GrantId, Scope};

use super::{NOT_VALID, NewTokens, TokenRequest, TokenResponse, allowed, parse, refused};
use crate::app::App;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::jwt_access_token::kind;
use crate::oauth::posted::not_read;
use crate::secrets::Kind;
use crate::store::ExecuteError;

pub(super) async fn refresh(app: &App, request: TokenRequest) -> Result<TokenResponse, OAuthError> {
    let presented = request.posted.required("refresh_token")?;
    let (grant_id, hash) = parse(app, Kind::RefreshToken, presented).ok_or_else(not_valid)?;
    let scope = scope(&request)?;
    let grace_seconds = i64::try_from(app.settings.oauth.refresh_grace.as_secs()).unwrap_or(0);
    let salt = (grace_seconds > 0).then(|| URL_SAFE_NO_PAD.encode(app.secrets.entropy().bytes::<16>()));
    let tokens = match &salt {
        Some(salt) => derive(app, &request, grant_id, salt, presented),
        None => mint(app, &request, grant_id),
    };
    let Some(refresh_token) = tokens.refresh_token() else { return Err(not_valid()) };
    let command = GrantCommand::Refresh(Refresh {
        client_id: request.client.id,
        presented: hash.into(),
        scope,
        allowed: allowed(app, &request, grant_id).await?,
        access_token: tokens.access_token(app, request.at),
        refresh_token,
        replay_salt: salt,
        grace_seconds,
        at: request.at,
    });
    let by = request.by_client(app, grant_id);
    match app.store.execute::<Grant>(&grant_id.to_string(), command, &by).await {
        Ok(executed) => {
            request.check_user(app, grant_id, &executed.aggregate).await?;
            let authorization = executed.aggregate.authorization();
            let tokens = request.answer(app, authorization, tokens, request.issued(&executed)?).await?;
            with_id_token(app, &request, &executed.aggregate, tokens).await
        }
        Err(ExecuteError::Refused(GrantError::RefreshRepeatedWithinGrace)) => {
            repeat(app, &request, grant_id, presented).await
        }
        Err(error) => {
            let ends = match &error {
                // RFC 9700 4.14.2: either the client or a thief has shown it twice; both lose it.
                ExecuteError::Refused(GrantError::RefreshTokenReused) => Some(RevocationReason::RefreshReused),
                ExecuteError::Refused(GrantError::RefreshWithdrawn) => Some(RevocationReason::RefreshWithdrawn),
                _ => None,
            };
            if let Some(reason) = ends {
                request.revoke(app, grant_id, reason).await?;
            }
            Err(request.not_executed(error))
        }
    }
}

/// For a client that is not registered for refresh tokens any more: what it could refresh ends, so that nothing comes back
/// when it is registered for them again.
pub(super) async fn withdraw(app: &App, request: &TokenRequest) -> Result<(), OAuthError> {
    let presented = request.posted.parameters.get("refresh_token");
    let parsed = presented.and_then(|presented| parse(app, Kind::RefreshToken, presented));
    let Some((grant_id, hash)) = parsed else { return Ok(()) };
    let command = GrantCommand::RevokeRefreshToken {
        client_id: request.client.id,
        token: hash.into(),
        reason: RevocationReason::RefreshWithdrawn,
        at: request.at,
    };
    match app.store.execute::<Grant>(&grant_id.to_string(), command, &request.by_client(app, grant_id)).await {
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
        Err(error) => Err(request.not_executed(error)),
    }
}

fn not_valid() -> OAuthError {
    OAuthError::invalid_grant(NOT_VALID)
}

/// RFC 6749 6: only narrower; the grant itself says than what.
fn scope(request: &TokenRequest) -> Result<Option<Scope>, OAuthError> {
    let scope = request.posted.parameters.get("scope").map(Scope::parse).transpose();
    scope.map_err(|error| OAuthError::new(ErrorCode::InvalidScope, error.to_string()))
}

fn mint(app: &App, request: &TokenRequest, grant_id: GrantId) -> NewTokens {
    NewTokens {
        access_token: app.secrets.mint(kind(&request.client.metadata), grant_id.0),
        refresh_token: Some(app.secrets.mint(Kind::RefreshToken, grant_id.0)),
    }
}

fn derive(app: &App, request: &TokenRequest, grant_id: GrantId, salt: &str, presented: &str) -> NewTokens {
    let from = format!("{salt}.{presented}");
    let kind = kind(&request.client.metadata);
    NewTokens {
        access_token: app.secrets.mint_derived(kind, grant_id.0, from.as_bytes()),
        refresh_token: Some(app.secrets.mint_derived(Kind::RefreshToken, grant_id.0, from.as_bytes())),
    }
}

/// The answer of the last rotation once more.
async fn repeat(
    app: &App,
    request: &TokenRequest,
    grant_id: GrantId,
    presented: &str,
) -> Result<TokenResponse, OAuthError> {
    let grant = app.store.load::<Grant>(&grant_id.to_string()).await;
    let grant = grant.map_err(|error| not_read(&error, &request.posted.context))?.aggregate;
    request.check_user(app, grant_id, &grant).await?;
    let allowed = &request.client.metadata.scope;
    if !grant.authorization().is_some_and(|authorization| authorization.is_refreshable(allowed)) {
        request.revoke(app, grant_id, RevocationReason::RefreshWithdrawn).await?;
        return Err(not_valid());
    }
    let rotation = last_rotation(&grant).ok_or_else(not_valid)?;
    let salt = rotation.replay_salt.as_deref().ok_or_else(not_valid)?;
    let tokens = derive(app, request, grant_id, salt, presented);
    // The pepper may have been rotated in between; then they cannot be made again.
    if tokens.access_token.1 != rotation.access_token.hash {
        return Err(not_valid());
    }
    // The scope may have become narrower since.
    let scope = rotation.access_token.scope.left_within(allowed).ok_or_else(|| refused(GrantError::ScopeWithdrawn))?;
    let access_token = AccessToken { scope, ..rotation.access_token.clone() };
    let tokens = request.answer(app, grant.authorization(), tokens, &access_token).await?;
    with_id_token(app, request, &grant, tokens).await
}

/// OpenID Connect Core 12.2: the same sign-in, and no `nonce`, because there was no new request.
async fn with_id_token(
    app: &App,
    request: &TokenRequest,
    grant: &Grant,
    tokens: TokenResponse,
) -> Result<TokenResponse, OAuthError> {
    let mut authorization = grant.authorization().cloned();
    if let Some(authentication) = authorization.as_mut().and_then(|all| all.authentication.as_mut()) {
        authentication.nonce = None;
    }
    request.with_id_token(app, authorization.as_ref(), tokens).await
}

fn last_rotation(grant: &Grant) -> Option<&Rotation> {
    match grant.stage() {
        Stage::Open(tokens) => tokens.refresh.as_ref()?.last_rotation.as_ref(),
        Stage::Absent | Stage::CodeIssued(_) | Stage::Revoked { .. } => None,
    }
}
