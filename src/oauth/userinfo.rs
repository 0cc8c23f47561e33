//! Who a token speaks for: `/api/me`, which needs the scope `profile`, and `/oauth/userinfo` (OpenID Connect Core 5.3),
//! which needs `openid`. The claims are chosen by scope (5.4) and by the request's `claims` (5.5).

use std::sync::Arc;

use futures::FutureExt as _;
use grantlog_domain::Scope;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use warp::reply::Response;

use super::active_token::ActiveToken;
use super::error::{OAuthError, no_store};
use super::posted::{answer, not_read};
use super::profiles::not_told;
use crate::app::App;
use crate::http::handler::Handler;
use crate::http::request_id::RequestContext;
use crate::oidc::claims::opened_by;
use crate::oidc::subject;
use crate::resource::Protected;
use crate::standing;

/// `/api/me`.
pub fn me_route(app: &App) -> Handler {
    let asked = async |app: App, token, context| Ok(json(&Value::Object(claims(&app, &token, &context).await?)));
    protected(app, "profile", asked)
}

/// `/oauth/userinfo`.
pub fn route(app: &App) -> Handler {
    protected(app, "", async |app, token, context| userinfo(&app, &token, &context).await)
}

fn protected<F, A>(app: &App, needed: &str, answered: F) -> Handler
where
    F: Fn(App, ActiveToken, RequestContext) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Response, OAuthError>> + Send + 'static,
{
    let (app, protected) = (app.clone(), Arc::new(Protected::new(app, needed)));
    Handler::new(move |request, context| {
        let (app, protected, answered) = (app.clone(), Arc::clone(&protected), answered.clone());
        let asked = async move {
            let token = protected.check(request).await?;
            answered(app, token, context).await
        };
        Box::pin(asked.map(answer))
    })
}

/// 5.3.2: plain JSON, or a JSON Web Token for clients that registered for one.
async fn userinfo(app: &App, token: &ActiveToken, context: &RequestContext) -> Result<Response, OAuthError> {
    check_scope(&token.scope)?;
    let mut claims = claims(app, token, context).await?;
    let client = standing::client(app, token.client_id).await.map_err(|error| not_read(&error, context))?;
    let Some(alg) = client.and_then(|client| client.metadata.openid.userinfo_signed_response_alg) else {
        return Ok(json(&Value::Object(claims)));
    };
    claims.insert("iss".into(), app.settings.issuer.as_str().into());
    claims.insert("aud".into(), token.client_id.to_string().into());
    let signed = app.signing().sign(app, alg, "JWT", &claims).await;
    let signed = signed.map_err(|error| OAuthError::fault(Some(context.id.as_str()), &error))?;
    Ok(reply(signed, "application/jwt"))
}

/// `openid` (OpenID Connect Core 5.3), or `profile`, with which `/api/me` says the same.
fn check_scope(scope: &Scope) -> Result<(), OAuthError> {
    if scope.contains("openid") || scope.contains("profile") {
        return Ok(());
    }
    Err(OAuthError::insufficient_scope(&Scope::parse("openid").unwrap_or_default()))
}

async fn claims(app: &App, token: &ActiveToken, context: &RequestContext) -> Result<Map<String, Value>, OAuthError> {
    // RFC 6749 4.4: a client that acts for itself has no "me".
    let user_id = token.user_id.ok_or_else(OAuthError::no_user)?;
    let profile = app.profiles().get(app, user_id).await.map_err(|error| not_told(&error, context))?;
    let profile = profile.ok_or_else(OAuthError::no_user)?;
    let sub = subject::of_token(app, token).await.map_err(|error| not_read(&error, context))?;
    let mut claims = Map::new();
    claims.insert("sub".into(), sub.into());
    // A token that was narrowed to less than `openid` has lost what came with it.
    let named = token.claims.as_ref().filter(|_| token.scope.contains("openid"));
    claims.extend(opened_by(&token.scope, named.map_or(&[], |claims| &claims.userinfo), &profile));
    Ok(claims)
}

fn json(claims: &Value) -> Response {
    // Made of JSON, so it serializes; printing it as text would take the way through a formatter.
    reply(serde_json::to_vec(claims).unwrap_or_default(), "application/json")
}

fn reply(body: impl Into<Vec<u8>>, content_type: &'static str) -> Response {
    let mut response = Response::new(body.into().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    no_store(response.headers_mut());
    response
}
