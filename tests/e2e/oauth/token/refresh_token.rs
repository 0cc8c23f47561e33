//! Refreshing: RFC 6749 6 and 10.4; rotation and reuse as RFC 9700 4.14.2 asks.

use crate::harness::{
    Browser, CALLBACK, Client, Server, Store, Tokens, User,
    browser::query_of,
    poll,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_refresh_gives_new_tokens_and_ends_the_old_refresh_token,
        a_reused_refresh_token_ends_the_whole_family,
        a_scope_can_be_narrowed,
        a_narrowed_access_token_does_not_narrow_the_grant,
        a_scope_cannot_be_widened,
        a_refresh_token_of_another_client_is_refused_and_lives_on,
        a_public_client_rotates_too,
        a_missing_refresh_token_is_invalid_request,
        a_refresh_token_that_is_none_is_invalid_grant,
        what_was_taken_away_from_the_client_does_not_come_back,
        without_anything_left_of_the_scope_there_is_no_token,
        offline_access_that_was_taken_away_ends_the_refresh,
        a_client_that_may_not_refresh_any_more_loses_what_it_could,
    ],
    own![
        within_the_grace_nothing_comes_back_that_was_taken_away,
        within_the_grace_a_lost_answer_is_given_again_without_forking,
        an_access_token_never_outlives_its_grant,
    ],
];

async fn a_refresh_gives_new_tokens_and_ends_the_old_refresh_token(server: Server) {
    // RFC 6749 6; RFC 9700 4.14.2.
    let (user, client) = (server.user().await, server.web_client().await);
    let first = server.tokens(&client, &user).await;
    let second = Tokens::of(server.refresh(&client, &first.refresh).await.expect_no_store());
    assert_ne!(first.access, second.access);
    assert_ne!(first.refresh, second.refresh);
    assert!(server.is_active(&client, &second.access).await);
    assert!(!server.is_active(&client, &first.refresh).await, "the old refresh token is called active");
    let json = server.introspect_as(&client, &second.access).await;
    assert_eq!((json["scope"].as_str(), json["username"].as_str()), (Some("profile read"), Some(&*user.username)));
    server.refresh(&client, &second.refresh).await.expect(200);
}

async fn a_reused_refresh_token_ends_the_whole_family(server: Server) {
    // RFC 9700 4.14.2: "the authorization server cannot determine which party submitted the invalid refresh token,
    // but it will revoke the active refresh token".
    let (user, client) = (server.user().await, server.web_client().await);
    let first = server.tokens(&client, &user).await;
    let second = Tokens::of(server.refresh(&client, &first.refresh).await);
    let third = Tokens::of(server.refresh(&client, &second.refresh).await);
    server.refresh(&client, &first.refresh).await.expect_error(400, "invalid_grant");
    server.refresh(&client, &third.refresh).await.expect_error(400, "invalid_grant");
    for tokens in [&first, &second, &third] {
        assert!(!server.is_active(&client, &tokens.access).await);
        server.get("/api/me").bearer(&tokens.access).send().await.expect(401);
    }
}

async fn a_scope_can_be_narrowed(server: Server) {
    // RFC 6749 6.
    let (user, client) = (server.user().await, server.web_client().await);
    let first = server.tokens(&client, &user).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", &first.refresh), ("scope", "read")];
    let answer = server.token_as(&client, &form).await.expect(200);
    assert_eq!(answer.json()["scope"], "read", "RFC 6749 5.1: scope is REQUIRED when it is not the one asked for");
    let second = Tokens::of(answer);
    assert_eq!(server.introspect_as(&client, &second.access).await["scope"], "read");
    server.get("/api/me").bearer(&second.access).send().await.expect(403);
}

async fn a_narrowed_access_token_does_not_narrow_the_grant(server: Server) {
    // RFC 6749 6: the new refresh token's scope "MUST be identical to that of the refresh token included by the
    // client in the request", and an omitted scope is the one "originally granted by the resource owner".
    let (user, client) = (server.user().await, server.web_client().await);
    let first = server.tokens(&client, &user).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", &first.refresh), ("scope", "read")];
    let second = Tokens::of(server.token_as(&client, &form).await);
    let third = Tokens::of(server.refresh(&client, &second.refresh).await);
    assert_eq!(server.introspect_as(&client, &third.access).await["scope"], "profile read");
}

async fn a_scope_cannot_be_widened(server: Server) {
    // RFC 6749 6: "MUST NOT include any scope not originally granted"; `write` is registered, but was not granted.
    let (user, client) = (server.user().await, server.web_client().await);
    let first = server.tokens(&client, &user).await;
    for scope in ["profile read write", "write", "admin"] {
        let form = [("grant_type", "refresh_token"), ("refresh_token", &first.refresh), ("scope", scope)];
        server.token_as(&client, &form).await.expect_error(400, "invalid_scope");
    }
    server.refresh(&client, &first.refresh).await.expect(200);
}

async fn a_refresh_token_of_another_client_is_refused_and_lives_on(server: Server) {
    // RFC 6749 6: "ensure that the refresh token was issued to the authenticated client".
    let (user, client, stranger) = (server.user().await, server.web_client().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    server.refresh(&stranger, &tokens.refresh).await.expect_error(400, "invalid_grant");
    let next = Tokens::of(server.refresh(&client, &tokens.refresh).await);
    // Nor does a stranger's reuse end the family.
    server.refresh(&stranger, &tokens.refresh).await.expect_error(400, "invalid_grant");
    assert!(server.is_active(&client, &next.access).await);
    server.refresh(&client, &next.refresh).await.expect(200);
}

async fn a_public_client_rotates_too(server: Server) {
    // RFC 9700 4.14.2: "MUST … detect refresh token replay by malicious actors for public clients".
    let (user, client) = (server.user().await, server.public_client().await);
    let first = server.tokens(&client, &user).await;
    let second = Tokens::of(server.refresh(&client, &first.refresh).await);
    server.refresh(&client, &first.refresh).await.expect_error(400, "invalid_grant");
    server.refresh(&client, &second.refresh).await.expect_error(400, "invalid_grant");
}

async fn a_missing_refresh_token_is_invalid_request(server: Server) {
    // RFC 6749 6: "REQUIRED".
    let client = server.web_client().await;
    server.token_as(&client, &[("grant_type", "refresh_token")]).await.expect_error(400, "invalid_request");
}

async fn a_refresh_token_that_is_none_is_invalid_grant(server: Server) {
    // RFC 6749 5.2.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let cut = &tokens.refresh[..tokens.refresh.len() - 1];
    let changed = format!("{cut}{}", if tokens.refresh.ends_with('A') { 'B' } else { 'A' });
    for wrong in [cut, &changed, "unknown", "glr_", "glr_ü", "' OR 1=1 --", &tokens.access, &"x".repeat(20_000)] {
        server.refresh(&client, wrong).await.expect_error(400, "invalid_grant");
    }
    server.refresh(&client, &tokens.refresh).await.expect(200);
}

async fn within_the_grace_a_lost_answer_is_given_again_without_forking(store: Store) {
    // RFC 9700 4.14.2, setting `oauth.refresh_grace_seconds`: two refresh tokens never live at once.
    let server = Server::start(store, &[("OAUTH_REFRESH_GRACE_SECONDS", "60")]).await;
    let (user, client) = (server.user().await, server.web_client().await);
    let first = server.tokens(&client, &user).await;
    let lost = Tokens::of(server.refresh(&client, &first.refresh).await);
    let again = Tokens::of(server.refresh(&client, &first.refresh).await);
    assert!(server.is_active(&client, &again.access).await);
    let next = Tokens::of(server.refresh(&client, &again.refresh).await);
    // The answer that was lost is no second branch, even for whoever found it.
    if lost.refresh != again.refresh {
        server.refresh(&client, &lost.refresh).await.expect_error(400, "invalid_grant");
    }
    // The first token is two turns old by now: that is reuse, with or without grace.
    server.refresh(&client, &first.refresh).await.expect_error(400, "invalid_grant");
    server.refresh(&client, &next.refresh).await.expect_error(400, "invalid_grant");
    assert!(!server.is_active(&client, &next.access).await);
}

async fn an_access_token_never_outlives_its_grant(store: Store) {
    // RFC 6749 10.4: a grant has an absolute lifetime, and what comes from it ends with it.
    let settings = [("OAUTH_GRANT_LIFETIME_SECONDS", "60"), ("OAUTH_ACCESS_TOKEN_LIFETIME_SECONDS", "60")];
    let server = Server::start(store, &settings).await;
    let (user, client) = (server.user().await, server.web_client().await);
    let first = server.tokens(&client, &user).await;
    let refreshed = server.refresh(&client, &first.refresh).await.expect(200);
    let seconds = refreshed.json()["expires_in"].as_i64().expect("expires_in");
    assert!((0..=60).contains(&seconds), "expires_in {seconds} in a grant of 60 seconds");
    let json = server.introspect_as(&client, &Tokens::of(refreshed).access).await;
    let begun = server.introspect_as(&client, &first.access).await["iat"].as_i64().expect("iat");
    assert!(json["exp"].as_i64().expect("exp") <= begun + 60, "{json}");
}

/// A client that may refresh, with that scope.
async fn client(server: &Server, scope: &str) -> Client {
    let grants = ["--grant-type", "authorization_code", "--grant-type", "refresh_token", "--scope", scope];
    server.client(&[&["--redirect-uri", CALLBACK][..], &grants].concat()).await
}

async fn tokens(server: &Server, client: &Client, user: &User, scope: &str) -> Tokens {
    let request = [("response_type", "code"), ("client_id", &*client.id), ("redirect_uri", CALLBACK), ("scope", scope)];
    let page = Browser::new(server).authorize(&server.authorize_url(&request), user).await;
    let code = query_of(&page.callback()).remove("code").expect("a code");
    let form = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", CALLBACK)];
    Tokens::of(server.token_as(client, &form).await)
}

/// `client update`, until introspection shows the scope that is left of that token; `None` when it is not active.
async fn update(server: &Server, client: &Client, token: &str, arguments: &[&str], left: Option<&str>) {
    server.site().run_well(&[&["client", "update", &client.id], arguments].concat()).await;
    poll::until("the server sees the change", async || {
        let json = server.introspect_as(client, token).await;
        (json["active"] == left.is_some() && json["scope"].as_str() == left).then_some(())
    })
    .await;
}

async fn what_was_taken_away_from_the_client_does_not_come_back(server: Server) {
    // RFC 6749 6 gives the scope of the grant again; 3.3: the server decides, and says what it gave.
    let (user, client) = (server.user().await, client(&server, "admin profile read").await);
    let first = tokens(&server, &client, &user, "admin profile read").await;
    assert_eq!(server.introspect_as(&client, &first.access).await["scope"], "admin profile read");
    server.get("/api/me").bearer(&first.access).send().await.expect(200);
    update(&server, &client, &first.access, &["--scope", "read"], Some("read")).await;
    // What is out already has lost it too, also where this server is the API itself.
    server.get("/api/me").bearer(&first.access).send().await.expect(403);
    assert_eq!(server.introspect_as(&client, &first.refresh).await["scope"], "read");
    let answer = server.refresh(&client, &first.refresh).await.expect(200);
    assert_eq!(answer.json()["scope"], "read");
    let second = Tokens::of(answer);
    let form = [("grant_type", "refresh_token"), ("refresh_token", &*second.refresh), ("scope", "admin")];
    server.token_as(&client, &form).await.expect_error(400, "invalid_scope");
    assert_eq!(server.introspect_as(&client, &second.access).await["scope"], "read");
}

async fn without_anything_left_of_the_scope_there_is_no_token(server: Server) {
    let (user, client) = (server.user().await, client(&server, "admin read").await);
    let first = tokens(&server, &client, &user, "admin").await;
    update(&server, &client, &first.access, &["--scope", "read"], None).await;
    server.refresh(&client, &first.refresh).await.expect_error(400, "invalid_scope");
    assert!(!server.is_active(&client, &first.refresh).await);
}

async fn offline_access_that_was_taken_away_ends_the_refresh(server: Server) {
    // OpenID Connect Core 11.
    let (user, client) = (server.user().await, client(&server, "openid offline_access read").await);
    let first = tokens(&server, &client, &user, "openid offline_access read").await;
    let grant = grant(&server, &client).await;
    update(&server, &client, &first.access, &["--scope", "openid read"], Some("openid read")).await;
    assert!(!server.is_active(&client, &first.refresh).await);
    server.refresh(&client, &first.refresh).await.expect_error(400, "invalid_grant");
    expect_withdrawn(&server, &grant).await;
    // It is the end of it, whatever the client gets back.
    assert!(!server.is_active(&client, &first.access).await);
    server.site().run_well(&["client", "update", &client.id, "--scope", "openid offline_access read"]).await;
    server.refresh(&client, &first.refresh).await.expect_error(400, "invalid_grant");
}

async fn a_client_that_may_not_refresh_any_more_loses_what_it_could(server: Server) {
    // RFC 6749 5.2 `unauthorized_client`.
    let (user, client) = (server.user().await, client(&server, "read").await);
    let first = tokens(&server, &client, &user, "read").await;
    let grant = grant(&server, &client).await;
    let update = async |more: &[&str], may: bool| {
        let changed = [&["client", "update", &client.id, "--grant-type", "authorization_code"], more].concat();
        server.site().run_well(&changed).await;
        poll::until("the server sees the change", async || {
            let form = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
            let error = if may { "invalid_grant" } else { "unauthorized_client" };
            (server.token_as(&client, &form).await.json()["error"] == error).then_some(())
        })
        .await;
    };
    update(&[], false).await;
    assert!(!server.is_active(&client, &first.refresh).await);
    server.refresh(&client, &first.refresh).await.expect_error(400, "unauthorized_client");
    expect_withdrawn(&server, &grant).await;
    update(&["--grant-type", "refresh_token"], true).await;
    server.refresh(&client, &first.refresh).await.expect_error(400, "invalid_grant");
}

/// The log says why.
async fn expect_withdrawn(server: &Server, grant: &str) {
    let events = server.site().run_well(&["events", "list", "--aggregate", grant, "--json"]).await;
    assert!(events.contains("refresh_withdrawn"), "{events}");
}

/// The one grant of that client.
async fn grant(server: &Server, client: &Client) -> String {
    poll::until("the grant is listed", async || {
        let grants = server.site().run_json(&["grant", "list", "--client", &client.id]).await;
        grants[0]["grant_id"].as_str().map(str::to_owned)
    })
    .await
}

async fn within_the_grace_nothing_comes_back_that_was_taken_away(store: Store) {
    let server = Server::start(store, &[("OAUTH_REFRESH_GRACE_SECONDS", "60")]).await;
    let user = server.user().await;
    let client = client(&server, "openid offline_access admin read").await;
    let (first, second) = (
        tokens(&server, &client, &user, "admin read").await,
        tokens(&server, &client, &user, "openid offline_access read").await,
    );
    server.refresh(&client, &first.refresh).await.expect(200);
    server.refresh(&client, &second.refresh).await.expect(200);
    update(&server, &client, &first.access, &["--scope", "openid read"], Some("read")).await;
    assert_eq!(server.refresh(&client, &first.refresh).await.expect(200).json()["scope"], "read");
    server.refresh(&client, &second.refresh).await.expect_error(400, "invalid_grant");
}
