//! Codes, refresh tokens and PKCE with ID tokens beside them: OpenID Connect Core 3.1.3, 3.3.3, 12.

use serde_json::json;

use super::rp::{Rp, until_after};
use crate::harness::{
    Browser, CALLBACK, Pkce, Server, Store,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        oidcc_codereuse,
        oidcc_codereuse_30seconds,
        oidcc_refresh_token,
        oidcc_ensure_request_with_valid_pkce_succeeds,
        a_token_beside_the_code_ends_with_the_grant,
    ],
    own![a_code_that_has_expired_since_it_was_redeemed_is_a_replay],
];

async fn oidcc_codereuse(server: Server) {
    // RFC 6749 4.1.2, in every flow with a code.
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for rp in Rp::of_every_plan_with_codes(&server).await {
        let response_type = rp.response_type;
        let login = rp.login(&mut browser, &user, &[]).await;
        let form =
            [("grant_type", "authorization_code"), ("code", &*login.response["code"]), ("redirect_uri", CALLBACK)];
        server.token_as(&rp.client, &form).await.expect_error(400, "invalid_grant");
        for token in
            [login.access_token(), login.response.get("access_token").map(String::as_str)].into_iter().flatten()
        {
            assert!(
                !server.is_active(&rp.client, token).await,
                "a token of a replayed code is active: {response_type}"
            );
        }
    }
}

async fn oidcc_codereuse_30seconds(server: Server) {
    // The same some time later, while the code would still be good: a second here instead of 30.
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    let login = rp.login(&mut Browser::new(&server), &user, &[]).await;
    until_after(login.claims["iat"].as_i64().expect("iat"), 1).await;
    let form = [("grant_type", "authorization_code"), ("code", &*login.response["code"]), ("redirect_uri", CALLBACK)];
    server.token_as(&rp.client, &form).await.expect_error(400, "invalid_grant");
    assert!(!server.is_active(&rp.client, login.access_token().expect("a token")).await);
    let refresh_token = login.tokens["refresh_token"].as_str().expect("a refresh token");
    server.refresh(&rp.client, refresh_token).await.expect_error(400, "invalid_grant");
}

async fn a_code_that_has_expired_since_it_was_redeemed_is_a_replay(store: Store) {
    // RFC 6749 4.1.2.
    let server = Server::start(store, &[("OAUTH_CODE_LIFETIME_SECONDS", "2")]).await;
    let (user, rp) = (server.user().await, Rp::new(&server, "code").await);
    let login = rp.login(&mut Browser::new(&server), &user, &[]).await;
    until_after(login.claims["iat"].as_i64().expect("iat"), 3).await;
    let form = [("grant_type", "authorization_code"), ("code", &*login.response["code"]), ("redirect_uri", CALLBACK)];
    server.token_as(&rp.client, &form).await.expect_error(400, "invalid_grant");
    assert!(!server.is_active(&rp.client, login.access_token().expect("a token")).await);
}

async fn oidcc_refresh_token(server: Server) {
    // 12.2: same iss, sub and aud, the old auth_time, no nonce; and bound to the client.
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    let other = Rp::with(&server, "code id_token token", &["--response-type", "code"]).await;
    let mut runs = Rp::of_every_plan_with_codes(&server).await;
    // The plan `dynamic`.
    runs.push(Rp::registered(&server, "code", json!({})).await);
    for rp in runs {
        let login = rp.login(&mut browser, &user, &[]).await;
        let refresh_token = login.tokens["refresh_token"].as_str().expect("a refresh token");
        server.refresh(&other.client, refresh_token).await.expect_error(400, "invalid_grant");
        let refreshed = server.refresh(&rp.client, refresh_token).await.expect(200).json();
        let claims = rp.validated(refreshed["id_token"].as_str().expect("an ID token")).await;
        for claim in ["iss", "sub", "aud", "azp", "auth_time", "sid"] {
            assert_eq!(claims[claim], login.claims[claim], "{claim}");
        }
        assert!(claims.get("nonce").is_none(), "{claims}");
    }
}

async fn oidcc_ensure_request_with_valid_pkce_succeeds(server: Server) {
    // RFC 7636, also in the hybrid flow.
    let (user, mut browser) = (server.user().await, Browser::new(&server));
    for rp in Rp::of_every_plan_with_codes(&server).await {
        let pkce = Pkce::new();
        let more = [("code_challenge", pkce.challenge.as_str()), ("code_challenge_method", "S256")];
        let response = rp.authorize(&mut browser, &user, &more).await;
        let without = [("grant_type", "authorization_code"), ("code", &*response["code"]), ("redirect_uri", CALLBACK)];
        server.token_as(&rp.client, &without).await.expect_error(400, "invalid_grant");
        server.redeem(&rp.client, &response["code"], &pkce).await.expect(200);
    }
}

async fn a_token_beside_the_code_ends_with_the_grant(server: Server) {
    // 3.3: it is of the same grant; it stands before the code is redeemed, and can be revoked by itself (RFC 7009).
    let (user, rp) = (server.user().await, Rp::new(&server, "code token").await);
    let response = rp.authorize(&mut Browser::new(&server), &user, &[]).await;
    let beside = &response["access_token"];
    assert!(server.is_active(&rp.client, beside).await);
    rp.userinfo(beside).await;
    let tokens = rp.redeem(&response["code"]).await;
    assert!(server.is_active(&rp.client, beside).await);
    server.revoke_as(&rp.client, beside).await.expect(200);
    assert!(!server.is_active(&rp.client, beside).await);
    assert!(server.is_active(&rp.client, tokens["access_token"].as_str().expect("a token")).await);
}
