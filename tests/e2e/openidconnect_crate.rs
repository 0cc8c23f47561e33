//! The flows as a relying party in Rust does them with the `openidconnect` crate, which knows nothing of this server: it
//! reads the configuration and the keys, and validates every ID token and UserInfo answer itself.

use std::str::FromStr;

use openidconnect::{
    AccessToken, AccessTokenHash, AuthenticationFlow, AuthorizationCode, AuthorizationCodeHash, ClientId, ClientSecret,
    CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, LogoutRequest, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl, RefreshToken, Scope,
    TokenResponse,
    core::{CoreClient, CoreIdToken, CoreIdTokenClaims, CoreResponseType, CoreTokenResponse, CoreUserInfoClaims},
};

use crate::conformance::rp::SIGNED_OUT;
use crate::harness::{
    Browser, CALLBACK, Client, Server, User,
    browser::{Page, fragment_of, query_of},
    secrets,
    suite::{Case, shared},
};
use crate::oauth2_crate::send;

pub const CASES: &[&[Case]] = &[shared![
    code_flow_with_refresh_userinfo_and_logout,
    implicit_flow,
    hybrid_flows,
    signed_userinfo_and_a_pairwise_subject,
]];

/// The crate's client as the configuration makes it.
type Library =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

struct Party {
    server: Server,
    library: Library,
    metadata: ProviderMetadataWithLogout,
}

/// What came back from the authorization endpoint, and what was sent there.
struct Response {
    values: std::collections::HashMap<String, String>,
    nonce: Nonce,
}

impl Party {
    async fn new(server: &Server, response_type: &str, more: &[&str]) -> Party {
        let mut arguments = vec!["--redirect-uri", CALLBACK, "--response-type", response_type];
        arguments.extend(["--scope", "openid profile email", "--post-logout-redirect-uri", SIGNED_OUT]);
        if response_type.contains("code") {
            arguments.extend(["--grant-type", "authorization_code", "--grant-type", "refresh_token"]);
        }
        if response_type != "code" {
            arguments.extend(["--grant-type", "implicit"]);
        }
        arguments.extend(more);
        let client: Client = server.client(&arguments).await;
        let issuer = IssuerUrl::new(server.base().to_owned()).expect("an issuer");
        let metadata = ProviderMetadataWithLogout::discover_async(issuer, &send).await.expect("a configuration");
        let (id, secret) = (ClientId::new(client.id.clone()), ClientSecret::new(client.secret.clone()));
        let library = CoreClient::from_provider_metadata(metadata.clone(), id, Some(secret))
            .set_redirect_uri(RedirectUrl::new(CALLBACK.to_owned()).expect("a URL"));
        Party { server: server.clone(), library, metadata }
    }

    /// What a willing user's browser brings back, in a redirect or in a form that it posts.
    async fn authorize(
        &self,
        browser: &mut Browser,
        user: &User,
        flow: AuthenticationFlow<CoreResponseType>,
        mode: Option<&str>,
        challenge: Option<PkceCodeChallenge>,
    ) -> Response {
        let mut request = self.library.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
        request = request.add_scope(Scope::new("profile".into()));
        if let Some(mode) = mode {
            request = request.add_extra_param("response_mode", mode);
        }
        if let Some(challenge) = challenge {
            request = request.set_pkce_challenge(challenge);
        }
        let (url, state, nonce) = request.url();
        let page: Page = browser.authorize(url.as_str(), user).await;
        let values = match page.form("form-post") {
            Some(form) => form.fields.into_iter().collect(),
            None => {
                let callback = page.callback();
                if callback.fragment().is_some() { fragment_of(&callback) } else { query_of(&callback) }
            }
        };
        assert_eq!(&values["state"], state.secret());
        Response { values, nonce }
    }

    /// The claims of an ID token that the crate believes, with the hashes of what came with it.
    fn claims(&self, text: &str, response: &Response, access_token: Option<&AccessToken>) -> CoreIdTokenClaims {
        let id_token = CoreIdToken::from_str(text).expect("an ID token");
        let verifier = self.library.id_token_verifier();
        let claims = id_token.claims(&verifier, &response.nonce).expect("a valid ID token").clone();
        let (alg, key) = (id_token.signing_alg().expect("signed"), id_token.signing_key(&verifier).expect("its key"));
        let at_hash = access_token.map(|token| AccessTokenHash::from_token(token, alg, key).expect("a hash"));
        assert_eq!(claims.access_token_hash(), at_hash.as_ref());
        if let Some(c_hash) = claims.code_hash() {
            let code = AuthorizationCode::new(response.values["code"].clone());
            assert_eq!(c_hash, &AuthorizationCodeHash::from_code(&code, alg, key).expect("a hash"));
        }
        claims
    }

    async fn userinfo(&self, token: &AccessToken, claims: &CoreIdTokenClaims) -> CoreUserInfoClaims {
        let request = self.library.user_info(token.clone(), Some(claims.subject().clone())).expect("an endpoint");
        request.request_async(&send).await.expect("UserInfo of the same subject")
    }

    /// A refresh (OpenID Connect Core 12); the new ID token says the same of the user. Gives it back.
    async fn refresh(&self, tokens: &CoreTokenResponse, claims: &CoreIdTokenClaims) -> String {
        let refresh = RefreshToken::new(tokens.refresh_token().expect("a refresh token").secret().clone());
        let refresh = self.library.exchange_refresh_token(&refresh).expect("an endpoint");
        let again = refresh.request_async(&send).await.expect("new tokens");
        let verifier = self.library.id_token_verifier();
        let id_token = again.id_token().expect("an ID token");
        let second = id_token.claims(&verifier, |_: Option<&Nonce>| Ok(())).expect("a valid ID token");
        assert_eq!((second.subject(), second.auth_time()), (claims.subject(), claims.auth_time()));
        self.userinfo(again.access_token(), claims).await;
        id_token.to_string()
    }

    async fn log_out(&self, browser: &mut Browser, id_token: &str) {
        let endpoint = self.metadata.additional_metadata().end_session_endpoint.clone().expect("an endpoint");
        let url = LogoutRequest::from(endpoint)
            .set_id_token_hint(&CoreIdToken::from_str(id_token).expect("an ID token"))
            .set_post_logout_redirect_uri(PostLogoutRedirectUrl::new(SIGNED_OUT.to_owned()).expect("a URL"))
            .set_state(CsrfToken::new("bye".into()))
            .http_get_url();
        assert_eq!(browser.open(url.as_str()).await.callback().as_str(), format!("{SIGNED_OUT}?state=bye"));
    }
}

async fn code_flow_with_refresh_userinfo_and_logout(server: Server) {
    // OpenID Connect Core 3.1, 5.3, 12; RFC 7636; RP-Initiated Logout 2.
    let user = server.user().await;
    for mode in [None, Some("form_post")] {
        for more in [&[][..], &["--access-token-format", "jwt"]] {
            let party = Party::new(&server, "code", more).await;
            let mut browser = Browser::new(&server);
            let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
            secrets::register(verifier.secret());
            let flow = AuthenticationFlow::AuthorizationCode;
            let response = party.authorize(&mut browser, &user, flow, mode, Some(challenge)).await;
            let code = AuthorizationCode::new(response.values["code"].clone());
            let exchange = party.library.exchange_code(code).expect("an endpoint").set_pkce_verifier(verifier);
            let tokens = exchange.request_async(&send).await.expect("tokens");
            let id_token = tokens.id_token().expect("an ID token").to_string();
            let claims = party.claims(&id_token, &response, Some(tokens.access_token()));
            let userinfo = party.userinfo(tokens.access_token(), &claims).await;
            let name = userinfo.preferred_username().map(|name| name.as_str());
            assert_eq!(name, Some(user.username.as_str()));

            let newest = party.refresh(&tokens, &claims).await;
            party.log_out(&mut browser, &newest).await;
            assert!(!browser.open("/account").await.answer.text().contains("logout"), "still signed in");
        }
    }
}

async fn implicit_flow(server: Server) {
    // OpenID Connect Core 3.2.
    let user = server.user().await;
    for (response_type, with_token) in [("id_token", false), ("id_token token", true)] {
        for mode in [None, Some("form_post")] {
            let party = Party::new(&server, response_type, &[]).await;
            let mut browser = Browser::new(&server);
            let flow = AuthenticationFlow::Implicit(with_token);
            let response = party.authorize(&mut browser, &user, flow, mode, None).await;
            let token = response.values.get("access_token").map(|token| AccessToken::new(token.clone()));
            let claims = party.claims(&response.values["id_token"], &response, token.as_ref());
            if let Some(token) = &token {
                party.userinfo(token, &claims).await;
            }
            assert_eq!(token.is_some(), with_token);
            party.log_out(&mut browser, &response.values["id_token"]).await;
        }
    }
}

async fn hybrid_flows(server: Server) {
    // OpenID Connect Core 3.3.
    use CoreResponseType::{Code, IdToken, Token};
    let user = server.user().await;
    for (response_type, words) in [
        ("code id_token", vec![Code, IdToken]),
        ("code token", vec![Code, Token]),
        ("code id_token token", vec![Code, IdToken, Token]),
    ] {
        for mode in [None, Some("form_post")] {
            let party = Party::new(&server, response_type, &[]).await;
            let (flow, mut browser) = (AuthenticationFlow::Hybrid(words.clone()), Browser::new(&server));
            let response = party.authorize(&mut browser, &user, flow, mode, None).await;
            let front = response.values.get("access_token").map(|token| AccessToken::new(token.clone()));
            let first = response.values.get("id_token").map(|text| party.claims(text, &response, front.as_ref()));
            let code = AuthorizationCode::new(response.values["code"].clone());
            let exchange = party.library.exchange_code(code).expect("an endpoint");
            let tokens = exchange.request_async(&send).await.expect("tokens");
            let id_token = tokens.id_token().expect("an ID token").to_string();
            let claims = party.claims(&id_token, &response, Some(tokens.access_token()));
            assert!(first.is_none_or(|first| first.subject() == claims.subject()));
            for token in front.iter().chain([tokens.access_token()]) {
                party.userinfo(token, &claims).await;
            }
            let newest = party.refresh(&tokens, &claims).await;
            party.log_out(&mut browser, &newest).await;
        }
    }
}

async fn signed_userinfo_and_a_pairwise_subject(server: Server) {
    // OpenID Connect Core 5.3.2, 8.1: the crate checks the signature, `iss`, `aud` and that the subject is the same.
    let user = server.user().await;
    let more = ["--userinfo-alg", "RS256", "--subject-type", "pairwise"];
    let party = Party::new(&server, "code", &more).await;
    let flow = AuthenticationFlow::AuthorizationCode;
    let response = party.authorize(&mut Browser::new(&server), &user, flow, None, None).await;
    let code = AuthorizationCode::new(response.values["code"].clone());
    let exchange = party.library.exchange_code(code).expect("an endpoint");
    let tokens = exchange.request_async(&send).await.expect("tokens");
    let id_token = tokens.id_token().expect("an ID token").to_string();
    let claims = party.claims(&id_token, &response, Some(tokens.access_token()));
    let request = party.library.user_info(tokens.access_token().clone(), Some(claims.subject().clone()));
    let request = request.expect("an endpoint").require_signed_response(true);
    let userinfo: CoreUserInfoClaims = request.request_async(&send).await.expect("a signed answer");
    assert_eq!(userinfo.subject(), claims.subject());
    let said = party.server.introspect_as(&server.api_client().await, tokens.access_token().secret()).await;
    assert_eq!(said["sub"], claims.subject().as_str());
}
