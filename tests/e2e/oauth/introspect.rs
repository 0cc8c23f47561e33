//! Token introspection: RFC 7662.

use serde_json::json;

use crate::harness::{
    Browser, CALLBACK, Server, Tokens, poll,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    an_active_token_is_described,
    a_service_token_names_no_user,
    an_inactive_token_says_that_and_nothing_else,
    a_client_must_authenticate,
    a_public_client_sees_nothing_of_others_tokens,
    an_access_token_does_not_authenticate_the_caller,
    a_missing_token_is_invalid_request,
    a_wrong_hint_changes_nothing,
    only_post_is_taken,
    a_resource_server_hears_of_other_clients_tokens,
    no_other_client_hears_of_anothers_token,
    an_operator_names_a_resource_server_and_nobody_else,
    the_user_name_is_told_with_the_scope_profile_only,
    a_refresh_token_is_active_for_its_own_client_only,
]];

async fn an_active_token_is_described(server: Server) {
    // RFC 7662 2.2.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let form = [("token", tokens.access.as_str()), ("token_type_hint", "access_token")];
    let answer = server.post_as(&client, "/oauth/introspect", &form).send().await.expect(200).expect_no_store();
    let json = answer.json();
    assert_eq!(json["active"], json!(true), "{json}");
    assert_eq!(json["client_id"], json!(client.id), "{json}");
    assert_eq!(json["username"], json!(user.username), "{json}");
    assert_eq!(json["scope"], json!("profile read"), "{json}");
    assert!(json["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")), "{json}");
    assert!(json["sub"].as_str().is_some_and(|sub| !sub.is_empty()), "{json}");
    let (issued, expires) = (json["iat"].as_i64().expect("iat"), json["exp"].as_i64().expect("exp"));
    assert!(expires > issued && expires - issued <= 86_400, "{json}");
    assert_eq!((&json["aud"], json.get("jti")), (&json!(server.base()), None), "{json}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer}");
}

async fn a_service_token_names_no_user(server: Server) {
    // RFC 7662 2.2: username is "for the resource owner who authorized this token"; there is none.
    let client = server.service_client().await;
    let token = server.service_token(&client).await;
    let json = server.introspect_as(&client, &token).await;
    assert_eq!(json["active"], json!(true), "{json}");
    assert!(json.get("username").is_none(), "{json}");
}

async fn an_inactive_token_says_that_and_nothing_else(server: Server) {
    // RFC 7662 2.2: "SHOULD NOT include any additional information about an inactive token".
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    server.revoke_as(&client, &tokens.access).await.expect(200);
    let cut = &tokens.access[..tokens.access.len() - 1];
    let long = "x".repeat(20_000);
    for token in [&tokens.access, cut, "unknown", "gla_", "gla_!", "ü", "a b", "' OR 1=1 --", &long] {
        assert_eq!(server.introspect_as(&client, token).await, json!({ "active": false }), "{token:.20}");
    }
}

async fn a_client_must_authenticate(server: Server) {
    // RFC 7662 2.1: "MUST also require some form of authorization to access this endpoint".
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let form = [("token", tokens.access.as_str())];
    let none = server.post("/oauth/introspect").form(&form).send().await;
    assert_eq!(none.status, 401, "{none}");
    assert!(none.header("www-authenticate").is_some(), "{none}");
    let wrong = server.post("/oauth/introspect").basic(&client.id, "wrong").form(&form);
    wrong.send().await.expect_error(401, "invalid_client");
    let named = [("token", tokens.access.as_str()), ("client_id", &client.id)];
    server.post("/oauth/introspect").form(&named).send().await.expect_invalid_client();
}

async fn a_public_client_sees_nothing_of_others_tokens(server: Server) {
    // RFC 7662 4: whoever knows a client_id could otherwise scan for tokens.
    let (user, client, public) = (server.user().await, server.web_client().await, server.public_client().await);
    let tokens = server.tokens(&client, &user).await;
    for token in [&tokens.access, &tokens.refresh] {
        let answer = server.post_as(&public, "/oauth/introspect", &[("token", token)]).send().await;
        let nothing = answer.status == 200 && answer.json() == json!({ "active": false });
        assert!(nothing || matches!(answer.status, 400 | 401 | 403), "{answer}");
        assert!(!answer.text().contains(&user.username), "{answer}");
    }
}

async fn an_access_token_does_not_authenticate_the_caller(server: Server) {
    // RFC 7662 2.1: a user's token is no client's credential here.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let answer =
        server.post("/oauth/introspect").bearer(&tokens.access).form(&[("token", &tokens.access)]).send().await;
    assert_eq!(answer.status, 401, "{answer}");
}

async fn a_missing_token_is_invalid_request(server: Server) {
    // RFC 7662 2.1: token is "REQUIRED".
    let client = server.web_client().await;
    server.post_as(&client, "/oauth/introspect", &[]).send().await.expect_error(400, "invalid_request");
}

async fn a_wrong_hint_changes_nothing(server: Server) {
    // RFC 7662 2.1: "it MUST extend its search across all of its supported token types".
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    for hint in ["refresh_token", "unknown_kind"] {
        let form = [("token", tokens.access.as_str()), ("token_type_hint", hint)];
        let json = server.post_as(&client, "/oauth/introspect", &form).send().await.expect(200).json();
        assert_eq!(json["active"], json!(true), "{hint}: {json}");
    }
}

async fn only_post_is_taken(server: Server) {
    // RFC 7662 2.1: tokens do not belong into URLs.
    server.get("/oauth/introspect?token=x").send().await.expect(405);
}

async fn a_resource_server_hears_of_other_clients_tokens(server: Server) {
    // RFC 7662 1: "allows a protected resource to query".
    let (user, client, api) = (server.user().await, server.public_client().await, server.api_client().await);
    let tokens = server.tokens(&client, &user).await;
    let json = server.introspect_as(&api, &tokens.access).await;
    assert_eq!((&json["active"], &json["client_id"]), (&json!(true), &json!(client.id)), "{json}");
    // And gets no tokens itself.
    server.token_as(&api, &[("grant_type", "client_credentials")]).await.expect_error(400, "unauthorized_client");
}

async fn no_other_client_hears_of_anothers_token(server: Server) {
    // RFC 7662 4: not even that it is one.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let service = server.service_client().await;
    let own = server.service_token(&service).await;
    for stranger in [&server.web_client().await, &service] {
        assert_eq!(server.introspect_as(stranger, &tokens.access).await, json!({ "active": false }));
    }
    assert_eq!(server.introspect_as(&client, &own).await, json!({ "active": false }));
    for (owner, token) in [(&client, &tokens.access), (&service, &own)] {
        assert!(server.is_active(owner, token).await);
    }
}

async fn an_operator_names_a_resource_server_and_nobody_else(server: Server) {
    let (user, client, service) = (server.user().await, server.web_client().await, server.service_client().await);
    let tokens = server.tokens(&client, &user).await;
    let update = async |id: &str, more: &[&str]| {
        let changed = server.site().run_json(&[&["client", "update", id], more].concat()).await;
        changed.get("resource_server").cloned()
    };
    for (word, named) in [("true", true), ("false", false)] {
        update(&service.id, &["--resource-server", word]).await;
        poll::until("the server sees the change", async || {
            (server.is_active(&service, &tokens.access).await == named).then_some(())
        })
        .await;
    }
    // One that anybody could claim to be is none.
    let public = server.public_client().await;
    let refused = server.site().run(&["client", "update", &public.id, "--resource-server", "true"]).await;
    assert!(!refused.status.success());
    // What a user sends with the form is not read, and what an operator gave stays.
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open("/create_client").await;
    let fields = [("client_name", "Mine"), ("kind", "web"), ("redirect_uris", CALLBACK), ("resource_server", "true")];
    let page = browser.submit(&page, "create-client-form", "create-client-submit", &fields).await;
    let id = page.text_of("client-id").expect("a client");
    assert_eq!(update(&id, &[]).await, None);
    assert_eq!(update(&id, &["--resource-server", "true"]).await, Some(json!(true)));
    let page = browser.open(&format!("/clients/{id}")).await;
    let page = browser.submit(&page, "edit-client-form", "edit-client-submit", &[("client_name", "Ours")]).await;
    assert!(page.text_of("saved").is_some(), "{}", page.answer);
    let now = server.site().run_json(&["client", "show", &id]).await;
    assert_eq!((&now["client_name"], &now["resource_server"]), (&json!("Ours"), &json!(true)));
}

async fn the_user_name_is_told_with_the_scope_profile_only(server: Server) {
    // OpenID Connect Core 5.4: the scope `profile` is what asks for it.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", &tokens.refresh), ("scope", "read")];
    let narrowed = Tokens::of(server.token_as(&client, &form).await);
    for asking in [&client, &server.api_client().await] {
        let json = server.introspect_as(asking, &narrowed.access).await;
        assert_eq!((&json["active"], json.get("username")), (&json!(true), None), "{json}");
        assert_eq!(server.introspect_as(asking, &tokens.access).await["username"], json!(user.username));
    }
}

async fn a_refresh_token_is_active_for_its_own_client_only(server: Server) {
    // RFC 7662 4: an API that took it for an access token would let its holder in.
    let (user, client, api) = (server.user().await, server.web_client().await, server.api_client().await);
    let tokens = server.tokens(&client, &user).await;
    let own = server.introspect_as(&client, &tokens.refresh).await;
    assert_eq!(own["active"], json!(true), "{own}");
    assert_eq!(own["token_type"], json!(null), "{own}");
    assert_eq!(server.introspect_as(&api, &tokens.refresh).await, json!({ "active": false }));
}
