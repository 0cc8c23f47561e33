//! Who a token speaks for: `/api/me`, which needs the scope `profile`, and `/oauth/userinfo` (OpenID Connect Core 5.3),
//! which needs `openid`. The claims are chosen by scope (5.4).

use grantlog_domain::{Scope, UserId};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::error::{OAuthError, no_store};
use super::posted::answer;
use crate::app::{App, with};
use crate::http::request_id::{RequestContext, request_context};
use crate::oidc::claims::opened_by;
use crate::resource::{Authorized, ResourceServer, refusal};
use crate::store::vault::VaultError;

/// `/api/me`.
pub fn me_route(app: &App) -> BoxedFilter<(Response,)> {
    ResourceServer::local(app)
        .require_oauth("profile")
        .and(request_context())
        .and(with(app))
        .then(userinfo)
        .map(answer)
        .recover(refusal)
        .unify()
        .boxed()
}

/// `/oauth/userinfo`.
pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    ResourceServer::local(app)
        .require_oauth("")
        .and(request_context())
        .and(with(app))
        .then(async |authorized: Authorized, context: RequestContext, app: App| {
            check_scope(&authorized)?;
            userinfo(authorized, context, app).await
        })
        .map(answer)
        .recover(refusal)
        .unify()
        .boxed()
}

/// `openid` (OpenID Connect Core 5.3), or `profile`, with which `/api/me` says the same.
fn check_scope(authorized: &Authorized) -> Result<(), OAuthError> {
    if authorized.scope.contains("openid") || authorized.scope.contains("profile") {
        return Ok(());
    }
    Err(OAuthError::insufficient_scope(&Scope::parse("openid").unwrap_or_default()))
}

async fn userinfo(authorized: Authorized, context: RequestContext, app: App) -> Result<Response, OAuthError> {
    // RFC 6749 4.4: a client that acts for itself has no "me".
    let user_id: UserId = authorized.user().and_then(|sub| sub.parse().ok()).ok_or_else(OAuthError::no_user)?;
    let profile = app.profiles().get(&app, user_id).await.map_err(|error| not_told(&error, &context))?;
    let profile = profile.ok_or_else(OAuthError::no_user)?;
    let mut claims = Map::new();
    claims.insert("sub".into(), user_id.to_string().into());
    claims.extend(opened_by(&authorized.scope, &profile));
    Ok(json(&Value::Object(claims)))
}

fn not_told(error: &VaultError, context: &RequestContext) -> OAuthError {
    match error {
        VaultError::Database(_) => {
            tracing::warn!(request_id = context.id.as_str(), %error, "the vault is not available");
            OAuthError::unavailable()
        }
        other => OAuthError::fault(Some(context.id.as_str()), other),
    }
}

fn json(claims: &Value) -> Response {
    let mut response = Response::new(claims.to_string().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    no_store(response.headers_mut());
    response
}
