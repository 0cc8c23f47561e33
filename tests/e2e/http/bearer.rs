//! Bearer tokens: RFC 6750.

use crate::harness::{
    Server, Store,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_token_in_the_header_is_taken,
        the_scheme_is_case_insensitive,
        a_request_without_a_token_is_challenged_without_an_error,
        a_token_that_is_none_is_invalid_token,
        a_token_in_the_query_is_never_read,
        a_token_in_the_body_is_not_read_by_default,
        another_scheme_is_challenged,
        a_refresh_token_is_no_access_token,
        what_a_token_opens_is_not_stored,
    ],
    own![a_token_in_the_body_is_read_where_the_setting_allows_it, an_expired_token_is_invalid_token,],
];

async fn token(server: &Server) -> String {
    let (user, client) = (server.user().await, server.password_client().await);
    server.password_tokens(&client, &user).await.access
}

async fn a_token_in_the_header_is_taken(server: Server) {
    // RFC 6750 2.1.
    let token = token(&server).await;
    server.get("/api/me").bearer(&token).send().await.expect(200);
}

async fn the_scheme_is_case_insensitive(server: Server) {
    // RFC 7235 2.1.
    let token = token(&server).await;
    server.get("/api/me").header("authorization", &format!("bEARER {token}")).send().await.expect(200);
}

async fn a_request_without_a_token_is_challenged_without_an_error(server: Server) {
    // RFC 6750 3.1: "SHOULD NOT include an error code or other error information".
    for path in ["/api/me", "/oauth/userinfo"] {
        let answer = server.get(path).send().await.expect(401);
        let challenge = answer.header("www-authenticate").expect("RFC 6750 3: MUST include WWW-Authenticate");
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        assert!(!challenge.contains("error"), "{challenge}");
    }
}

async fn a_token_that_is_none_is_invalid_token(server: Server) {
    // RFC 6750 3.1.
    let token = token(&server).await;
    let cut = &token[..token.len() - 1];
    let changed = format!("{cut}{}", if token.ends_with('A') { 'B' } else { 'A' });
    for wrong in ["unknown", "gla_", "gla_AAAA", cut, &changed, &"x".repeat(5000)] {
        let answer = server.get("/api/me").bearer(wrong).send().await.expect(401);
        let challenge = answer.header("www-authenticate").expect("RFC 6750 3: MUST include WWW-Authenticate");
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
    }
    for header in ["Bearer", "Bearer ", "Bearer a b", "Bearer \"x\""] {
        let answer = server.get("/api/me").header("authorization", header).send().await;
        assert!(matches!(answer.status, 400 | 401), "{header}: {answer}");
        assert!(answer.header("www-authenticate").is_some(), "{header}: {answer}");
    }
}

async fn a_token_in_the_query_is_never_read(server: Server) {
    // RFC 6750 2.3: "SHOULD NOT be used"; URLs are logged.
    let token = token(&server).await;
    server.get(&format!("/api/me?access_token={token}")).send().await.expect(401);
    server.get(&format!("/oauth/userinfo?access_token={token}")).send().await.expect(401);
}

async fn a_token_in_the_body_is_not_read_by_default(server: Server) {
    // RFC 6750 2.2: "SHOULD NOT be used except in application contexts where participating browsers do not have
    // access to the "Authorization" request header field".
    let token = token(&server).await;
    let answer = server.post("/oauth/userinfo").form(&[("access_token", &token)]).send().await;
    assert!(matches!(answer.status, 401 | 405), "{answer}");
}

async fn another_scheme_is_challenged(server: Server) {
    // RFC 6750 3.
    let client = server.service_client().await;
    let answer = server.get("/api/me").basic(&client.id, &client.secret).send().await.expect(401);
    assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")), "{answer}");
}

async fn a_refresh_token_is_no_access_token(server: Server) {
    // RFC 6749 1.5: refresh tokens "are never sent to resource servers".
    let (user, client) = (server.user().await, server.password_client().await);
    let tokens = server.password_tokens(&client, &user).await;
    server.get("/api/me").bearer(&tokens.refresh).send().await.expect(401);
    server.get("/api/me").bearer(&client.secret).send().await.expect(401);
}

async fn what_a_token_opens_is_not_stored(server: Server) {
    // RFC 6750 2.3 and 5.2: no shared cache keeps what one person may see.
    let token = token(&server).await;
    let answer = server.get("/api/me").bearer(&token).send().await.expect(200);
    let cache = answer.header("cache-control").unwrap_or_default();
    assert!(cache.contains("no-store") || cache.contains("private"), "{answer}");
}

async fn a_token_in_the_body_is_read_where_the_setting_allows_it(store: Store) {
    // RFC 6750 2.2, setting `oauth.bearer_in_body`.
    let server = Server::start(store, &[("OAUTH_BEARER_IN_BODY", "true")]).await;
    let token = token(&server).await;
    server.post("/oauth/userinfo").form(&[("access_token", &token)]).send().await.expect(200);
    // RFC 6750 2: "Clients MUST NOT use more than one method to transmit the token in each request."
    let both = server.post("/oauth/userinfo").bearer(&token).form(&[("access_token", &token)]).send().await.expect(400);
    assert!(both.header("www-authenticate").is_some_and(|challenge| challenge.contains("invalid_request")), "{both}");
    // Still never in the query.
    server.get(&format!("/oauth/userinfo?access_token={token}")).send().await.expect(401);
}

async fn an_expired_token_is_invalid_token(store: Store) {
    // RFC 6750 3.1; RFC 7662 2.2.
    let server = Server::start(store, &[("OAUTH_ACCESS_TOKEN_LIFETIME_SECONDS", "10")]).await;
    let client = server.service_client().await;
    let token = server.service_token(&client).await;
    assert!(server.is_active(&client, &token).await);
    crate::harness::poll::until("the token's ten seconds are over", async || {
        (!server.is_active(&client, &token).await).then_some(())
    })
    .await;
    let answer = server.get("/api/me").bearer(&token).send().await.expect(401);
    assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.contains("invalid_token")), "{answer}");
}
