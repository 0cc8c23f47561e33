//! Defaults, and what is refused.

use bytes::Bytes;

use grantlog_domain::client::Ceiling;

use super::*;
use crate::config::Issuer;

const URI: &str = "https://app.example/cb";

fn announced() -> Map<String, Value> {
    let issuer: Issuer = "https://id.example".parse().expect("an issuer");
    crate::oauth::metadata::document(&issuer, false)
}

fn read(members: Value, trusted: bool, held: Option<&ClientMetadata>) -> Result<ClientMetadata, OAuthError> {
    let by = if trusted { Author::InitialAccessToken } else { Author::Anonymous };
    let held = held.map(|metadata| Registration {
        metadata: metadata.clone(),
        secret: None,
        owner: None,
        registration_access_token: None,
        author: Author::InitialAccessToken,
        vouched: false,
        ceiling: Ceiling::default(),
    });
    let scope = Scope::parse("openid profile").expect("a scope");
    let members = Members::parse(&Bytes::from(members.to_string())).expect("an object");
    let default_scope = &Scope::parse("openid profile email").expect("a scope");
    metadata(members, &Allowed { announced: &announced(), scope: &scope, default_scope, by, held: held.as_ref() })
}

fn error(members: Value) -> (&'static str, String) {
    let error = read(members, false, None).expect_err("refused");
    (error.code().as_str(), error.description().to_owned())
}

#[test]
fn what_is_not_said_has_its_default() {
    let metadata = read(json!({ "redirect_uris": [URI] }), false, None).expect("metadata");
    assert_eq!(metadata.grant_types, [GrantType::AuthorizationCode]);
    assert_eq!(metadata.response_types, [ResponseType::Code]);
    assert_eq!(metadata.token_endpoint_auth_method, TokenEndpointAuthMethod::ClientSecretBasic);
    assert_eq!(metadata.application_type, ApplicationType::Web);
    assert_eq!(metadata.scope.to_string(), "openid profile");
}

#[test]
fn grant_types_follow_from_response_types_and_the_other_way_round() {
    let hybrid = json!({ "redirect_uris": [URI], "response_types": ["token code id_token"] });
    let hybrid = read(hybrid, false, None).expect("metadata");
    assert_eq!(hybrid.grant_types, [GrantType::AuthorizationCode, GrantType::Implicit]);
    let implicit = json!({ "redirect_uris": [URI], "grant_types": ["implicit"] });
    assert_eq!(read(implicit, false, None).expect("metadata").response_types, [ResponseType::Token]);
    let unused = json!({ "redirect_uris": [URI], "response_types": ["code"], "grant_types": ["implicit", "authorization_code"] });
    assert_eq!(read(unused, false, None).expect("metadata").grant_types, [GrantType::AuthorizationCode]);
    let missing =
        json!({ "redirect_uris": [URI], "response_types": ["id_token"], "grant_types": ["authorization_code"] });
    assert_eq!(error(missing).0, "invalid_client_metadata");
}

#[test]
fn redirect_uris_are_those_of_the_application_type() {
    let asked = |application_type: &str, response_type: &str, uri: &str| {
        let members = json!({
            "redirect_uris": [uri], "response_types": [response_type], "application_type": application_type,
        });
        read(members, false, None).map(drop).map_err(|error| error.code().as_str())
    };
    let refused = Err("invalid_redirect_uri");
    for (application_type, response_type, uri, expected) in [
        ("web", "id_token", URI, Ok(())),
        ("web", "id_token", "https://localhost/cb", refused),
        ("web", "id_token", "https://127.0.0.1/cb", refused),
        ("web", "id_token", "http://127.0.0.1/cb", refused),
        ("web", "code", "http://127.0.0.1/cb", Ok(())),
        ("web", "code", "http://app.example/cb", refused),
        ("web", "code", "com.example.app:/cb", refused),
        ("native", "code", "com.example.app:/cb", Ok(())),
        ("native", "code", "http://127.0.0.1/cb", Ok(())),
        ("native", "code", "http://localhost:5001/cb", Ok(())),
        ("native", "code", URI, refused),
        ("native", "code", "http://app.example/cb", refused),
        ("native", "code", "javascript:alert(1)", refused),
    ] {
        assert_eq!(asked(application_type, response_type, uri), expected, "{application_type} {response_type} {uri}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_and_what_is_not_known_ignored() {
    let with = |name: &str, value: Value| json!({ "redirect_uris": [URI], name: value });
    for (name, value) in [
        ("id_token_signed_response_alg", json!("none")),
        ("id_token_encrypted_response_alg", json!("RSA-OAEP")),
        ("dpop_bound_access_tokens", json!(true)),
        ("grant_types", json!(["password"])),
        ("grant_types", json!(["magic"])),
        ("scope", json!("openid email")),
        ("scope", json!("admin groups")),
        ("contacts", json!("nobody")),
        ("jwks", json!([])),
        ("default_max_age", json!(-1)),
        ("client_name", json!(7)),
    ] {
        let (code, description) = error(with(name, value.clone()));
        assert_eq!(code, "invalid_client_metadata", "{name}");
        assert!(description.contains(name), "{description}");
    }
    assert_eq!(error(with("software_statement", json!("x"))).0, "unapproved_software_statement");
    for (name, value) in [
        ("dpop_bound_access_tokens", json!(false)),
        ("authorization_signed_response_alg", json!("none")),
        ("logo_uri", Value::Null),
        ("client_name#fr", json!("Une application")),
        ("something_else", json!({ "deep": [1] })),
    ] {
        assert!(read(with(name, value), false, None).is_ok(), "{name}");
    }
}

#[test]
fn scope_words_that_nobody_knows_are_left_out() {
    let members = json!({ "redirect_uris": [URI], "scope": "openid groups" });
    assert_eq!(read(members, false, None).expect("metadata").scope.to_string(), "openid");
    let none = json!({ "redirect_uris": [URI], "scope": "" });
    // An empty text says nothing, so it is the default, as far as it is allowed.
    assert_eq!(read(none, false, None).expect("metadata").scope.to_string(), "openid profile");
}

#[test]
fn whom_an_operator_let_in_may_register_more_and_keep_it() {
    let service = json!({ "grant_types": ["client_credentials"], "scope": "openid" });
    assert_eq!(error(service.clone()).0, "invalid_client_metadata");
    let mut held = read(service.clone(), true, None).expect("metadata");
    assert!(held.response_types.is_empty());
    held.scope = Scope::parse("openid reports").expect("a scope");
    let wider = json!({ "grant_types": ["client_credentials"], "scope": "openid reports" });
    assert!(read(wider, false, Some(&held)).is_ok());
}

#[test]
fn tokens_that_apis_read_by_themselves_are_for_who_was_let_in_by_an_operator() {
    let asked = |format: &str| json!({ "redirect_uris": [URI], "access_token_format": format });
    assert_eq!(error(asked("jwt")).0, "invalid_client_metadata");
    assert!(read(asked("opaque"), false, None).is_ok());
    let held = read(asked("jwt"), true, None).expect("metadata");
    assert!(read(asked("jwt"), false, Some(&held)).is_ok(), "what it has, it may keep");
}
