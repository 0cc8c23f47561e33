//! Proof Key for Code Exchange: RFC 7636, with S256 only (RFC 9700 2.1.1).

use crate::harness::{
    CALLBACK, Client, Pkce, Server, Store, User,
    browser::query_of,
    http::encode,
    suite::{Case, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        a_code_is_redeemed_with_its_verifier,
        a_public_client_must_send_a_challenge,
        only_s256_is_taken,
        a_challenge_without_method_is_plain_and_refused,
        a_method_without_challenge_is_refused,
        a_malformed_challenge_is_refused,
        a_wrong_verifier_is_refused,
        a_missing_verifier_is_refused,
        a_malformed_verifier_is_refused,
        the_challenge_itself_is_no_verifier,
        a_verifier_without_a_challenge_is_refused,
        a_challenge_is_never_ignored_for_a_confidential_client,
        a_confidential_client_may_do_without,
    ],
    own![every_client_must_send_a_challenge_when_the_setting_says_so],
];

fn request<'a>(client: &'a Client, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let request = [
        ("response_type", "code"),
        ("client_id", client.id.as_str()),
        ("redirect_uri", CALLBACK),
        ("scope", "profile read"),
        ("state", "xyz"),
    ];
    [&request[..], more].concat()
}

async fn expect_refused(server: &Server, client: &Client, more: &[(&str, &str)]) {
    let user = server.user().await;
    let callback = server.authorized(&user, &request(client, more)).await;
    let query = query_of(&callback);
    assert_eq!(query.get("error").map(String::as_str), Some("invalid_request"), "{callback}");
    assert_eq!(query["state"], "xyz");
    assert!(!query.contains_key("code"));
}

/// A code that was asked for without PKCE.
async fn bare_code(server: &Server, client: &Client, user: &User) -> String {
    let callback = server.authorized(user, &request(client, &[])).await;
    query_of(&callback).remove("code").unwrap_or_else(|| panic!("no code in {callback}"))
}

async fn a_code_is_redeemed_with_its_verifier(server: Server) {
    // RFC 7636 4.1 to 4.6.
    let (user, client) = (server.user().await, server.public_client().await);
    server.tokens(&client, &user).await;
}

async fn a_public_client_must_send_a_challenge(server: Server) {
    // RFC 7636 4.4.1; RFC 9700 2.1.1: "public clients MUST use PKCE".
    expect_refused(&server, &server.public_client().await, &[]).await;
}

async fn only_s256_is_taken(server: Server) {
    // RFC 7636 4.4.1; RFC 9700 2.1.1: `plain` shows the verifier to whoever sees the request.
    let client = server.public_client().await;
    let pkce = Pkce::new();
    for method in ["plain", "s256", "S512", "S256 "] {
        let more = [("code_challenge", pkce.challenge.as_str()), ("code_challenge_method", method)];
        expect_refused(&server, &client, &more).await;
    }
}

async fn a_challenge_without_method_is_plain_and_refused(server: Server) {
    // RFC 7636 4.3: the method "defaults to "plain" if not present".
    let client = server.web_client().await;
    expect_refused(&server, &client, &[("code_challenge", &Pkce::new().challenge)]).await;
}

async fn a_method_without_challenge_is_refused(server: Server) {
    // RFC 7636 4.3: half a request is a mistake, not a request without PKCE.
    expect_refused(&server, &server.web_client().await, &[("code_challenge_method", "S256")]).await;
}

async fn a_malformed_challenge_is_refused(server: Server) {
    // RFC 7636 4.2: an S256 challenge is 43 characters of base64url.
    let client = server.public_client().await;
    let short = &Pkce::new().challenge[..42];
    let padded = format!("{}=", Pkce::new().challenge);
    let foreign = format!("{short}+");
    let long = "A".repeat(128);
    for challenge in [short, padded.as_str(), foreign.as_str(), long.as_str()] {
        let more = [("code_challenge", challenge), ("code_challenge_method", "S256")];
        expect_refused(&server, &client, &more).await;
    }
}

async fn a_wrong_verifier_is_refused(server: Server) {
    // RFC 7636 4.6: "If the values are not equal, an error response indicating "invalid_grant" … MUST be returned."
    let (user, client, pkce) = (server.user().await, server.public_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    server.redeem(&client, &code, &Pkce::new()).await.expect_error(400, "invalid_grant");
}

async fn a_missing_verifier_is_refused(server: Server) {
    // RFC 7636 4.6.
    let (user, client, pkce) = (server.user().await, server.public_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
    server.token_as(&client, &form).await.expect_error(400, "invalid_grant");
}

async fn a_malformed_verifier_is_refused(server: Server) {
    // RFC 7636 4.1: 43 to 128 unreserved characters.
    let (user, client) = (server.user().await, server.public_client().await);
    for verifier in ["short", "ü", &"a".repeat(129), &"a".repeat(10_000), "\0"] {
        let code = server.code(&client, &user, &Pkce::new()).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", verifier),
        ];
        let answer = server.token_as(&client, &form).await.expect(400).expect_no_store();
        assert!(["invalid_grant", "invalid_request"].contains(&answer.json()["error"].as_str().unwrap()), "{answer}");
    }
}

async fn the_challenge_itself_is_no_verifier(server: Server) {
    // RFC 7636 4.6: that would be `plain` by the back door.
    let (user, client, pkce) = (server.user().await, server.public_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &client.id),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &pkce.challenge),
    ];
    // As a raw form: the challenge is no secret, and the log may hold it.
    let answer = server.post("/oauth/token").raw_form(encode(&form)).send().await;
    answer.expect_error(400, "invalid_grant");
}

async fn a_verifier_without_a_challenge_is_refused(server: Server) {
    // RFC 9700 2.1.1: "a token request containing a code_verifier parameter is accepted only if a code_challenge
    // parameter was present in the authorization request", or a PKCE downgrade goes unseen.
    let (user, client) = (server.user().await, server.web_client().await);
    let code = bare_code(&server, &client, &user).await;
    server.redeem(&client, &code, &Pkce::new()).await.expect_error(400, "invalid_grant");
}

async fn a_challenge_is_never_ignored_for_a_confidential_client(server: Server) {
    // RFC 7636 4.6: also where PKCE was not asked for.
    let (user, client, pkce) = (server.user().await, server.web_client().await, Pkce::new());
    let code = server.code(&client, &user, &pkce).await;
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
    server.token_as(&client, &form).await.expect_error(400, "invalid_grant");
    let code = server.code(&client, &user, &pkce).await;
    server.redeem(&client, &code, &Pkce::new()).await.expect_error(400, "invalid_grant");
}

async fn a_confidential_client_may_do_without(server: Server) {
    // RFC 9700 2.1.1 recommends PKCE for confidential clients; the default here leaves it to them.
    let (user, client) = (server.user().await, server.web_client().await);
    let code = bare_code(&server, &client, &user).await;
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
    server.token_as(&client, &form).await.expect(200);
}

async fn every_client_must_send_a_challenge_when_the_setting_says_so(store: Store) {
    // RFC 9700 2.1.1, setting `oauth.require_pkce = "all"`.
    let server = Server::start(store, &[("OAUTH_REQUIRE_PKCE", "all")]).await;
    let (user, client) = (server.user().await, server.web_client().await);
    expect_refused(&server, &client, &[]).await;
    server.tokens(&client, &user).await;
}
