//! A client for itself: RFC 6749 4.4. No user, no refresh token (4.4.3).

use grantlog_domain::GrantId;
use grantlog_domain::client::GrantType;
use grantlog_domain::grant::{Grant, GrantCommand, OpenGrant};

use super::{NewTokens, TokenRequest, TokenResponse};
use crate::app::App;
use crate::oauth::authorization_request::scope;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::jwt_access_token::kind;

pub(super) async fn open(app: &App, request: TokenRequest) -> Result<TokenResponse, OAuthError> {
    check_confidential(&request)?;
    let scope = scope(&request.posted.parameters, &request.client.metadata)?;
    let grant_id = GrantId(app.new_id());
    let tokens =
        NewTokens { access_token: app.secrets.mint(kind(&request.client.metadata), grant_id.0), refresh_token: None };
    let access_token = tokens.access_token(app, request.at);
    // Nothing can be refreshed, so the grant ends with its token.
    let expires_at = access_token.expires_at;
    let command = GrantCommand::Open(OpenGrant {
        grant_type: GrantType::ClientCredentials,
        client_id: request.client.id,
        user_id: None,
        session_id: None,
        scope,
        access_token,
        refresh_token: None,
        expires_at,
        at: request.at,
        authentication: None,
        consent: None,
    });
    let by = request.by_client(app, grant_id);
    let executed = app.store.create::<Grant>(&grant_id.to_string(), command, &by).await;
    let executed = executed.map_err(|error| request.not_executed(error))?;
    request.answer(app, executed.aggregate.authorization(), tokens, request.issued(&executed)?).await
}

/// RFC 6749 4.4: MUST only be used by confidential clients.
fn check_confidential(request: &TokenRequest) -> Result<(), OAuthError> {
    if request.client.metadata.is_public() {
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, "a public client cannot act for itself"));
    }
    Ok(())
}
