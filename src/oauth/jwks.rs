//! The public halves of the signing keys: RFC 7517 5.

use bytes::Bytes;
use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::metadata::public_json;
use crate::app::{App, with};

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    with(app).map(|app: App| jwks(&app)).boxed()
}

fn jwks(app: &App) -> Response {
    // Keys that sign, that will sign, and that signed what may still be verified; revoked ones are not published.
    let keys: Vec<_> = app.live.keys().iter().map(|key| key.public_jwk.clone()).collect();
    public_json(Bytes::from(json!({ "keys": keys }).to_string()))
}
