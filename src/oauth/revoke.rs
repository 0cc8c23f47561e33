//! Token revocation: RFC 7009. An access token ends itself, a refresh token ends its grant.

use grantlog_domain::grant::{Grant, GrantCommand, GrantError, RevocationReason};
use grantlog_domain::{Actor, ClientId, GrantId};
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::error::OAuthError;
use super::jwt_access_token;
use super::posted::{Posted, json, not_executed, not_read, posted};
use super::token::refused;
use crate::app::App;
use crate::http::form::Encodings;
use crate::secrets::Kind;
use crate::store::ExecuteError;

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    posted(app, Encodings::UrlEncoded, revoke)
}

/// RFC 7009 2.1. `token_type_hint` is not needed: every token says what it is.
async fn revoke(posted: Result<Posted, OAuthError>, app: App) -> Result<Response, OAuthError> {
    let posted = posted?;
    let client_id = posted.authenticate(&app).await?.id;
    let token = posted.required("token")?;
    let at = app.now();
    let access_token = jwt_access_token::parse(&app, token).await;
    if let Some((grant_id, hash)) = access_token.map_err(|error| not_read(&error, &posted.context))? {
        let command = GrantCommand::RevokeAccessToken { client_id, token: hash.into(), at };
        end(&app, &posted, client_id, grant_id, command).await?;
    } else if let Some((id, hash)) = app.secrets.parse(Kind::RefreshToken, token) {
        let reason = RevocationReason::Client;
        let command = GrantCommand::RevokeRefreshToken { client_id, token: hash.into(), reason, at };
        end(&app, &posted, client_id, GrantId(id), command).await?;
    }
    // RFC 7009 2.2: an unknown token is not an error, and clients ignore what the answer holds. Some libraries read every
    // answer as JSON, so it is that.
    Ok(json("{}"))
}

async fn end(
    app: &App,
    posted: &Posted,
    client_id: ClientId,
    grant_id: GrantId,
    command: GrantCommand,
) -> Result<(), OAuthError> {
    let by = app.command_context(Actor::Client(client_id), &posted.context, Some(grant_id.to_string()));
    match app.store.execute::<Grant>(&grant_id.to_string(), command, &by).await {
        Ok(_) => Ok(()),
        // There is no such token: nothing to end (RFC 7009 2.2).
        Err(ExecuteError::Refused(
            GrantError::NotFound | GrantError::UnknownAccessToken | GrantError::UnknownRefreshToken,
        )) => Ok(()),
        // RFC 7009 2.1: refused, and the client is told. Who asks holds the token, so the answer betrays nothing.
        Err(ExecuteError::Refused(GrantError::WrongClient)) => {
            Err(OAuthError::invalid_grant("the token was issued to another client"))
        }
        Err(error) => Err(not_executed(error, &posted.context, refused)),
    }
}
