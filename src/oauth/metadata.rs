//! Authorization server metadata: RFC 8414, with `authorization_response_iss_parameter_supported` (RFC 9207 3); the same
//! document is the OpenID Provider Configuration (OpenID Connect Discovery 3), so the two cannot disagree.
//!
//! Made from the table of endpoints and from the lists that the domain knows; the same for every request.

use std::time::Duration;

use bytes::Bytes;
use grantlog_domain::client::{GrantType, ResponseType, SubjectType};
use grantlog_domain::signing_key::Algorithm;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Map, Value, json};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::authorization_response::ResponseMode;
use super::endpoints::ENDPOINTS;
use super::{request_object, scopes};
use crate::app::App;
use crate::config::{Issuer, RegistrationMode};
use crate::http::client_assertion;
use crate::http::client_auth::SUPPORTED;
use crate::oidc::claims::CLAIMS;
use crate::oidc::id_token::{ACR_VALUES, may_be_unsigned};

pub fn route(app: &App) -> BoxedFilter<(Response,)> {
    let document = Bytes::from(Value::Object(announced(app)).to_string());
    // Made once, with its headers.
    let headers = public_json(Bytes::new(), MAX_AGE).headers().clone();
    warp::any()
        .map(move || {
            let mut response = Response::new(document.clone().into());
            *response.headers_mut() = headers.clone();
            response
        })
        .boxed()
}

/// The metadata document as this server answers it.
#[must_use]
pub fn announced(app: &App) -> Map<String, Value> {
    let mut document = document(&app.settings.issuer, may_be_unsigned(&app.settings));
    if let Some(scopes) = &app.settings.oauth.scopes {
        let known = scopes::supported().into_iter();
        let others = scopes.tokens().filter(|word| !scopes::supported().contains(word));
        document.insert("scopes_supported".into(), known.chain(others).collect());
    }
    // RFC 7591 3: nobody is sent where nobody is let in.
    if app.settings.registration.mode == RegistrationMode::Off {
        document.remove("registration_endpoint");
    }
    document
}

/// The metadata document (RFC 8414 2).
#[must_use]
pub fn document(issuer: &Issuer, unsigned_id_tokens: bool) -> Map<String, Value> {
    let methods: Vec<_> = SUPPORTED.iter().map(|method| method.as_str()).collect();
    // RFC 7662 2.1: introspection is for clients that prove who they are.
    let confidential: Vec<_> = methods.iter().filter(|method| **method != "none").collect();
    let (assertions, objects): (Vec<_>, Vec<_>) =
        (client_assertion::algorithms().collect(), request_object::algorithms().collect());
    let modes: Vec<_> = ResponseMode::ALL.iter().map(|mode| mode.as_str()).collect();
    let mut document = Map::new();
    document.insert("issuer".into(), issuer.as_str().into());
    for endpoint in ENDPOINTS {
        if let Some(name) = endpoint.metadata_name {
            document.insert(name.into(), issuer.url(endpoint.path).into());
        }
    }
    let supported = [
        ("response_types_supported", json!(ResponseType::ALL)),
        ("response_modes_supported", json!(modes)),
        ("grant_types_supported", json!(GrantType::ALL)),
        ("token_endpoint_auth_methods_supported", json!(methods)),
        ("revocation_endpoint_auth_methods_supported", json!(methods)),
        ("introspection_endpoint_auth_methods_supported", json!(confidential)),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("authorization_response_iss_parameter_supported", json!(true)),
        ("token_endpoint_auth_signing_alg_values_supported", json!(assertions)),
        ("revocation_endpoint_auth_signing_alg_values_supported", json!(assertions)),
        ("introspection_endpoint_auth_signing_alg_values_supported", json!(assertions)),
        ("request_parameter_supported", json!(true)),
        ("request_uri_parameter_supported", json!(true)),
        ("require_request_uri_registration", json!(true)),
        ("request_object_signing_alg_values_supported", json!(objects)),
    ];
    document.extend(supported.map(|(name, value)| (name.to_owned(), value)));
    document.extend(openid(unsigned_id_tokens));
    document
}

/// What OpenID Connect Discovery 3 adds.
fn openid(unsigned_id_tokens: bool) -> Map<String, Value> {
    let in_id_tokens = ["iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid"];
    let claims = in_id_tokens.into_iter().chain(CLAIMS.iter().map(|claim| claim.name));
    let algs = Algorithm::ALL.iter().map(|alg| alg.as_str());
    let id_token_algs: Vec<_> = algs.chain(unsigned_id_tokens.then_some("none")).collect();
    let document = json!({
        "scopes_supported": scopes::supported(),
        "subject_types_supported": SubjectType::ALL,
        "id_token_signing_alg_values_supported": id_token_algs,
        "userinfo_signing_alg_values_supported": Algorithm::ALL,
        "acr_values_supported": ACR_VALUES,
        "claim_types_supported": ["normal"],
        "claims_supported": claims.collect::<Vec<_>>(),
        "claims_parameter_supported": true,
        "display_values_supported": ["page"],
        "ui_locales_supported": ["en"],
        // A session is known to each client by its sid.
        "frontchannel_logout_supported": true,
        "frontchannel_logout_session_supported": true,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
    });
    if let Value::Object(document) = document { document } else { Map::new() }
}

/// How long caches may keep a public document.
pub const MAX_AGE: Duration = Duration::from_secs(300);

/// Public JSON that caches may keep for a while.
pub fn public_json(body: Bytes, max_age: Duration) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A number in a text: always a header value.
    if let Ok(rule) = HeaderValue::try_from(format!("public, max-age={}", max_age.as_secs())) {
        headers.insert(CACHE_CONTROL, rule);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Map<String, Value> {
        super::document(&"https://id.example".parse().expect("an issuer"), false)
    }

    #[test]
    fn every_named_endpoint_is_announced_under_the_issuer() {
        let document = document();
        assert_eq!(document["issuer"], "https://id.example");
        assert_eq!(document["token_endpoint"], "https://id.example/oauth/token");
        for endpoint in ENDPOINTS {
            if let Some(name) = endpoint.metadata_name {
                assert_eq!(document[name], format!("https://id.example{}", endpoint.path));
            }
        }
    }

    #[test]
    fn lists_are_those_of_the_domain() {
        let document = document();
        assert_eq!(document["grant_types_supported"].as_array().map(Vec::len), Some(GrantType::ALL.len()));
        assert_eq!(document["response_types_supported"].as_array().map(Vec::len), Some(ResponseType::ALL.len()));
        assert_eq!(
            document["scopes_supported"],
            json!(["openid", "profile", "email", "address", "phone", "offline_access"])
        );
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
    }

    #[test]
    fn public_clients_do_not_introspect() {
        let document = document();
        let methods = document["introspection_endpoint_auth_methods_supported"].as_array().expect("a list");
        assert!(!methods.contains(&json!("none")) && methods.len() == 4);
    }
}
