//! Who a token speaks for: `/api/me`, which needs the scope `profile`, and `/oauth/userinfo` (OpenID Connect Core 5.3),
//! which needs `openid`. The claims are chosen by scope (5.4) and by the request's `claims` (5.5).

use std::iter;
use std::sync::Arc;

use grantlog_domain::Scope;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::active_token::ActiveToken;
use super::error::{OAuthError, no_store};
use super::posted::{answer, not_read};
use super::profiles::not_told;
use crate::app::{App, with};
use crate::http::form::raw_query;
use crate::http::request_id::{RequestContext, request_context};
use crate::oidc::claims::{Held, opened};
use crate::oidc::subject;
use crate::resource::Protected;
use crate::standing;
use crate::store::vault::Profile;

/// `/api/me`.
pub fn me_route(app: &App) -> BoxedFilter<(Response,)> {
    let asked = async |app: App, token, context| Ok(json(&told(&app, &token, &context).await?));
    protected(app, "profile", asked)
}

/// `/oauth/userinfo`.
pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    protected(app, "", async |app, token, context| userinfo(&app, &token, &context).await)
}

fn protected<F, A>(app: &App, needed: &str, answered: F) -> BoxedFilter<(Response,)>
where
    F: Fn(App, ActiveToken, RequestContext) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Response, OAuthError>> + Send + 'static,
{
    let protected = Arc::new(Protected::new(app, needed));
    warp::method()
        .and(warp::header::headers_cloned())
        .and(raw_query())
        .and(warp::body::stream())
        .and(request_context())
        .and(with(app))
        .then(move |method: Method, headers: HeaderMap, query: String, body, context, app| {
            let (protected, answered) = (Arc::clone(&protected), answered.clone());
            let asked = async move {
                let token = protected.check(&method, &headers, &query, body).await?;
                answered(app, token, context).await
            };
            async { answer(asked.await) }
        })
        .boxed()
}

/// 5.3.2: plain JSON, or a JSON Web Token for clients that registered for one.
async fn userinfo(app: &App, token: &ActiveToken, context: &RequestContext) -> Result<Response, OAuthError> {
    check_scope(&token.scope)?;
    let told = told(app, token, context).await?;
    let client = standing::client(app, token.client_id).await.map_err(|error| not_read(&error, context))?;
    let Some(alg) = client.and_then(|client| client.metadata.openid.userinfo_signed_response_alg) else {
        return Ok(json(&told));
    };
    let mut claims: Map<String, Value> = told.claims().map(|(name, held)| (name.to_owned(), held.into())).collect();
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

/// What is told of the user of a token.
struct Told<'a> {
    sub: String,
    token: &'a ActiveToken,
    profile: Arc<Profile>,
}

impl Told<'_> {
    fn claims(&self) -> impl Iterator<Item = (&'static str, Held<'_>)> {
        let scope = &self.token.scope.scope;
        // A token that was narrowed to less than `openid` has lost what came with it.
        let named = self.token.claims.as_ref().filter(|_| scope.contains("openid"));
        let named = named.map_or(&[][..], |claims| &claims.userinfo);
        iter::once(("sub", Held::Text(&self.sub))).chain(opened(scope, named, &self.profile))
    }
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.claims())
    }
}

async fn told<'a>(app: &App, token: &'a ActiveToken, context: &RequestContext) -> Result<Told<'a>, OAuthError> {
    // RFC 6749 4.4: a client that acts for itself has no "me".
    let user_id = token.user_id.ok_or_else(OAuthError::no_user)?;
    let profile = app.profiles().get(app, user_id).await.map_err(|error| not_told(&error, context))?;
    let profile = profile.ok_or_else(OAuthError::no_user)?;
    let sub = subject::of_token(app, token).await.map_err(|error| not_read(&error, context))?;
    Ok(Told { sub, token, profile })
}

fn json(told: &Told<'_>) -> Response {
    let mut text = Vec::with_capacity(256);
    // Strings and JSON: this always serializes.
    let _ = serde_json::to_writer(&mut text, told);
    reply(text, "application/json")
}

fn reply(body: impl Into<Vec<u8>>, content_type: &'static str) -> Response {
    let mut response = Response::new(body.into().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    no_store(response.headers_mut());
    response
}
