//! Who a token speaks for: `/api/me` and `/oauth/userinfo`. Needs the scope `profile`; the claims are named as in
//! OpenID Connect Core 5.1 and chosen by scope as in 5.4.

use grantlog_domain::UserId;
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
use crate::resource::{Authorized, ResourceServer, refusal};
use crate::store::vault::VaultError;

/// Which claims a scope opens (OpenID Connect Core 5.4).
const CLAIMS: &[(&str, &[&str])] = &[
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    ResourceServer::local(app)
        .require_oauth("profile")
        .and(request_context())
        .and(with(app))
        .then(me)
        .map(answer)
        .recover(refusal)
        .unify()
        .boxed()
}

async fn me(authorized: Authorized, context: RequestContext, app: App) -> Result<Response, OAuthError> {
    // RFC 6749 4.4: a client that acts for itself has no "me".
    let user_id: UserId = authorized.user().and_then(|sub| sub.parse().ok()).ok_or_else(OAuthError::no_user)?;
    let profile = app.profiles().get(&app, user_id).await.map_err(|error| not_told(&error, &context))?;
    let profile = profile.ok_or_else(OAuthError::no_user)?;
    let mut claims = Map::new();
    claims.insert("sub".into(), user_id.to_string().into());
    claims.insert("preferred_username".into(), profile.username.clone().into());
    for (scope, names) in CLAIMS {
        if authorized.scope.contains(scope) {
            let held = names.iter().filter_map(|name| profile.claims.get_key_value(*name));
            claims.extend(held.map(|(name, value)| (name.clone(), value.clone())));
        }
    }
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
