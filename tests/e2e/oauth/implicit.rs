//! The implicit grant: RFC 6749 4.2, only for clients that registered for it.

use crate::harness::{
    Browser, CALLBACK, Client, Server,
    browser::fragment_of,
    suite::{Case, shared},
};

pub const CASES: &[&[Case]] = &[shared![
    the_token_comes_in_the_fragment,
    there_is_never_a_refresh_token,
    the_token_speaks_for_the_user,
    a_client_that_is_not_registered_for_it_is_refused,
    errors_come_in_the_fragment,
    a_user_who_denies_sends_access_denied_in_the_fragment,
]];

async fn client(server: &Server) -> Client {
    let implicit = ["--redirect-uri", CALLBACK, "--grant-type", "implicit", "--response-type", "token"];
    server.client(&[&implicit[..], &["--scope", "profile read", "--auth-method", "none"]].concat()).await
}

fn request<'a>(client: &'a Client, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("response_type", "token"),
        ("client_id", &client.id),
        ("redirect_uri", CALLBACK),
        ("scope", scope),
        ("state", "af0ifjsldkj"),
    ]
}

async fn the_token_comes_in_the_fragment(server: Server) {
    // RFC 6749 4.2.2; RFC 9207 2.
    let (user, client) = (server.user().await, client(&server).await);
    let callback = server.authorized(&user, &request(&client, "profile")).await;
    assert!(callback.as_str().starts_with(&format!("{CALLBACK}#")), "{callback}");
    let fragment = fragment_of(&callback);
    assert!(fragment["access_token"].len() >= 43, "{callback}");
    assert!(fragment["token_type"].eq_ignore_ascii_case("bearer"), "{callback}");
    assert!(fragment["expires_in"].parse::<u64>().is_ok_and(|seconds| seconds > 0), "{callback}");
    assert_eq!(fragment["state"], "af0ifjsldkj");
    assert_eq!(fragment["iss"], server.base());
    assert_eq!(callback.query(), None);
}

async fn there_is_never_a_refresh_token(server: Server) {
    // RFC 6749 4.2.2: "The authorization server MUST NOT issue a refresh token."
    let (user, client) = (server.user().await, client(&server).await);
    let callback = server.authorized(&user, &request(&client, "profile read")).await;
    assert!(!callback.as_str().contains("refresh_token"), "{callback}");
}

async fn the_token_speaks_for_the_user(server: Server) {
    // RFC 6750 2.1.
    let (user, client) = (server.user().await, client(&server).await);
    let callback = server.authorized(&user, &request(&client, "profile")).await;
    let token = fragment_of(&callback).remove("access_token").expect("a token");
    let me = server.get("/api/me").bearer(&token).send().await.expect(200);
    assert!(me.text().contains(&user.username), "{me}");
}

async fn a_client_that_is_not_registered_for_it_is_refused(server: Server) {
    // RFC 6749 4.2.2.1: unauthorized_client.
    let (user, client) = (server.user().await, server.web_client().await);
    let callback = server.authorized(&user, &request(&client, "profile")).await;
    let fragment = fragment_of(&callback);
    assert_eq!(fragment.get("error").map(String::as_str), Some("unauthorized_client"), "{callback}");
    assert!(!callback.as_str().contains("access_token"), "{callback}");
}

async fn errors_come_in_the_fragment(server: Server) {
    // RFC 6749 4.2.2.1; RFC 9207 2.
    let (user, client) = (server.user().await, client(&server).await);
    let callback = server.authorized(&user, &request(&client, "admin")).await;
    let fragment = fragment_of(&callback);
    assert_eq!(fragment.get("error").map(String::as_str), Some("invalid_scope"), "{callback}");
    assert_eq!((fragment["state"].as_str(), fragment["iss"].as_str()), ("af0ifjsldkj", server.base()));
    assert_eq!(callback.query(), None);
}

async fn a_user_who_denies_sends_access_denied_in_the_fragment(server: Server) {
    // RFC 6749 4.2.2.1.
    let (user, client) = (server.user().await, client(&server).await);
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open(&server.authorize_url(&request(&client, "profile"))).await;
    let callback = browser.submit(&page, "consent-form", "consent-deny", &[]).await.callback();
    assert_eq!(fragment_of(&callback)["error"], "access_denied");
}
