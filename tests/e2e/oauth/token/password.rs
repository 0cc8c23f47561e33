//! Resource owner password credentials: RFC 6749 4.3, only for clients that registered for it.

use serde_json::json;

use crate::conformance::rp::Rp;
use crate::harness::{
    Server, Store, User, poll, random,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_password_gives_tokens_that_speak_for_the_user,
        with_openid_it_says_who_the_user_is,
        right_passwords_at_the_same_time_lock_nobody_out,
        a_wrong_password_is_invalid_grant,
        an_unknown_user_hears_the_same_as_a_wrong_password,
        a_missing_user_name_or_password_is_invalid_request,
        a_scope_beyond_the_registered_one_is_invalid_scope,
        a_disabled_user_is_invalid_grant,
        the_password_valid_is_only_for_demonstrations,
        a_name_or_password_that_is_no_text_is_refused,
    ],
    own![
        guessing_locks_the_account_and_says_nothing_about_it,
        mistyping_in_one_application_locks_no_other_user_of_it_out,
        a_client_that_guesses_names_is_locked_and_no_other,
        a_client_without_a_secret_counts_by_its_address,
    ],
];

fn form<'a>(username: &'a str, password: &'a str) -> [(&'a str, &'a str); 4] {
    [("grant_type", "password"), ("username", username), ("password", password), ("scope", "profile")]
}

async fn a_password_gives_tokens_that_speak_for_the_user(server: Server) {
    // RFC 6749 4.3.3.
    let (user, client) = (server.user().await, server.password_client().await);
    let tokens = server.password_tokens(&client, &user).await;
    let me = server.get("/api/me").bearer(&tokens.access).send().await.expect(200);
    assert!(me.text().contains(&user.username), "{me}");
    server.refresh(&client, &tokens.refresh).await.expect(200);
}

async fn with_openid_it_says_who_the_user_is(server: Server) {
    // OpenID Connect Core 2, 3.1.3.6, 12.2: kubelogin and other command lines sign in like this.
    let user = server.user().await;
    let grants = ["--grant-type", "password", "--grant-type", "refresh_token", "--scope", "openid profile"];
    let rp = Rp { client: server.client(&grants).await, ..Rp::new(&server, "code").await };
    let (username, password) = (user.username.as_str(), user.password.as_str());
    // Core 11: an offline_access that was not registered is left out.
    let scope = ("scope", "openid offline_access");
    let form = [("grant_type", "password"), ("username", username), ("password", password), scope];
    let tokens = server.token_as(&rp.client, &form).await.expect(200).json();
    assert_eq!(tokens["scope"], "openid");
    let claims = rp.validated(tokens["id_token"].as_str().expect("an ID token")).await;
    assert_eq!((&claims["amr"], claims.get("nonce"), claims.get("sid")), (&json!(["pwd"]), None, None), "{claims}");
    let access = tokens["access_token"].as_str().expect("an access token");
    assert_eq!(rp.userinfo(access).await["sub"], claims["sub"]);
    let refresh = tokens["refresh_token"].as_str().expect("a refresh token");
    let again = server.refresh(&rp.client, refresh).await.expect(200).json();
    let second = rp.validated(again["id_token"].as_str().expect("an ID token")).await;
    assert_eq!((&second["sub"], &second["auth_time"]), (&claims["sub"], &claims["auth_time"]));
    // Who did not ask for it, gets none.
    let form = [("grant_type", "password"), ("username", username), ("password", password), ("scope", "profile")];
    assert!(server.token_as(&rp.client, &form).await.expect(200).json().get("id_token").is_none());
}

async fn right_passwords_at_the_same_time_lock_nobody_out(server: Server) {
    let (user, client) = (server.user().await, server.password_client().await);
    let at_once = (0..12).map(|_| server.password_tokens(&client, &user));
    let given: std::collections::HashSet<_> =
        futures::future::join_all(at_once).await.into_iter().map(|tokens| tokens.access).collect();
    assert_eq!(given.len(), 12);
}

async fn a_wrong_password_is_invalid_grant(server: Server) {
    // RFC 6749 5.2.
    let (user, client) = (server.user().await, server.password_client().await);
    server.token_as(&client, &form(&user.username, &random(18))).await.expect_error(400, "invalid_grant");
}

async fn an_unknown_user_hears_the_same_as_a_wrong_password(server: Server) {
    // RFC 6749 10.16 in spirit: the answer does not tell which names exist.
    let (user, client) = (server.user().await, server.password_client().await);
    let wrong = server.token_as(&client, &form(&user.username, &random(18))).await.expect_error(400, "invalid_grant");
    let unknown = server.token_as(&client, &form(&random(9), &random(18))).await.expect_error(400, "invalid_grant");
    assert_eq!(wrong.text(), unknown.text());
}

async fn a_missing_user_name_or_password_is_invalid_request(server: Server) {
    // RFC 6749 4.3.2: both are "REQUIRED".
    let (user, client) = (server.user().await, server.password_client().await);
    let name_only = [("grant_type", "password"), ("username", user.username.as_str())];
    server.token_as(&client, &name_only).await.expect_error(400, "invalid_request");
    let password_only = [("grant_type", "password"), ("password", user.password.as_str())];
    server.token_as(&client, &password_only).await.expect_error(400, "invalid_request");
}

async fn a_scope_beyond_the_registered_one_is_invalid_scope(server: Server) {
    // RFC 6749 5.2.
    let (user, client) = (server.user().await, server.password_client().await);
    let mut form = form(&user.username, &user.password);
    form[3].1 = "profile admin";
    server.token_as(&client, &form).await.expect_error(400, "invalid_scope");
}

async fn a_disabled_user_is_invalid_grant(server: Server) {
    // RFC 6749 5.2.
    let (user, client) = (server.user().await, server.password_client().await);
    server.password_tokens(&client, &user).await;
    server.site().run_well(&["user", "disable", &user.username]).await;
    poll::until("the server sees that the user is disabled", async || {
        let answer = server.token_as(&client, &form(&user.username, &user.password)).await;
        (answer.status == 400 && answer.json()["error"] == "invalid_grant").then_some(())
    })
    .await;
}

async fn the_password_valid_is_only_for_demonstrations(server: Server) {
    // The demonstration's password opens nothing on a server that is none.
    let (user, client) = (server.user().await, server.password_client().await);
    for name in [user.username.as_str(), "ann", "demo"] {
        server.token_as(&client, &form(name, "valid")).await.expect_error(400, "invalid_grant");
    }
}

async fn a_name_or_password_that_is_no_text_is_refused(server: Server) {
    // RFC 6749 4.3.2, and nothing that a store could stumble over.
    let (user, client) = (server.user().await, server.password_client().await);
    let long = "x".repeat(10_000);
    for name in ["\0", "a\0b", "' OR 1=1 --", "ü\u{200b}", " ", &long] {
        let answer = server.token_as(&client, &form(name, &user.password)).await.expect_client_error();
        assert!(matches!(answer.json()["error"].as_str(), Some("invalid_grant" | "invalid_request")), "{answer}");
    }
    for password in ["\0", &format!("{}\0", user.password), &format!("{} ", user.password), &long] {
        let answer = server.token_as(&client, &form(&user.username, password)).await.expect_client_error();
        assert!(matches!(answer.json()["error"].as_str(), Some("invalid_grant" | "invalid_request")), "{answer}");
    }
}

async fn guessing_locks_the_account_and_says_nothing_about_it(store: Store) {
    // RFC 6749 4.3.2: "MUST protect the endpoint against brute force attacks".
    let server = Server::start(store, &[("SIGN_IN_ATTEMPTS_PER_ACCOUNT", "3")]).await;
    let (user, other, client) = (server.user().await, server.user().await, server.password_client().await);
    let unknown = User { username: random(9), password: random(18) };
    let mut last = Vec::new();
    for name in [&user.username, &unknown.username] {
        for _ in 0..3 {
            let answer = server.token_as(&client, &form(name, &random(18))).await;
            assert!(matches!(answer.status, 400 | 429), "{answer}");
        }
        // Locked now: also for whoever knows the password.
        let password = if *name == user.username { user.password.as_str() } else { "anything at all" };
        let answer = server.token_as(&client, &form(name, password)).await;
        assert!(matches!(answer.status, 400 | 429), "{answer}");
        last.push((answer.status, answer.text()));
    }
    assert_eq!(last[0], last[1], "a locked account is told from one that does not exist");
    server.password_tokens(&client, &other).await;
}

async fn mistyping_in_one_application_locks_no_other_user_of_it_out(store: Store) {
    // The address of all these requests is the application's own.
    let server = Server::start(store, &[("SIGN_IN_ATTEMPTS_PER_ADDRESS", "4")]).await;
    let (user, client) = (server.user().await, server.password_client().await);
    for _ in 0..6 {
        server.token_as(&client, &form(&random(9), &random(18))).await.expect_error(400, "invalid_grant");
    }
    server.password_tokens(&client, &user).await;
}

async fn a_client_that_guesses_names_is_locked_and_no_other(store: Store) {
    // RFC 6749 4.3.2: "MUST protect the endpoint against brute force attacks", over many accounts too.
    let server = Server::start(store, &[("SIGN_IN_ATTEMPTS_PER_CLIENT", "5")]).await;
    let (user, client, other) = (server.user().await, server.password_client().await, server.password_client().await);
    for _ in 0..5 {
        server.token_as(&client, &form(&random(9), &random(18))).await.expect_error(400, "invalid_grant");
    }
    let locked = server.token_as(&client, &form(&user.username, &user.password)).await;
    let locked = locked.expect_error(429, "temporarily_unavailable");
    assert!(locked.header("retry-after").is_some(), "{locked}");
    server.password_tokens(&other, &user).await;
}

async fn a_client_without_a_secret_counts_by_its_address(store: Store) {
    // Anybody can speak for it, so it is each caller's own address that counts.
    let settings = [("SIGN_IN_ATTEMPTS_PER_ADDRESS", "4"), ("HTTP_TRUSTED_PROXIES", "127.0.0.1")];
    let server = Server::start(store, &settings).await;
    let user = server.user().await;
    let client = server.client(&["--grant-type", "password", "--scope", "profile", "--auth-method", "none"]).await;
    let ask = async |address: &str, name: &str, password: &str| {
        let form = [&form(name, password)[..], &[("client_id", &client.id)]].concat();
        server.post("/oauth/token").header("x-forwarded-for", address).form(&form).send().await
    };
    for _ in 0..4 {
        ask("203.0.113.1", &random(9), &random(18)).await.expect_error(400, "invalid_grant");
    }
    ask("203.0.113.1", &user.username, &user.password).await.expect_error(429, "temporarily_unavailable");
    ask("203.0.113.2", &user.username, &user.password).await.expect(200);
}
