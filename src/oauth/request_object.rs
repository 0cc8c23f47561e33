//! Request objects: authorization requests as a JSON Web Token, by value (`request`) or by reference (`request_uri`).
//! OpenID Connect Core 6, RFC 9101.
//!
//! What is in the object replaces what stands beside it. An OpenID request may leave the rest outside (Core 6.1); of any
//! other only the object counts (RFC 9101 6.3). What comes out is a request like any other: it is checked as such, and goes
//! to the sign-in page and back as its parameters, without the object.

use form_urlencoded::Serializer;
use grantlog_domain::client::{JwsAlgorithm, ResponseType};
use grantlog_projections::live::LiveClient;
use serde_json::Value;

use super::authorization_request::REQUEST_BYTES_MAX;
use super::error::{ErrorCode, OAuthError};
use crate::app::App;
use crate::http::form::Parameters;
use crate::oidc::client_jwt::{ClientJwt, JwtError};
use crate::oidc::remote::FetchError;

/// Longest request object, in bytes; what is in it must fit into a request all the same.
const OBJECT_BYTES_MAX: usize = 2 * REQUEST_BYTES_MAX;

/// Claims that are about the object itself (RFC 9101 4), and names that only this server uses.
const NOT_PARAMETERS: [&str; 10] = ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "arrival", "decision", "csrf"];

/// `request_object_signing_alg_values_supported`; `none` for clients that registered it, or no algorithm.
pub fn algorithms() -> impl Iterator<Item = JwsAlgorithm> {
    JwsAlgorithm::ALL.iter().copied().filter(|alg| !alg.is_symmetric())
}

/// Why an object is not read.
pub struct NotOpened {
    pub error: OAuthError,
    /// What the object says all the same, as far as it can be read: where the client wants its answer. Nobody proved it,
    /// and nobody need: it could stand in a request without an object.
    pub says: Option<Parameters>,
}

impl From<OAuthError> for NotOpened {
    fn from(error: OAuthError) -> Self {
        Self { error, says: None }
    }
}

/// The parameters of a request with those of its object in them; `None` when it has no object.
///
/// # Errors
/// `invalid_request_object`, `invalid_request_uri`, and those for what is not supported.
pub async fn opened(app: &App, client: &LiveClient, outside: &Parameters) -> Result<Option<Parameters>, NotOpened> {
    let repeated = ["request", "request_uri"].into_iter().any(|name| outside.is_repeated(name));
    let object = match (outside.get("request"), outside.get("request_uri")) {
        (None, None) if !repeated => return Ok(None),
        _ if outside.has_repeats() => return Err(OAuthError::invalid_request("a parameter is repeated").into()),
        (None, None) => return Ok(None),
        // Core 6.2, RFC 9101 5.
        (Some(_), Some(_)) => return Err(OAuthError::invalid_request("request goes without request_uri").into()),
        (Some(object), None) => object.to_owned(),
        (None, Some(uri)) => fetched(app, client, uri).await?,
    };
    let jwt = ClientJwt::parse(object.trim(), OBJECT_BYTES_MAX).map_err(|error| refused(client, &error))?;
    let is_openid = outside.get("scope").is_some_and(|scope| scope.split(' ').any(|word| word == "openid"));
    let merged = merged(app, client, &jwt, outside, is_openid)?;
    match check(app, client, &jwt, outside, is_openid).await {
        Ok(()) => Ok(Some(merged)),
        Err(error) => Err(NotOpened { error, says: Some(merged) }),
    }
}

async fn check(
    app: &App,
    client: &LiveClient,
    jwt: &ClientJwt<'_>,
    outside: &Parameters,
    is_openid: bool,
) -> Result<(), OAuthError> {
    check_signature(app, client, jwt).await?;
    check_claims(app, client, jwt).map_err(|error| refused(client, &error))?;
    check_outside(client, jwt, outside, is_openid)
}

fn invalid(why: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequestObject, why)
}

fn refused(client: &LiveClient, error: &JwtError) -> OAuthError {
    tracing::debug!(client_id = %client.id, %error, "a request object was refused");
    OAuthError::new(ErrorCode::InvalidRequestObject, format!("the request object cannot be used: {error}"))
}

/// Core 6.2, RFC 9101 5.2: only from where the client registered, so nobody makes this server ask anybody else. What stands
/// behind `#` tells a server that keeps documents when one has changed. This one keeps none, so it reads past it.
async fn fetched(app: &App, client: &LiveClient, uri: &str) -> Result<String, OAuthError> {
    let registered = &client.metadata.openid.request_uris;
    if registered.is_empty() {
        return Err(OAuthError::new(ErrorCode::RequestUriNotSupported, "the client registered no request_uris"));
    }
    let invalid = |why: &'static str| OAuthError::new(ErrorCode::InvalidRequestUri, why);
    let document = uri.split_once('#').map_or(uri, |(document, _)| document);
    let is_registered = |held: &String| held.split('#').next() == Some(document);
    if !registered.iter().any(is_registered) {
        return Err(invalid("the request_uri is not one that the client registered"));
    }
    let body = app.remote().fetch(document, OBJECT_BYTES_MAX).await.map_err(|error| match error {
        FetchError::Url | FetchError::Address => invalid("the request_uri is not one that may be fetched"),
        FetchError::TooLarge(_) => invalid("the document of the request_uri is too long"),
        FetchError::TimedOut | FetchError::Status(_) | FetchError::Failed(_) => {
            invalid("the document of the request_uri cannot be fetched")
        }
    })?;
    String::from_utf8(body.into()).map_err(|_| invalid("the document of the request_uri is not a request object"))
}

/// Core 6.1, RFC 9101 6.2, RFC 8725 3.1: with the algorithm that the client registered. Without one, any that is supported,
/// and `none` is (OpenID Connect Dynamic Registration 2 `request_object_signing_alg`): an unsigned object is worth as much as
/// the same parameters without an object.
async fn check_signature(app: &App, client: &LiveClient, jwt: &ClientJwt<'_>) -> Result<(), OAuthError> {
    match (client.metadata.openid.request_object_signing_alg, jwt.alg) {
        (Some(registered), alg) if registered != alg => Err(refused(client, &JwtError::Algorithm)),
        (_, JwsAlgorithm::None) => {
            if jwt.is_unsigned() {
                Ok(())
            } else {
                Err(refused(client, &JwtError::Signature))
            }
        }
        _ => jwt.verify(app, &client.metadata).await.map_err(|error| refused(client, &error)),
    }
}

/// RFC 9101 4 and 10.8, as far as they are there: made by this client, for this server, now, and not an assertion.
fn check_claims(app: &App, client: &LiveClient, jwt: &ClientJwt<'_>) -> Result<(), JwtError> {
    let client_id = client.id.to_string();
    let is_client = |name: &'static str| jwt.claims.get(name).map(|value| value.as_str() == Some(&client_id));
    if is_client("iss") == Some(false) {
        return Err(JwtError::Wrong("iss"));
    }
    if is_client("sub") == Some(true) {
        return Err(JwtError::Wrong("sub"));
    }
    let audience = jwt.audience()?;
    if jwt.claims.contains_key("aud") && !audience.contains(&app.settings.issuer.as_str()) {
        return Err(JwtError::Wrong("aud"));
    }
    jwt.check_times(app.now())
}

/// Core 6.1, RFC 9101 4 and 6.3: what must be the same inside and outside, and what must not be inside.
fn check_outside(
    client: &LiveClient,
    jwt: &ClientJwt<'_>,
    outside: &Parameters,
    is_openid: bool,
) -> Result<(), OAuthError> {
    if jwt.claims.contains_key("request") || jwt.claims.contains_key("request_uri") {
        return Err(invalid("a request object must not hold another one"));
    }
    match jwt.claims.get("client_id") {
        Some(inside) if inside.as_str() == Some(&client.id.to_string()) => {}
        None if is_openid => {}
        _ => return Err(invalid("the client_id of the request object is not that of the request")),
    }
    let response_type = |text: Option<&str>| text.and_then(|text| ResponseType::parse(text).ok());
    let (inside, beside) = (jwt.claims.get("response_type"), outside.get("response_type"));
    let same = response_type(inside.and_then(Value::as_str)) == response_type(beside);
    if inside.is_some() && beside.is_some() && !same {
        return Err(invalid("the response_type of the request object is not that of the request"));
    }
    Ok(())
}

/// Core 6.1: what the object has replaces what stands beside it.
fn merged(
    app: &App,
    client: &LiveClient,
    jwt: &ClientJwt<'_>,
    outside: &Parameters,
    is_openid: bool,
) -> Result<Parameters, OAuthError> {
    let mut query = Serializer::new(String::new());
    query.append_pair("client_id", &client.id.to_string());
    for (name, value) in jwt.claims.iter().filter(|(name, _)| !NOT_PARAMETERS.contains(&name.as_str())) {
        match value {
            _ if name == "client_id" => {}
            Value::Null => {}
            Value::String(text) => _ = query.append_pair(name, text),
            // `max_age` is a number and `claims` an object there (RFC 9101 4).
            other => _ = query.append_pair(name, &other.to_string()),
        }
    }
    let not_again =
        |name: &str| matches!(name, "request" | "request_uri" | "client_id") || jwt.claims.contains_key(name);
    for (name, value) in outside.iter().filter(|(name, _)| is_openid && !not_again(name)) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    let limits = &app.settings.http;
    let parsed = Parameters::parse_keeping_repeats(query.as_bytes(), limits.parameters);
    parsed.map_err(|_| invalid("the request object has too many parameters"))
}
