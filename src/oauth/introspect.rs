//! Token introspection: RFC 7662, for confidential clients: those that hold the tokens, and the resource servers that an
//! operator named.

use grantlog_domain::client::GrantType;
use grantlog_domain::grant::Grant;
use grantlog_domain::{GrantId, SecretHash, Timestamp};
use grantlog_projections::live::LiveClient;
use serde::Serialize;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::active_token::{ActiveToken, active_token};
use super::error::OAuthError;
use super::jwt_access_token::{self, Audience, Said};
use super::posted::{Posted, json, not_read, posted};
use super::scopes;
use crate::app::App;
use crate::http::form::Encodings;
use crate::oidc::subject;
use crate::secrets::Kind;
use crate::standing::parties_stand;
use crate::store::StoreError;

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    posted(app, Encodings::UrlEncoded, introspect)
}

/// RFC 7662 2.1. `token_type_hint` is not needed: every token says what it is.
async fn introspect(posted: Result<Posted, OAuthError>, app: App) -> Result<Response, OAuthError> {
    let posted = posted?;
    let asking = posted.authenticate_confidential(&app).await?;
    let token = posted.required("token")?;
    let introspected = introspected(&app, &asking, token).await.map_err(|error| not_read(&error, &posted.context))?;
    Ok(introspected.map_or_else(inactive, json))
}

async fn introspected(app: &App, asking: &LiveClient, presented: &str) -> Result<Option<Vec<u8>>, StoreError> {
    if let Some((id, hash)) = app.secrets.parse(Kind::RefreshToken, presented) {
        return Box::pin(refresh_token(app, asking, GrantId(id), hash)).await;
    }
    let Some(token) = active_token(app, presented).await?.filter(|token| may_hear_of(asking, token)) else {
        return Ok(None);
    };
    // The name is for those to whom the user shows it; it would also undo a pairwise subject (OpenID Connect Core 8.1).
    let profile = match token.user_id.filter(|_| token.scope.contains("profile")) {
        Some(user_id) => app.profiles().get_if_possible(app, user_id).await,
        None => None,
    };
    let username = profile.as_ref().map(|profile| profile.username.as_str());
    let said = jwt_access_token::said(presented);
    if token.pairwise {
        let sub = Box::pin(subject::of_token(app, &token)).await?;
        return Ok(Some(access_token(app, &token, (Some(&sub), username), said)));
    }
    Ok(Some(access_token(app, &token, (None, username), said)))
}

/// RFC 7662 4: a client hears of its own tokens, a resource server of all that it is shown. To others every token is one
/// that is not active, so that nobody finds out about it by asking.
fn may_hear_of(asking: &LiveClient, token: &ActiveToken) -> bool {
    asking.metadata.resource_server || asking.id == token.client_id
}

/// What is said of an active token (RFC 7662 2.2).
#[derive(Serialize)]
struct Introspection<'a> {
    active: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    client_id: &'a str,
    /// Absent for client credentials, and when the vault cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    exp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<Timestamp>,
    /// The user, as the token's client knows them; the client itself when it acts for itself (RFC 9068 2.2).
    sub: &'a str,
    iss: &'a str,
    /// As a JSON Web Token says it, or would say it. Of access tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Audience<'a>>,
    /// Of JSON Web Tokens. They have no `nbf`: what goes out may be used at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
}

/// `pairwise`: the `sub` that is not the user's own identifier. `said`: what the token says itself.
fn access_token(
    app: &App,
    token: &ActiveToken,
    (pairwise, username): (Option<&str>, Option<&str>),
    said: Option<Said>,
) -> Vec<u8> {
    let (aud, jti) = match &said {
        Some(Said { aud, jti }) => (Audience::Said(aud), Some(jti.as_str())),
        None => (jwt_access_token::audience(app, |word| token.scope.contains(word)), None),
    };
    let (mut client_id, mut user_id) = ([0; 36], [0; 36]);
    let client_id: &str = token.client_id.0.hyphenated().encode_lower(&mut client_id);
    let user_id: Option<&str> = token.user_id.map(|id| &*id.0.hyphenated().encode_lower(&mut user_id));
    written(&Introspection {
        active: true,
        scope: &token.scope.text,
        client_id,
        username,
        token_type: Some("Bearer"),
        exp: token.expires_at,
        iat: Some(token.issued_at),
        sub: pairwise.or(user_id).unwrap_or(client_id),
        iss: app.settings.issuer.as_str(),
        aud: Some(aud),
        jti,
    })
}

/// A refresh token is asked of its grant: it is rarely asked for, and the live models do not hold it. It means nothing to
/// anybody but the client that it was given to, and an API that took one for an access token would let it in.
async fn refresh_token(
    app: &App,
    asking: &LiveClient,
    grant_id: GrantId,
    hash: SecretHash,
) -> Result<Option<Vec<u8>>, StoreError> {
    let grant = app.store.load::<Grant>(&grant_id.to_string()).await?.aggregate;
    let Some(authorization) = grant.authorization() else { return Ok(None) };
    let allowed = match authorization.user_id {
        Some(user_id) => &scopes::of_user(app, &asking.metadata.scope, user_id).await?,
        None => &asking.metadata.scope,
    };
    let stands = authorization.client_id == asking.id
        && grant.is_current_refresh_token(&hash.into())
        && app.now() < authorization.expires_at
        && asking.metadata.allows(GrantType::RefreshToken)
        && authorization.is_refreshable(allowed);
    if !stands || !parties_stand(app, authorization.client_id, authorization.user_id).await? {
        return Ok(None);
    }
    let Some(scope) = authorization.scope.left_within(allowed) else { return Ok(None) };
    let client_id = authorization.client_id.to_string();
    let sub = match authorization.user_id {
        Some(user_id) => subject::subject(app, asking.id, &asking.metadata, user_id),
        None => client_id.clone(),
    };
    Ok(Some(written(&Introspection {
        active: true,
        scope: &scope.to_string(),
        client_id: &client_id,
        username: None,
        token_type: None,
        exp: authorization.expires_at,
        iat: None,
        sub: &sub,
        iss: app.settings.issuer.as_str(),
        aud: None,
        jti: None,
    })))
}

fn written(introspection: &Introspection<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    // Strings and numbers: this always serializes.
    let _ = serde_json::to_writer(&mut text, introspection);
    text
}

/// RFC 7662 2.2: nothing else is said of a token that is not active.
fn inactive() -> Response {
    json(r#"{"active":false}"#)
}
