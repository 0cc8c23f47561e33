//! The flows as a program in Rust does them with the `oauth2` crate, which knows nothing of this server.

use oauth2::{
    AccessToken, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse,
    IntrospectionUrl, PkceCodeChallenge, RedirectUrl, RefreshToken, ResourceOwnerPassword, ResourceOwnerUsername,
    RevocationUrl, Scope, TokenIntrospectionResponse, TokenResponse, TokenUrl,
    basic::{BasicClient, BasicErrorResponseType, BasicRequestTokenError},
};

use crate::harness::{
    CALLBACK, Client, Server,
    browser::query_of,
    http::{self, Request},
    secrets,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    code_with_pkce_refresh_introspection_and_revocation,
    client_credentials,
    resource_owner_password,
    an_error_is_understood,
]];

/// The crate's configured client: all endpoints set.
macro_rules! library {
    ($server:expr, $client:expr) => {
        BasicClient::new(ClientId::new($client.id.clone()))
            .set_client_secret(ClientSecret::new($client.secret.clone()))
            .set_auth_uri(AuthUrl::new($server.url("/oauth/authorize")).unwrap())
            .set_token_uri(TokenUrl::new($server.url("/oauth/token")).unwrap())
            .set_introspection_url(IntrospectionUrl::new($server.url("/oauth/introspect")).unwrap())
            .set_revocation_url(RevocationUrl::new($server.url("/oauth/revoke").replace("http:", "https:")).unwrap())
            .set_redirect_uri(RedirectUrl::new(CALLBACK.to_owned()).unwrap())
    };
}

/// Carries the crate's requests (and those of `openidconnect`) over our HTTP client, which registers what is secret in the answers.
///
/// The crate insists on https for revocation, also on the loopback address; here it speaks plain http after all.
pub async fn send(request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let (parts, body) = request.into_parts();
    let mut sent = Request::new(&http::client(), parts.method, parts.uri.to_string().replacen("https:", "http:", 1));
    for (name, value) in &parts.headers {
        if name != "content-type" {
            sent = sent.header(name.as_str(), value.to_str().expect("ASCII"));
        }
    }
    let content_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sent = if body.is_empty() { sent } else { sent.body(content_type, body) };
    let answer = sent.try_send().await?;
    let mut response = HttpResponse::new(answer.body);
    *response.status_mut() = answer.status.try_into().expect("a status");
    *response.headers_mut() = answer.headers;
    Ok(response)
}

async fn code_with_pkce_refresh_introspection_and_revocation(server: Server) {
    // RFC 6749 4.1 and 6, RFC 7636, RFC 7662, RFC 7009.
    let (user, client): (_, Client) = (server.user().await, server.web_client().await);
    let library = library!(server, client);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    secrets::register(verifier.secret());
    let (url, state) = library
        .authorize_url(CsrfToken::new_random)
        .add_scope(Scope::new("profile".into()))
        .set_pkce_challenge(challenge)
        .url();
    let callback = crate::harness::Browser::new(&server).authorize(url.as_str(), &user).await.callback();
    let query = query_of(&callback);
    assert_eq!(&query["state"], state.secret());

    let code = AuthorizationCode::new(query["code"].clone());
    let tokens = library.exchange_code(code).set_pkce_verifier(verifier).request_async(&send).await.expect("tokens");
    assert!(tokens.expires_in().is_some_and(|life| !life.is_zero()));

    let refresh = RefreshToken::new(tokens.refresh_token().expect("a refresh token").secret().clone());
    let next = library.exchange_refresh_token(&refresh).request_async(&send).await.expect("new tokens");
    let access = AccessToken::new(next.access_token().secret().clone());
    let described = library.introspect(&access).request_async(&send).await.expect("a description");
    assert!(described.active());
    assert_eq!(described.username(), Some(user.username.as_str()));

    library.revoke_token(access.clone().into()).unwrap().request_async(&send).await.expect("a revocation");
    assert!(!library.introspect(&access).request_async(&send).await.expect("an answer").active());
    let refresh = RefreshToken::new(next.refresh_token().expect("a refresh token").secret().clone());
    library.revoke_token(refresh.clone().into()).unwrap().request_async(&send).await.expect("a revocation");
    library.exchange_refresh_token(&refresh).request_async(&send).await.expect_err("a grant that has ended");
}

async fn client_credentials(server: Server) {
    // RFC 6749 4.4.
    let client = server.service_client().await;
    let tokens = library!(server, client)
        .exchange_client_credentials()
        .add_scope(Scope::new("read".into()))
        .request_async(&send)
        .await
        .expect("a token");
    assert!(server.is_active(&client, tokens.access_token().secret()).await);
}

async fn resource_owner_password(server: Server) {
    // RFC 6749 4.3.
    let (user, client) = (server.user().await, server.password_client().await);
    let name = ResourceOwnerUsername::new(user.username.clone());
    let password = ResourceOwnerPassword::new(user.password.clone());
    let tokens = library!(server, client)
        .exchange_password(&name, &password)
        .add_scope(Scope::new("profile".into()))
        .request_async(&send)
        .await
        .expect("tokens");
    server.get("/api/me").bearer(tokens.access_token().secret()).send().await.expect(200);
}

async fn an_error_is_understood(server: Server) {
    // RFC 6749 5.2: the crate reads the error as the kind that it is.
    let client = server.web_client().await;
    let code = AuthorizationCode::new("unknown".into());
    match library!(server, client).exchange_code(code).request_async(&send).await {
        Err(BasicRequestTokenError::ServerResponse(response)) => {
            assert_eq!(response.error(), &BasicErrorResponseType::InvalidGrant);
        }
        other => panic!("{other:?}"),
    }
}
