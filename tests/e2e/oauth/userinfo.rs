//! Who a token speaks for: `/api/me` and `/oauth/userinfo`.

use crate::harness::{
    Server,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    me_is_the_user_who_allowed_it,
    me_needs_the_scope_profile,
    a_service_token_gets_a_clear_403,
    userinfo_names_the_same_subject_as_introspection,
]];

async fn me_is_the_user_who_allowed_it(server: Server) {
    // RFC 6749 7.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let me = server.get("/api/me").bearer(&tokens.access).send().await.expect(200);
    assert!(me.json().to_string().contains(&user.username), "{me}");
}

async fn me_needs_the_scope_profile(server: Server) {
    // RFC 6750 3.1: 403 insufficient_scope, with the scope that is needed.
    let (user, client) = (server.user().await, server.password_client().await);
    let form =
        [("grant_type", "password"), ("username", &user.username), ("password", &user.password), ("scope", "read")];
    let token = server.token_as(&client, &form).await.expect(200).json()["access_token"].as_str().unwrap().to_owned();
    let answer = server.get("/api/me").bearer(&token).send().await.expect(403);
    let challenge = answer.header("www-authenticate").expect("WWW-Authenticate");
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
    assert!(challenge.contains(r#"scope="profile""#), "{challenge}");
}

async fn a_service_token_gets_a_clear_403(server: Server) {
    // RFC 6749 4.4: there is no resource owner, so there is no "me"; that is an answer and not a crash.
    let client = server.service_client().await;
    let token = server.service_token(&client).await;
    for path in ["/api/me", "/oauth/userinfo"] {
        let answer = server.get(path).bearer(&token).send().await.expect(403);
        assert!(answer.json()["error"].is_string(), "{answer}");
    }
}

async fn userinfo_names_the_same_subject_as_introspection(server: Server) {
    // RFC 7662 2.2 `sub`.
    let (user, client) = (server.user().await, server.web_client().await);
    let tokens = server.tokens(&client, &user).await;
    let userinfo = server.get("/oauth/userinfo").bearer(&tokens.access).send().await.expect(200).json();
    let introspection = server.introspect_as(&client, &tokens.access).await;
    assert_eq!(userinfo["sub"], introspection["sub"]);
    assert!(userinfo["sub"].is_string(), "{userinfo}");
}
