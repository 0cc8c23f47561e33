//! Answers that pages of other origins may read (Fetch 3.3, "CORS protocol"): clients that are pages themselves ask for tokens and
//! for UserInfo (OpenID Connect Core 5.3).
//!
//! Every origin, and never with credentials: what is answered there depends on what the request holds, and on no cookie.
//! Which endpoints: `oauth::endpoints`.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use warp::reply::Response;

/// What clients need beside the body: why a token was refused, when to try again, and the id to ask the operator about.
const EXPOSED: HeaderValue = HeaderValue::from_static("www-authenticate, retry-after, x-request-id");

/// What a page may send that is more than any page may: client authentication and tokens, and the type of a body.
const ALLOWED: HeaderValue = HeaderValue::from_static("authorization, content-type");

/// Two hours, in seconds: the longest that browsers remember.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");

/// Lets pages of every origin read an answer.
pub fn allow(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// The answer to a browser that asks whether a page may ask (Fetch 4.8, "CORS-preflight fetch"); `methods` as in `Allow`.
#[must_use]
pub fn preflight(methods: &'static str) -> Response {
    let mut response = Response::new(String::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
    headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    response
}
