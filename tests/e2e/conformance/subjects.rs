//! Subject identifiers: OpenID Connect Core 8.

use super::dynamic::document;
use super::rp::{RESPONSE_TYPES, Rp, SIGNED_OUT};
use crate::harness::{
    Browser, CALLBACK, Pkce, Server, Store, User,
    browser::query_of,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_pairwise_subject_is_the_same_everywhere_for_one_client,
        a_pairwise_hint_is_taken,
        who_cannot_own_a_host_shares_no_subject_with_it,
        an_introspection_does_not_undo_a_pairwise_subject,
    ],
    own![a_sector_shares_its_subjects_and_nobody_else],
];

const PAIRWISE: [&str; 2] = ["--subject-type", "pairwise"];

async fn a_pairwise_subject_is_the_same_everywhere_for_one_client(server: Server) {
    // 8: in ID tokens of both channels, UserInfo, and after a refresh; and it is not the user's own.
    let user = server.user().await;
    let public = Rp::new(&server, "code").await.login(&mut Browser::new(&server), &user, &[]).await;
    for response_type in RESPONSE_TYPES {
        let rp = Rp::with(&server, response_type, &PAIRWISE).await;
        let login = rp.login(&mut Browser::new(&server), &user, &[]).await;
        assert_ne!(login.claims["sub"], public.claims["sub"]);
        assert!(!login.claims.to_string().contains(public.claims["sub"].as_str().expect("a sub")), "{}", login.claims);
        if let Some(token) = login.access_token() {
            assert_eq!(rp.userinfo(token).await["sub"], login.claims["sub"]);
        }
        if let Some(refresh_token) = login.tokens["refresh_token"].as_str() {
            let again = server.refresh(&rp.client, refresh_token).await.expect(200).json();
            let claims = rp.validated(again["id_token"].as_str().expect("an ID token")).await;
            assert_eq!(claims["sub"], login.claims["sub"]);
        }
    }
    let configuration = server.get("/.well-known/openid-configuration").send().await.expect(200).json();
    assert_eq!(configuration["subject_types_supported"], serde_json::json!(["public", "pairwise"]));
}

async fn a_sector_shares_its_subjects_and_nobody_else(store: Store) {
    // 8.1: the host of the redirect URIs, or of sector_identifier_uri.
    let server = Server::start(store, &[("REMOTE_ALLOW_PRIVATE", "true")]).await;
    let (ann, ben) = (server.user().await, server.user().await);
    let other = "https://other.example/callback";
    let sector = document(serde_json::json!([CALLBACK, other]).to_string()).await;
    let sub = async |user, more: &[&str]| {
        let rp = Rp::with(&server, "code", &[&PAIRWISE[..], more].concat()).await;
        rp.login(&mut Browser::new(&server), user, &[]).await.claims["sub"].clone()
    };
    let here = sub(&ann, &[]).await;
    assert_eq!(here, sub(&ann, &[]).await);
    let there = sub(&ann, &["--sector-identifier-uri", &sector]).await;
    assert_ne!(here, there);
    assert_eq!(there, sub(&ann, &["--sector-identifier-uri", &sector, "--redirect-uri", other]).await);
    assert_ne!(here, sub(&ben, &[]).await);
}

/// The subject that a native client hears which gets its answers there.
async fn native_subject(server: &Server, user: &User, redirect_uri: &str) -> String {
    let arguments = ["--application-type", "native", "--auth-method", "none", "--redirect-uri", redirect_uri];
    let more = ["--grant-type", "authorization_code", "--response-type", "code", "--scope", "openid"];
    let client = server.client(&[&arguments[..], &more, &PAIRWISE].concat()).await;
    let pkce = Pkce::new();
    let request = [
        ("response_type", "code"),
        ("client_id", &*client.id),
        ("redirect_uri", redirect_uri),
        ("scope", "openid"),
        ("code_challenge", &pkce.challenge),
        ("code_challenge_method", "S256"),
    ];
    let code = query_of(&server.authorized(user, &request).await)["code"].clone();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", &pkce.verifier),
    ];
    let tokens = server.token_as(&client, &form).await.expect(200).json();
    let token = tokens["access_token"].as_str().expect("a token");
    let claims = server.get("/oauth/userinfo").bearer(token).send().await.expect(200).json();
    claims["sub"].as_str().expect("a sub").to_owned()
}

async fn who_cannot_own_a_host_shares_no_subject_with_it(server: Server) {
    // 8.1: a sector is a host; a private-use scheme (RFC 8252 7.1) and a loopback address are nobody's.
    let user = server.user().await;
    let victim = Rp::with(&server, "code", &PAIRWISE).await.login(&mut Browser::new(&server), &user, &[]).await;
    let behind_scheme = CALLBACK.replace("https:", "com.evil.app:");
    let mut subjects = vec![victim.claims["sub"].as_str().expect("a sub").to_owned()];
    for uri in [&*behind_scheme, "http://127.0.0.1/cb", "http://127.0.0.1/cb"] {
        subjects.push(native_subject(&server, &user, uri).await);
    }
    let different: std::collections::BTreeSet<_> = subjects.iter().collect();
    assert_eq!(different.len(), subjects.len(), "{subjects:?}");
}

async fn a_pairwise_hint_is_taken(server: Server) {
    // 3.1.2.1 and RP-Initiated Logout 2.
    let (ann, ben) = (server.user().await, server.user().await);
    let rp = Rp::with(&server, "code", &PAIRWISE).await;
    let mut browser = Browser::new(&server);
    let login = rp.login(&mut browser, &ann, &[]).await;
    let hint = [("prompt", "none"), ("id_token_hint", login.id_token())];
    assert!(rp.response(&browser.open(&rp.url(&hint)).await).contains_key("code"));
    let mut other = Browser::new(&server);
    rp.login(&mut other, &ben, &[]).await;
    assert_eq!(rp.response(&other.open(&rp.url(&hint)).await)["error"], "login_required");
    let logout = format!("/oauth/logout?id_token_hint={}&post_logout_redirect_uri={SIGNED_OUT}", login.id_token());
    assert_eq!(browser.open(&logout).await.callback().as_str(), SIGNED_OUT);
}

async fn an_introspection_does_not_undo_a_pairwise_subject(server: Server) {
    // 8.1, RFC 7662 2.2 `sub`, `username`: an API hears the subject of the token's client, and no name unless it was shown.
    let (user, service) = (server.user().await, server.api_client().await);
    let rp = Rp::with(&server, "code", &PAIRWISE).await;
    let login = rp.login(&mut Browser::new(&server), &user, &[]).await;
    for client in [&rp.client, &service] {
        let said = server.introspect_as(client, login.access_token().expect("a token")).await;
        assert_eq!((&said["sub"], said.get("username")), (&login.claims["sub"], None));
    }
    let refresh = server.introspect_as(&rp.client, login.tokens["refresh_token"].as_str().expect("a token")).await;
    assert_eq!(refresh["sub"], login.claims["sub"]);
    let named = rp.login(&mut Browser::new(&server), &user, &[("scope", "openid profile")]).await;
    let said = server.introspect_as(&service, named.access_token().expect("a token")).await;
    assert_eq!(said["username"], user.username.as_str());
}
