//! The public halves of the signing keys: RFC 7517 5.

use bytes::Bytes;
use serde_json::json;
use warp::reply::Response;

use super::error::OAuthError;
use super::metadata::{MAX_AGE, public_json};
use super::posted::{answer, not_read};
use crate::app::App;
use crate::http::handler::Handler;
use crate::http::request_id::RequestContext;
use crate::standing;

pub fn route(app: &App) -> Handler {
    let app = app.clone();
    Handler::new(move |_, context| {
        let app = app.clone();
        Box::pin(async move { answer(jwks(&context, &app).await) })
    })
}

async fn jwks(context: &RequestContext, app: &App) -> Result<Response, OAuthError> {
    // Keys that sign, that will sign, and that signed what may still be verified; revoked ones are not published.
    let keys = standing::keys(app).await.map_err(|error| not_read(&error, context))?;
    let keys: Vec<_> = keys.iter().map(|key| key.public_jwk.clone()).collect();
    // Who keeps the set knows the next key before it signs (OpenID Connect Core 10.1.1).
    let max_age = MAX_AGE.min(app.settings.keys.publish / 2);
    Ok(public_json(Bytes::from(json!({ "keys": keys }).to_string()), max_age))
}
