//! Redeeming a code: RFC 6749 4.1.3, 4.1.4, 10.5; RFC 9700 4.5.

use std::time::{Duration, Instant};

use crate::harness::{
    CALLBACK, Pkce, Server, Store, Tokens, poll,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_code_gives_an_access_and_a_refresh_token,
        a_code_works_once,
        a_second_use_revokes_everything_that_the_first_one_gave,
        a_second_use_revokes_whatever_else_is_wrong_with_it,
        a_second_use_revokes_what_was_refreshed_from_it,
        a_code_of_another_client_is_refused_and_stays_usable,
        a_strangers_second_use_revokes_nothing,
        a_client_without_the_refresh_grant_gets_no_refresh_token,
        a_missing_code_is_invalid_request,
        a_code_that_is_none_is_invalid_grant,
        a_user_who_was_disabled_gets_no_tokens,
    ],
    own![a_code_expires],
];

async fn a_code_gives_an_access_and_a_refresh_token(server: Server) {
    // RFC 6749 4.1.4 and 5.1.
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    let answer = server.redeem(&client, &code, &pkce).await.expect(200).expect_no_store();
    let json = answer.json();
    assert!(json["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")), "{json}");
    assert!(json["expires_in"].as_i64().is_some_and(|seconds| seconds > 0), "{json}");
    let scope = json["scope"].as_str().unwrap_or("profile read");
    assert_eq!(scope, "profile read", "{json}");
    let tokens = Tokens::of(answer);
    assert_ne!(tokens.access, tokens.refresh);
    assert!(server.is_active(&client, &tokens.access).await);
}

async fn a_code_works_once(server: Server) {
    // RFC 6749 4.1.2: "The client MUST NOT use the authorization code more than once."
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    server.redeem(&client, &code, &pkce).await.expect(200);
    server.redeem(&client, &code, &pkce).await.expect_error(400, "invalid_grant");
    server.redeem(&client, &code, &pkce).await.expect_error(400, "invalid_grant");
}

async fn a_second_use_revokes_everything_that_the_first_one_gave(server: Server) {
    // RFC 6749 4.1.2: "SHOULD revoke (when possible) all tokens previously issued based on that authorization code".
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    let tokens = Tokens::of(server.redeem(&client, &code, &pkce).await);
    server.redeem(&client, &code, &pkce).await.expect_error(400, "invalid_grant");
    assert!(!server.is_active(&client, &tokens.access).await);
    server.get("/api/me").bearer(&tokens.access).send().await.expect(401);
    server.refresh(&client, &tokens.refresh).await.expect_error(400, "invalid_grant");
}

async fn a_second_use_revokes_whatever_else_is_wrong_with_it(server: Server) {
    // RFC 6749 4.1.2: who stole a code need not know the verifier or the redirect_uri that go with it.
    let (user, client) = (server.user().await, server.web_client().await);
    for (redirect_uri, verifier) in
        [(CALLBACK, "short"), (CALLBACK, ""), (CALLBACK, &"a".repeat(129)), ("https://evil.example/cb", "ü")]
    {
        let pkce = Pkce::new();
        let code = server.code(&client, &user, &pkce).await;
        let tokens = Tokens::of(server.redeem(&client, &code, &pkce).await);
        let replay = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        server.token_as(&client, &replay).await.expect_error(400, "invalid_grant");
        assert!(!server.is_active(&client, &tokens.access).await, "{replay:?}");
    }
}

async fn a_second_use_revokes_what_was_refreshed_from_it(server: Server) {
    // RFC 6749 4.1.2.
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    let first = Tokens::of(server.redeem(&client, &code, &pkce).await);
    let second = Tokens::of(server.refresh(&client, &first.refresh).await);
    server.redeem(&client, &code, &pkce).await.expect_error(400, "invalid_grant");
    assert!(!server.is_active(&client, &second.access).await);
    server.refresh(&client, &second.refresh).await.expect_error(400, "invalid_grant");
}

async fn a_code_of_another_client_is_refused_and_stays_usable(server: Server) {
    // RFC 6749 4.1.3: "ensure that the authorization code was issued to the authenticated confidential client".
    let (user, client, stranger) = (server.user().await, server.web_client().await, server.web_client().await);
    let pkce = Pkce::new();
    let code = server.code(&client, &user, &pkce).await;
    server.redeem(&stranger, &code, &pkce).await.expect_error(400, "invalid_grant");
    server.redeem(&client, &code, &pkce).await.expect(200);
}

async fn a_strangers_second_use_revokes_nothing(server: Server) {
    // RFC 9700 4.5: who saw a code in passing must not be able to end what its owner has.
    let (user, client, stranger) = (server.user().await, server.web_client().await, server.web_client().await);
    let pkce = Pkce::new();
    let code = server.code(&client, &user, &pkce).await;
    let tokens = Tokens::of(server.redeem(&client, &code, &pkce).await);
    server.redeem(&stranger, &code, &pkce).await.expect_error(400, "invalid_grant");
    assert!(server.is_active(&client, &tokens.access).await);
}

async fn a_client_without_the_refresh_grant_gets_no_refresh_token(server: Server) {
    // RFC 6749 1.5: issuing one is optional; a client that did not register for it could not use it.
    let code_only = ["--redirect-uri", CALLBACK, "--grant-type", "authorization_code", "--response-type", "code"];
    let client = server.client(&[&code_only[..], &["--scope", "profile read"]].concat()).await;
    let (user, pkce) = (server.user().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    let json = server.redeem(&client, &code, &pkce).await.expect(200).json();
    assert!(json.get("refresh_token").is_none(), "a refresh token in the answer");
}

async fn a_missing_code_is_invalid_request(server: Server) {
    // RFC 6749 4.1.3 and 5.2.
    let client = server.web_client().await;
    let form = [("grant_type", "authorization_code"), ("redirect_uri", CALLBACK)];
    server.token_as(&client, &form).await.expect_error(400, "invalid_request");
}

async fn a_code_that_is_none_is_invalid_grant(server: Server) {
    // RFC 6749 5.2.
    let (user, client) = (server.user().await, server.web_client().await);
    let code = server.code(&client, &user, &Pkce::new()).await;
    let tokens = server.tokens(&client, &user).await;
    let cut = &code[..code.len() - 1];
    let changed = format!("{cut}{}", if code.ends_with('A') { 'B' } else { 'A' });
    let long = format!("{code}{}", "A".repeat(10_000));
    let wrong = [cut, &changed, &long, "unknown", "glc_", "glc_ü", "' OR 1=1 --", &tokens.refresh, &tokens.access];
    for code in wrong {
        server.redeem(&client, code, &Pkce::new()).await.expect_error(400, "invalid_grant");
    }
    assert!(server.is_active(&client, &tokens.access).await, "a refresh token shown as a code ended its grant");
}

async fn a_user_who_was_disabled_gets_no_tokens(server: Server) {
    // RFC 6749 4.1.3: what the user allowed does not outlive the user's account.
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    let tokens = server.tokens(&client, &user).await;
    server.site().run_well(&["user", "disable", &user.username]).await;
    poll::until("the server sees that the user is disabled", async || {
        (!server.is_active(&client, &tokens.access).await).then_some(())
    })
    .await;
    server.redeem(&client, &code, &pkce).await.expect_error(400, "invalid_grant");
    server.refresh(&client, &tokens.refresh).await.expect_error(400, "invalid_grant");
    server.get("/api/me").bearer(&tokens.access).send().await.expect(401);
}

async fn a_code_expires(store: Store) {
    // RFC 6749 4.1.2: "The authorization code MUST expire shortly after it is issued".
    let server = Server::start(store, &[("OAUTH_CODE_LIFETIME_SECONDS", "1")]).await;
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    let issued = Instant::now();
    poll::until("the code's second is over", async || (issued.elapsed() > Duration::from_millis(2100)).then_some(()))
        .await;
    server.redeem(&client, &code, &pkce).await.expect_error(400, "invalid_grant");
}
