//! Token revocation: RFC 7009. An access token ends itself, a refresh token ends its grant.

use grantlog_domain::grant::{Grant, GrantCommand, GrantError, RevocationReason};
use grantlog_domain::{Actor, ClientId, GrantId, Presented};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::error::{OAuthError, no_store};
use super::posted::{Posted, answer, not_executed, not_read, posted};
use super::token::refused;
use crate::app::{App, with};
use crate::http::form::Encodings;
use crate::secrets::Kind;
use crate::store::ExecuteError;

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    posted(app, Encodings::UrlEncoded).and(with(app)).then(revoke).map(answer).boxed()
}

/// RFC 7009 2.1. `token_type_hint` is not needed: every token says what it is.
async fn revoke(posted: Result<Posted, OAuthError>, app: App) -> Result<Response, OAuthError> {
    let mut posted = posted?;
    let client_id = posted.authenticate(&app)?.id;
    let token = posted.required("token")?;
    if let Some((id, hash)) = app.secrets.parse(Kind::AccessToken, token) {
        let command = GrantCommand::RevokeAccessToken { client_id, token: hash.into(), at: app.now() };
        end(&app, &posted, client_id, GrantId(id), command).await?;
    } else if let Some((id, hash)) = app.secrets.parse(Kind::RefreshToken, token)
        && owns(&app, &posted, client_id, GrantId(id), &hash.into()).await?
    {
        let command = GrantCommand::Revoke { reason: RevocationReason::Client, at: app.now() };
        end(&app, &posted, client_id, GrantId(id), command).await?;
    }
    // RFC 7009 2.2: an unknown token is not an error. Nor is one of another client, although 2.1 would tell the caller:
    // any other answer would say that the token exists.
    let mut response = Response::new(String::new().into());
    no_store(response.headers_mut());
    Ok(response)
}

/// Whether the grant is this client's and the token its living refresh token.
async fn owns(
    app: &App,
    posted: &Posted,
    client_id: ClientId,
    grant_id: GrantId,
    presented: &Presented,
) -> Result<bool, OAuthError> {
    let grant = app.store.load::<Grant>(&grant_id.to_string()).await;
    let grant = grant.map_err(|error| not_read(&error, &posted.context))?.aggregate;
    let theirs = grant.authorization().is_some_and(|authorization| authorization.client_id == client_id);
    Ok(theirs && grant.is_current_refresh_token(presented))
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
        // The token is none, or none of this client's: nothing to end (RFC 7009 2.2).
        Err(ExecuteError::Refused(
            GrantError::NotFound | GrantError::WrongClient | GrantError::UnknownAccessToken | GrantError::Revoked,
        )) => Ok(()),
        Err(error) => Err(not_executed(error, &posted.context, refused)),
    }
}
