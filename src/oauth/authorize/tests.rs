use grantlog_domain::client::{ApplicationType, ClientMetadata, GrantType, ResponseType, TokenEndpointAuthMethod};
use grantlog_domain::{ClientId, RedirectUri, Scope};
use uuid::Uuid;

use super::*;
use crate::config::Settings;

fn client(method: TokenEndpointAuthMethod, application_type: ApplicationType, uri: &str) -> ClientMetadata {
    ClientMetadata {
        client_name: "Test".into(),
        client_uri: None,
        redirect_uris: vec![RedirectUri::register(uri, true).expect("registered")],
        grant_types: vec![GrantType::AuthorizationCode],
        response_types: vec![ResponseType::Code],
        scope: scope("a b"),
        token_endpoint_auth_method: method,
        application_type,
        require_pkce: false,
        resource_server: false,
        openid: Box::default(),
    }
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).expect("a scope")
}

/// Whether an earlier consent counts.
fn counts(client: &ClientMetadata, query: &str) -> bool {
    let challenge = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
    let query = format!("response_type=code&{challenge}&{query}");
    let parameters = Parameters::parse(query.as_bytes(), 20).expect("parameters");
    let redirect = VerifiedRedirect::verify(client, None).expect("verified");
    let settings = Settings::with(&[("oauth.require_pkce", "all")]).expect("settings");
    let request = AuthorizationRequest::check(&parameters, ClientId(Uuid::nil()), client, redirect, &settings);
    counts_earlier_consent(&request.expect("a request"))
}

#[test]
fn a_confidential_client_is_remembered_unless_it_wants_the_user_asked() {
    let basic = client(TokenEndpointAuthMethod::ClientSecretBasic, ApplicationType::Web, "http://127.0.0.1/cb");
    assert!(counts(&basic, "scope=a"));
    assert!(!counts(&basic, "scope=a&prompt=consent"));
}

#[test]
fn a_native_client_is_asked_for_every_time() {
    let native = client(TokenEndpointAuthMethod::None, ApplicationType::Native, "com.example.app:/cb");
    assert!(!counts(&native, "scope=a"));
}

#[test]
fn a_public_client_is_remembered_where_only_it_can_answer() {
    let web = client(TokenEndpointAuthMethod::None, ApplicationType::Web, "https://app.example/cb");
    assert!(counts(&web, "scope=a"));
    let loopback = client(TokenEndpointAuthMethod::None, ApplicationType::Web, "http://127.0.0.1/cb");
    assert!(!counts(&loopback, "scope=a"));
}
