//! Who a token speaks for: `/api/me`, which needs the scope `profile`, and `/oauth/userinfo` (OpenID Connect Core 5.3),
//! which needs `openid`. The claims are chosen by scope (5.4).

use std::sync::Arc;

use futures::FutureExt as _;
use grantlog_domain::Scope;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use warp::reply::Response;

use super::active_token::ActiveToken;
use super::error::{OAuthError, no_store};
use super::posted::answer;
use crate::app::App;
use crate::http::handler::Handler;
use crate::http::request_id::RequestContext;
use crate::oidc::claims::opened_by;
use crate::resource::Protected;
use crate::store::vault::VaultError;

/// `/api/me`.
pub fn me_route(app: &App) -> Handler {
    protected(app, "profile", |_| Ok(()))
}

/// `/oauth/userinfo`.
pub fn route(app: &App) -> Handler {
    protected(app, "", check_scope)
}

/// `openid` (OpenID Connect Core 5.3), or `profile`, with which `/api/me` says the same.
fn check_scope(scope: &Scope) -> Result<(), OAuthError> {
    if scope.contains("openid") || scope.contains("profile") {
        return Ok(());
    }
    Err(OAuthError::insufficient_scope(&Scope::parse("openid").unwrap_or_default()))
}

fn protected(app: &App, needed: &str, check: fn(&Scope) -> Result<(), OAuthError>) -> Handler {
    let (app, protected) = (app.clone(), Arc::new(Protected::new(app, needed)));
    Handler::new(move |request, context| {
        let (app, protected) = (app.clone(), Arc::clone(&protected));
        let asked = async move {
            let token = protected.check(request).await?;
            check(&token.scope)?;
            userinfo(&app, &token, &context).await
        };
        Box::pin(asked.map(answer))
    })
}

async fn userinfo(app: &App, token: &ActiveToken, context: &RequestContext) -> Result<Response, OAuthError> {
    // RFC 6749 4.4: a client that acts for itself has no "me".
    let user_id = token.user_id.ok_or_else(OAuthError::no_user)?;
    let profile = app.profiles().get(app, user_id).await.map_err(|error| not_told(&error, context))?;
    let profile = profile.ok_or_else(OAuthError::no_user)?;
    let mut claims = Map::new();
    claims.insert("sub".into(), user_id.to_string().into());
    claims.extend(opened_by(&token.scope, &profile));
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
