use grantlog_domain::RedirectUri;
use grantlog_domain::client::{ApplicationType, GrantType, TokenEndpointAuthMethod};
use uuid::Uuid;

use super::*;

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn client(method: TokenEndpointAuthMethod) -> ClientMetadata {
    ClientMetadata {
        client_name: "Test".into(),
        client_uri: None,
        redirect_uris: vec![RedirectUri::register("https://app.example/cb", false).expect("registered")],
        grant_types: vec![GrantType::AuthorizationCode],
        response_types: vec![ResponseType::Code],
        scope: Scope::parse("a b").expect("a scope"),
        token_endpoint_auth_method: method,
        application_type: ApplicationType::Web,
        require_pkce: false,
        resource_server: false,
        openid: Box::default(),
    }
}

fn confidential() -> ClientMetadata {
    client(TokenEndpointAuthMethod::ClientSecretBasic)
}

fn check(client: &ClientMetadata, query: &str) -> Result<AuthorizationRequest, AuthorizationError> {
    let parameters = Parameters::parse_keeping_repeats(query.as_bytes(), 20).expect("parameters");
    let redirect = VerifiedRedirect::verify(client, parameters.get("redirect_uri"))?;
    AuthorizationRequest::check(
        &parameters,
        ClientId(Uuid::nil()),
        client,
        redirect,
        &Settings::with(&[]).expect("settings"),
    )
}

/// The error code that goes to the client.
fn error(client: &ClientMetadata, query: &str) -> &'static str {
    match check(client, query) {
        Err(AuthorizationError::Redirect { error, .. }) => error.code().as_str(),
        other => panic!("{query}: {other:?}"),
    }
}

#[test]
fn a_request_survives_the_way_through_the_browser() {
    let query = format!(
        "response_type=code&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=b+a&state=%22x%26&code_challenge={CHALLENGE}\
         &code_challenge_method=S256&prompt=consent+login"
    );
    let request = check(&confidential(), &query).expect("a request");
    assert_eq!(check(&confidential(), &request.to_query()).expect("the same"), request);
    assert_eq!(request.redirect.state(), Some("\"x&"));
    assert!(request.prompt.consent && request.prompt.login && !request.prompt.none);
}

#[test]
fn each_wrong_parameter_has_its_error() {
    for (query, code) in [
        ("", "invalid_request"),
        ("response_type=magic", "unsupported_response_type"),
        ("response_type=code+code", "unsupported_response_type"),
        ("response_type=token+code", "unauthorized_client"),
        ("response_type=id_token", "unauthorized_client"),
        ("response_type=token", "unauthorized_client"),
        ("response_type=code&scope=a+c", "invalid_scope"),
        ("response_type=code&scope=%22", "invalid_scope"),
        ("response_type=code&scope=a&scope=b", "invalid_request"),
        ("response_type=code&response_mode=jwt", "invalid_request"),
        ("response_type=code&max_age=-1", "invalid_request"),
        ("response_type=code&resource=x", "invalid_target"),
        ("response_type=code&prompt=none+login", "invalid_request"),
        ("response_type=code&code_challenge_method=S256", "invalid_request"),
        (&format!("response_type=code&code_challenge={CHALLENGE}"), "invalid_request"),
        (&format!("response_type=code&code_challenge={CHALLENGE}&code_challenge_method=plain"), "invalid_request"),
        ("response_type=code&code_challenge=short&code_challenge_method=S256", "invalid_request"),
        (&format!("response_type=code&state={}", "x".repeat(STATE_BYTES_MAX + 1)), "invalid_request"),
    ] {
        assert_eq!(error(&confidential(), query), code, "{query}");
    }
}

#[test]
fn a_public_client_must_send_a_challenge() {
    let public = client(TokenEndpointAuthMethod::None);
    assert_eq!(error(&public, "response_type=code"), "invalid_request");
    let query = format!("response_type=code&code_challenge={CHALLENGE}&code_challenge_method=S256");
    assert!(check(&public, &query).is_ok());
}

#[test]
fn without_scope_it_is_all_that_was_registered() {
    assert_eq!(check(&confidential(), "response_type=code").expect("a request").scope.to_string(), "a b");
}

#[test]
fn words_of_an_openid_request_that_nobody_knows_are_ignored() {
    let openid = ClientMetadata { scope: Scope::parse("openid a").expect("a scope"), ..confidential() };
    let request = check(&openid, "response_type=code&scope=openid+a+groups").expect("a request");
    assert_eq!(request.scope.to_string(), "a openid");
    assert_eq!(check(&openid, &request.to_query()).expect("the same"), request);
    for scope in ["openid+email", "a+groups", "groups", "openid+%22"] {
        assert_eq!(error(&openid, &format!("response_type=code&scope={scope}")), "invalid_scope", "{scope}");
    }
}

#[test]
fn a_code_may_come_in_every_way() {
    for mode in ["query", "fragment", "form_post"] {
        let query = format!("response_type=code&response_mode={mode}");
        let request = check(&confidential(), &query).expect("a request");
        assert_eq!(request.redirect.asked_mode().map(ResponseMode::as_str), Some(mode));
        assert_eq!(check(&confidential(), &request.to_query()).expect("the same"), request);
    }
}

#[test]
fn a_nonce_survives_the_way_through_the_browser_only_with_openid() {
    let openid = ClientMetadata { scope: Scope::parse("openid a").expect("a scope"), ..confidential() };
    let request = check(&openid, "response_type=code&scope=openid&nonce=n&max_age=5").expect("a request");
    assert_eq!((request.openid.nonce.as_deref(), request.openid.max_age), (Some("n"), Some(5)));
    assert_eq!(check(&openid, &request.to_query()).expect("the same"), request);
    assert_eq!(check(&openid, "response_type=code&scope=a&nonce=n").expect("a request").openid.nonce, None);
}

#[test]
fn offline_access_is_ignored_where_nothing_can_be_refreshed() {
    let scope = Scope::parse("openid offline_access").expect("a scope");
    let code = ClientMetadata { scope, ..confidential() };
    let refreshing =
        ClientMetadata { grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken], ..code.clone() };
    let all = ClientMetadata {
        response_types: vec![ResponseType::Code, ResponseType::IdTokenToken],
        grant_types: vec![GrantType::AuthorizationCode, GrantType::Implicit, GrantType::RefreshToken],
        ..code.clone()
    };
    for (client, response_type, given) in
        [(&code, "code", "openid"), (&refreshing, "code", "offline_access openid"), (&all, "id_token+token", "openid")]
    {
        let query = format!("response_type={response_type}&nonce=n&scope=openid+offline_access");
        assert_eq!(check(client, &query).expect("a request").scope.to_string(), given, "{response_type}");
    }
}

#[test]
fn claims_survive_the_way_through_the_browser_only_with_openid() {
    let openid = ClientMetadata { scope: Scope::parse("openid a").expect("a scope"), ..confidential() };
    let claims = "claims=%7B%22userinfo%22%3A%7B%22email%22%3Anull%7D%7D";
    let request = check(&openid, &format!("response_type=code&scope=openid&{claims}")).expect("a request");
    assert_eq!(request.openid.claims.beyond(&request.scope), ["email"]);
    assert_eq!(check(&openid, &request.to_query()).expect("the same"), request);
    let plain = check(&openid, &format!("response_type=code&scope=a&{claims}")).expect("a request");
    assert!(plain.openid.claims.beyond(&plain.scope).is_empty());
    assert_eq!(error(&openid, "response_type=code&scope=openid&claims=x"), "invalid_request");
}
