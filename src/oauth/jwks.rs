//! The public halves of the signing keys: RFC 7517 5.

use bytes::Bytes;
use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::error::OAuthError;
use super::metadata::{MAX_AGE, public_json};
use super::posted::{answer, not_read};
use crate::app::{App, with};
use crate::http::request_id::{RequestContext, request_context};
use crate::standing;

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    request_context()
        .and(with(app))
        .then(async |context: RequestContext, app: App| answer(jwks(&context, &app).await))
        .boxed()
}

async fn jwks(context: &RequestContext, app: &App) -> Result<Response, OAuthError> {
    // Keys that sign, that will sign, and that signed what may still be verified; revoked ones are not published.
    let keys = standing::keys(app).await.map_err(|error| not_read(&error, context))?;
    let keys: Vec<_> = keys.iter().map(|key| key.public_jwk.clone()).collect();
    // Who keeps the set knows the next key before it signs (OpenID Connect Core 10.1.1).
    let max_age = MAX_AGE.min(app.settings.keys.publish / 2);
    Ok(public_json(Bytes::from(json!({ "keys": keys }).to_string()), max_age))
}
