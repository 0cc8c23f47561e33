//! Token revocation: RFC 7009.

use crate::harness::{
    Server, Tokens,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    an_access_token_ends_itself_only,
    a_refresh_token_ends_everything_of_its_grant,
    an_unknown_token_is_not_an_error,
    revoking_twice_is_not_an_error,
    anothers_token_stays_as_it_is,
    a_refresh_token_that_was_replaced_ends_its_grant_too,
    a_wrong_hint_changes_nothing,
    a_missing_token_is_invalid_request,
    a_client_must_authenticate,
    a_public_client_revokes_its_own_tokens,
    only_post_is_taken,
]];

async fn an_access_token_ends_itself_only(server: Server) {
    // RFC 7009 2: "the authorization server MAY revoke the respective refresh token as well"; here it does not.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    server.revoke_as(&client, &tokens.access).await.expect(200);
    assert!(!server.is_active(&client, &tokens.access).await);
    server.get("/api/me").bearer(&tokens.access).send().await.expect(401);
    server.refresh(&client, &tokens.refresh).await.expect(200);
}

async fn a_refresh_token_ends_everything_of_its_grant(server: Server) {
    // RFC 7009 2.1: "SHOULD also invalidate all access tokens based on the same authorization grant".
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let other = server.tokens(&client, &user).await;
    server.revoke_as(&client, &tokens.refresh).await.expect(200);
    assert!(!server.is_active(&client, &tokens.access).await);
    assert!(!server.is_active(&client, &tokens.refresh).await);
    server.get("/api/me").bearer(&tokens.access).send().await.expect(401);
    server.refresh(&client, &tokens.refresh).await.expect_error(400, "invalid_grant");
    assert!(server.is_active(&client, &other.access).await, "another grant of the same user and client ended too");
}

async fn an_unknown_token_is_not_an_error(server: Server) {
    // RFC 7009 2.2: "invalid tokens do not cause an error response".
    let client = server.web_client().await;
    for token in ["unknown", "gla_", "glr_AAAA", "ü", "a b", "' OR 1=1 --", &"x".repeat(20_000)] {
        let answer = server.revoke_as(&client, token).await.expect(200).expect_no_store();
        // simple-oauth2 and @fastify/oauth2 read it as JSON.
        assert_eq!((answer.header("content-type"), answer.json()), (Some("application/json"), serde_json::json!({})));
    }
}

async fn revoking_twice_is_not_an_error(server: Server) {
    // RFC 7009 2.2.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    for token in [&tokens.access, &tokens.access, &tokens.refresh, &tokens.refresh] {
        server.revoke_as(&client, token).await.expect(200);
    }
}

async fn anothers_token_stays_as_it_is(server: Server) {
    // RFC 7009 2.1: "verifies … whether the token was issued to the client making the revocation request. If this
    // validation fails, the request is refused and the client is informed of the error".
    let (user, client, other) = (server.user().await, server.web_client().await, server.web_client().await);
    let public = server.public_client().await;
    let tokens = server.tokens(&client, &user).await;
    for stranger in [&other, &public] {
        for token in [&tokens.access, &tokens.refresh] {
            server.revoke_as(stranger, token).await.expect_error(400, "invalid_grant");
        }
    }
    assert!(server.is_active(&client, &tokens.access).await);
    server.refresh(&client, &tokens.refresh).await.expect(200);
}

async fn a_refresh_token_that_was_replaced_ends_its_grant_too(server: Server) {
    // RFC 7009 2.1: the client may ask while its refresh is on the way, or has lost the answer of one.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let newer = Tokens::of(server.refresh(&client, &tokens.refresh).await.expect(200));
    server.revoke_as(&client, &tokens.refresh).await.expect(200);
    for token in [&tokens.access, &newer.access, &newer.refresh] {
        assert!(!server.is_active(&client, token).await);
    }
    server.refresh(&client, &newer.refresh).await.expect_error(400, "invalid_grant");
}

async fn a_wrong_hint_changes_nothing(server: Server) {
    // RFC 7009 2.1: "it MUST extend its search across all of its supported token types".
    let (user, client) = (server.user().await, server.web_client().await);
    for hint in ["refresh_token", "access_token", "unknown_kind"] {
        let tokens = server.tokens(&client, &user).await;
        let form = [("token", tokens.access.as_str()), ("token_type_hint", hint)];
        server.post_as(&client, "/oauth/revoke", &form).send().await.expect(200);
        assert!(!server.is_active(&client, &tokens.access).await, "{hint}");
    }
}

async fn a_missing_token_is_invalid_request(server: Server) {
    // RFC 7009 2.1: token is "REQUIRED".
    let client = server.web_client().await;
    server.post_as(&client, "/oauth/revoke", &[]).send().await.expect_error(400, "invalid_request");
}

async fn a_client_must_authenticate(server: Server) {
    // RFC 7009 2.1: "first validates the client credentials".
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let form = [("token", tokens.access.as_str())];
    server.post("/oauth/revoke").form(&form).send().await.expect_invalid_client();
    let wrong = server.post("/oauth/revoke").basic(&client.id, "wrong").form(&form);
    wrong.send().await.expect_error(401, "invalid_client");
    let named = [("token", tokens.access.as_str()), ("client_id", &client.id)];
    server.post("/oauth/revoke").form(&named).send().await.expect_invalid_client();
    assert!(server.is_active(&client, &tokens.access).await);
}

async fn a_public_client_revokes_its_own_tokens(server: Server) {
    // RFC 7009 2.1 and 5.
    let (user, client, watcher) = (server.user().await, server.public_client().await, server.api_client().await);
    let tokens = server.tokens(&client, &user).await;
    assert!(server.is_active(&watcher, &tokens.access).await);
    server.revoke_as(&client, &tokens.refresh).await.expect(200);
    assert!(!server.is_active(&watcher, &tokens.access).await);
}

async fn only_post_is_taken(server: Server) {
    // RFC 7009 2.1.
    server.get("/oauth/revoke?token=x").send().await.expect(405);
}
